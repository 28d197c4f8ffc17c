"""Streams of images: every kind yields the same, in bounded chunks, and knows its digest."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st

from evaluation.imagesets import decoding, file_stream as files, stream as streaming
from evaluation.imagesets.in_memory import read_images, write_npz
from evaluation.imagesets.opening import ImageStream, image_digests, images_digest, open_images
from tests.evaluation.pictures import (
    GREY,
    PNG,
    encode,
    make_folder,
    make_zip,
    message,
    png_of,
)

Pixels = npt.NDArray[np.uint8]


def pictures(count: int, *, channels: int = 3, side: int = 5, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, channels, side, side + 2), np.uint8)


def nhwc(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def pngs_of(pixels: Pixels) -> dict[str, bytes]:
    images = nhwc(pixels) if pixels.shape[1] == 3 else pixels[:, 0]
    return {f"{i:04d}.png": png_of(image) for i, image in enumerate(images)}


def whole(stream: ImageStream) -> Pixels:
    return np.concatenate(list(stream.chunks()))


def refused_whole(images: Any) -> Pixels:
    return whole(open_images(images))


# --- Every kind yields the same ---------------------------------------------------------------

KINDS = ["array", "tensor", "folder", "zip", "npz", "packed npz", "npy", "chunks", "iterator"]


def opened(kind: str, pixels: Pixels, place: Path, **options: Any) -> ImageStream:
    """Return the pixels as a stream of this kind."""
    sizes = [1, 2, 300, 7]
    cuts = np.cumsum([0, *sizes, len(pixels)])
    parts = [pixels[a:b] for a, b in pairwise(cuts) if len(pixels[a:b])]
    match kind:
        case "array":
            return open_images(pixels, **options)
        case "tensor":
            return open_images(torch.from_numpy(pixels), **options)
        case "folder":
            return open_images(make_folder(place / "set", pngs_of(pixels)), **options)
        case "zip":
            deflated = zipfile.ZIP_DEFLATED
            return open_images(
                make_zip(place / "set.zip", pngs_of(pixels).items(), deflated), **options
            )
        case "npz":
            write_npz(place / "set.npz", pixels, None)
            return open_images(place / "set.npz", **options)
        case "packed npz":
            np.savez_compressed(place / "set.npz", arr_0=nhwc(pixels))
            return open_images(place / "set.npz", **options)
        case "npy":
            np.save(place / "set.npy", pixels)
            return open_images(place / "set.npy", **options)
        case "chunks":
            return open_images([torch.from_numpy(part) for part in parts], **options)
        case _:
            return open_images(iter(parts), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_yields_the_same_images_and_digest(
    place: Path, kind: str, channels: int
) -> None:
    pixels = pictures(600, channels=channels)

    stream = opened(kind, pixels, place)
    chunks = list(stream.chunks())

    assert [len(chunk) for chunk in chunks] == [256, 256, 88]
    assert all(chunk.dtype == np.uint8 and chunk.flags.c_contiguous for chunk in chunks)
    assert np.array_equal(np.concatenate(chunks), pixels)
    assert stream.shape == pixels.shape[1:]
    assert stream.count == 600
    assert stream.labels is None and stream.classes == ()
    assert stream.digest() == images_digest(pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_images_alone_are_yielded(place: Path, kind: str) -> None:
    pixels = pictures(400)
    chosen = [0, 3, 4, 5, *range(100, 390), 399]

    chunks = list(opened(kind, pixels, place).chunks(chosen))

    assert [len(chunk) for chunk in chunks] == [256, 39]
    assert np.array_equal(np.concatenate(chunks), pixels[chosen])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_fitted_alike(place: Path, kind: str) -> None:
    pixels = pictures(20, side=9)

    stream = opened(kind, pixels, place, resolution=4, channels=1)

    expected = read_images(
        make_folder(place / "other", pngs_of(pixels)), resolution=4, channels=1
    ).pixels
    assert stream.shape == (1, 4, 4)
    assert np.array_equal(whole(stream), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_than_announced_is_refused(place: Path, kind: str) -> None:
    pixels = pictures(30)

    reason = message(lambda: whole(opened(kind, pixels, place, count=31)))

    assert reason.endswith(": 30 images; expected the announced 31")
    assert len(whole(opened(kind, pixels, place, count=30))) == 30


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "iterator"])
def test_images_are_read_again_and_again(place: Path, kind: str) -> None:
    pixels = pictures(10)
    stream = opened(kind, pixels, place)

    first = next(iter(stream.chunks()))
    digest = stream.digest()

    assert np.array_equal(first, pixels)
    assert np.array_equal(whole(stream), pixels)
    assert digest == images_digest(pixels)


def test_few_images_are_held_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 400)
    pixels = pictures(9)  # 105 bytes each

    for kind in KINDS:
        chunks = list(opened(kind, pixels, place).chunks())
        assert [len(chunk) for chunk in chunks] == [3, 3, 3]


def test_no_more_files_are_decoded_than_are_asked_for_or_wait(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = open_images(make_folder(place / "set", {f"{i:04d}.png": GREY for i in range(1500)}))
    decoded: list[str] = []
    decode = decoding.decode

    def noted(where: str, *arguments: Any, **options: Any) -> Any:
        decoded.append(where)
        return decode(where, *arguments, **options)

    monkeypatch.setattr(files, "decode", noted)
    list(stream.chunks([7, 900]))
    chosen = sorted(decoded)
    decoded.clear()
    chunks = stream.chunks()
    next(iter(chunks))

    assert chosen == ["set: 0007.png", "set: 0900.png"]
    assert len(decoded) <= files.AHEAD * 256


def test_progress_is_told_in_every_pass() -> None:
    seen: list[tuple[int, int]] = []
    stream = open_images(pictures(300), on_progress=lambda done, total: seen.append((done, total)))

    stream.digest()
    list(stream.chunks([1, 2]))

    assert seen == [(256, 300), (300, 300), (2, 2)]


@pytest.mark.parametrize("indices", [[1, 0], [0, 0], [-1, 0], [0, 3], [[0, 1]]])
def test_indices_must_ascend_and_exist(indices: Any) -> None:
    stream = open_images(pictures(3))

    with pytest.raises(ValueError, match="expected indices"):
        stream.chunks(indices)


# --- Digests ----------------------------------------------------------------------------------


def test_an_image_is_known_by_its_shape_and_pixels() -> None:
    pixels = pictures(2)

    digests = image_digests(pixels)

    expected = [hashlib.sha256(b"3 5 7\n" + image.tobytes()).digest() for image in pixels]
    assert digests == expected
    assert images_digest(pixels) == hashlib.sha256(b"".join(expected)).hexdigest()
    turned = pixels.reshape(2, 3, 7, 5)
    assert images_digest(turned) != images_digest(pixels)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), order=st.permutations(range(5)))
def test_a_digest_knows_the_order_but_not_the_memory(seed: int, order: list[int]) -> None:
    pixels = pictures(5, seed=seed)

    assert sorted(image_digests(pixels)) == sorted(image_digests(pixels[order]))
    assert (images_digest(pixels) == images_digest(pixels[order])) == (order == [*range(5)])
    assert images_digest(np.asfortranarray(pixels)) == images_digest(pixels)


def test_the_digest_of_a_set_never_changes() -> None:
    pixels = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)

    assert images_digest(pixels) == (
        "2d1bca872f62db6d693f07f8897c377ffff41cb067214a0a2870078d5fb07bee"
    )


def test_digests_are_remembered_from_a_whole_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = open_images(pictures(300))
    list(stream.chunks())

    def again(_: object) -> Iterator[Pixels]:
        raise AssertionError("read again")

    monkeypatch.setattr(stream, "read", again)

    assert len(stream.digests()) == 300


# --- Labels and layouts -----------------------------------------------------------------------


def test_labels_come_with_the_images(place: Path) -> None:
    folder = make_folder(place / "set", {"b/1.png": PNG, "a/1.png": PNG, "a/2.png": PNG})
    write_npz(place / "set.npz", pictures(3), np.array([2, 0, 2]))

    of_folder, of_npz = open_images(folder), open_images(place / "set.npz")

    assert of_folder.labels is not None and of_npz.labels is not None
    assert of_folder.labels.tolist() == [0, 0, 1] and of_folder.classes == ("a", "b")
    assert of_npz.labels.tolist() == [2, 0, 2] and of_npz.classes == ("0", "1", "2")


def test_without_labels_every_image_at_any_depth_is_read_by_path(place: Path) -> None:
    names = ["z.png", "a/1.png", "a/b/c/2.png", "train/x.png", "test/x.png", "B/1.png"]
    folder = make_folder(place / "set", dict.fromkeys(names, PNG))

    stream = open_images(folder, labelled=False)

    assert [stream.image_name(i) for i in range(6)] == sorted(names)
    assert stream.labels is None
    assert open_images(folder, labelled=False, part="train").count == 1
    assert message(lambda: open_images(folder, labelled=False, part="valid")) == (
        "set: has no valid/; expected one of its parts"
    )


def test_an_npz_without_labels_wanted_has_none(place: Path) -> None:
    write_npz(place / "set.npz", pictures(3), np.array([2, 0, 2]))

    assert open_images(place / "set.npz", labelled=False).labels is None


# --- Axes -------------------------------------------------------------------------------------


def test_a_file_whose_axes_could_be_both_holds_channels_last(place: Path) -> None:
    np.save(place / "x.npy", np.zeros((2, 3, 5, 3), np.uint8))

    assert open_images(place / "x.npy").shape == (3, 3, 5)


def test_an_array_in_memory_whose_axes_could_be_both_has_channels_first() -> None:
    assert open_images(np.zeros((2, 3, 5, 3), np.uint8)).shape == (3, 5, 3)
    assert open_images(np.zeros((2, 5, 5, 3), np.uint8)).shape == (3, 5, 5)


def test_an_array_in_fortran_order_is_read(place: Path) -> None:
    pixels = pictures(4)
    np.save(place / "x.npy", np.asfortranarray(pixels))

    assert np.array_equal(whole(open_images(place / "x.npy")), pixels)


@pytest.mark.parametrize("name", ["images", "samples"])
def test_an_npz_may_call_its_images_so(place: Path, name: str) -> None:
    np.savez(place / "x.npz", **{name: pictures(4)}, mu=np.zeros(3))  # type: ignore[arg-type]

    assert open_images(place / "x.npz").count == 4


# --- Lossy files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("2.jpg", encode(kind="JPEG"), "JPEG"),
        ("2.webp", encode(kind="WEBP"), "WebP"),
        ("2.webp", encode(kind="WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), "WebP"),
    ],
)
def test_a_lossy_file_is_refused_by_name_or_accepted_and_counted(
    place: Path, name: str, data: bytes, kind: str
) -> None:
    folder = make_folder(place / "set", {"1.png": PNG, name: data, "3.png": PNG})

    assert message(lambda: whole(open_images(folder))) == (
        f"set: {name}: a lossy {kind} image; expected PNG or lossless WebP, or lossy ones "
        "accepted (--allow-lossy): compression changes every score"
    )
    stream = open_images(folder, lossy="accept")
    assert len(whole(stream)) == len(whole(stream)) == 3
    assert stream.lossy_count == 1


def test_lossless_webp_is_no_lossy_file(place: Path) -> None:
    data = encode(kind="WEBP", lossless=True)
    extended = encode(kind="WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    assert extended[12:16] == b"VP8X"
    folder = make_folder(place / "set", {"1.png": PNG, "2.webp": data, "3.webp": extended})

    stream = open_images(folder)

    assert np.array_equal(*whole(stream)[1:])
    assert stream.lossy_count == 0


# --- Arrays that are no images ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (
            np.array([[[[0, np.nan, np.inf, -np.inf]]]], np.float32),
            "images: float32 (1, 1, 1, 4) with 1 NaN and 2 infinite values; expected uint8 "
            "(N, H, W, 1 or 3) or (N, 1 or 3, H, W) and at least one image; floats are not rounded "
            "here: how it is done changes a score",
        ),
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.float64),
            "images: float64 (1, 3, 4, 4); expected uint8 (N, H, W, 1 or 3) or (N, 1 or 3, H, W) "
            "and at least one image; floats are not rounded here: how it is done changes a score",
        ),
        (
            torch.full((1, 3, 4, 4), torch.nan, dtype=torch.bfloat16),
            "images: float32 (1, 3, 4, 4) with 48 NaN and 0 infinite values; expected uint8 "
            "(N, H, W, 1 or 3) or (N, 1 or 3, H, W) and at least one image; floats are not rounded "
            "here: how it is done changes a score",
        ),
        (
            np.zeros((2, 3, 4, 4), np.int64),
            "images: int64 (2, 3, 4, 4); expected uint8 (N, H, W, 1 or 3) or (N, 1 or 3, H, W) and "
            "at least one image",
        ),
        (
            np.zeros((3, 4, 4), np.uint8),
            "images: uint8 (3, 4, 4); expected uint8 (N, H, W, 1 or 3) or (N, 1 or 3, H, W) and at "
            "least one image",
        ),
        (
            [("image", 1)],
            "images: tuple; expected a uint8 array or tensor of images",
        ),
        ([], "images: no images; expected at least one"),
        (7, "images: int; expected a path, an array or chunks of images"),
    ],
)
def test_what_is_no_images_is_refused(images: Any, expected: str) -> None:
    assert message(lambda: whole(open_images(images))) == expected


def test_a_later_chunk_that_is_unlike_the_first_is_refused() -> None:
    first = pictures(2)
    later = [pictures(1, side=6), pictures(1, channels=1), first.astype(np.float32) * np.nan]

    reasons = [message(partial(refused_whole, [first, first, other])) for other in later]

    assert reasons == [
        "images: from image 4: NCHW images of (3, 6, 8) where the first were NCHW of (3, 5, 7); "
        "expected all alike",
        "images: from image 4: NCHW images of (1, 5, 7) where the first were NCHW of (3, 5, 7); "
        "expected all alike",
        "images: from image 4: float32 (2, 3, 5, 7) with 210 NaN and 0 infinite values; expected "
        "uint8 (N, H, W, 1 or 3) or (N, 1 or 3, H, W) and at least one image; floats are not "
        "rounded here: how it is done changes a score",
    ]


def test_an_iterator_that_yields_more_than_announced_is_stopped() -> None:
    endless = (pictures(10) for _ in iter(int, 1))

    assert message(lambda: whole(open_images(endless, count=25))) == (
        "images: 30 images; expected the announced 25"
    )


def test_an_iterator_is_read_once_and_its_digest_is_known_afterwards() -> None:
    pixels = pictures(10)
    stream = open_images(iter([pixels]))
    count_before = stream.count

    assert count_before is None
    assert message(stream.digest) == (
        "images: not read yet; expected their digests to be asked for afterwards, for an iterator "
        "is read once"
    )
    assert np.array_equal(whole(stream), pixels)
    assert stream.count == 10
    assert stream.digest() == images_digest(pixels)
    assert message(lambda: whole(stream)) == (
        "images: read before; expected one pass, for an iterator ends"
    )


def test_an_npz_of_floats_says_how_many_are_not_finite(place: Path) -> None:
    np.savez_compressed(place / "x.npz", arr_0=np.full((3, 4, 4, 3), np.nan))

    assert message(lambda: open_images(place / "x.npz")).startswith(
        "x.npz: arr_0: float64 (3, 4, 4, 3) with 144 NaN and 0 infinite values; expected uint8 "
    )


def test_a_damaged_array_is_refused_when_it_is_read(place: Path) -> None:
    write_npz(place / "x.npz", pictures(300), None)
    content = bytearray((place / "x.npz").read_bytes())
    content[20_000] ^= 1
    (place / "x.npz").write_bytes(content)

    assert message(lambda: whole(open_images(place / "x.npz"))) == (
        "x.npz: arr_0: damaged (Bad CRC-32 for file 'arr_0.npy'); expected a whole array"
    )


def test_an_npy_that_ends_early_is_refused(place: Path) -> None:
    np.save(place / "x.npy", pictures(3))
    (place / "x.npy").write_bytes((place / "x.npy").read_bytes()[:-1])

    assert message(lambda: open_images(place / "x.npy")) == (
        "x.npy: uint8 (3, 3, 5, 7) does not fit its size; expected a plain array"
    )


def test_an_array_is_never_unpickled(place: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}, {}], dtype=object))  # pickled, as numpy does unasked
    (place / "x.npy").write_bytes(file.getvalue())

    assert message(lambda: open_images(place / "x.npy")) == (
        "x.npy: object (2,) does not fit its size; expected a plain array"
    )


def test_an_array_stored_twice_is_refused(place: Path) -> None:
    file = io.BytesIO()
    np.save(file, pictures(3))
    make_zip(place / "x.npz", [("arr_0.npy", file.getvalue())] * 2)

    assert message(lambda: open_images(place / "x.npz")) == (
        "x.npz: arr_0: stored twice; expected each name once"
    )


def test_files_that_are_unlike_the_first_are_refused_while_reading(place: Path) -> None:
    folder = make_folder(place / "set", {f"{i:03d}.png": PNG for i in range(300)} | {"x.png": GREY})
    stream = open_images(folder)

    assert len(next(iter(stream.chunks()))) == 256
    assert message(lambda: whole(stream)) == (
        "set: x.png: grey where 000.png is colour; expected all alike, or a number of channels to "
        "convert to"
    )


def test_an_iterator_that_ends_before_a_chosen_image_is_refused() -> None:
    stream = open_images(iter([pictures(10)]))

    assert message(lambda: list(stream.chunks([0, 50]))) == (
        "images: 10 images; expected more than 50"
    )
