"""Reading, converting and writing images."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from evaluation.imagesets.in_memory import (
    Images,
    convert_images,
    read_images,
    read_parts,
    write_npz,
)
from generators.algorithm.pixels import to_uint8
from tests.evaluation.pictures import (
    GREY,
    PNG,
    encode,
    make_folder,
    make_zip,
    message,
    png_of,
)

# --- What comes back --------------------------------------------------------------------------


def test_an_archive_of_train_and_test_has_these_parts_and_the_same_classes(place: Path) -> None:
    path = make_zip(
        place / "pets.zip",
        [
            ("train/dog/1.png", PNG),
            ("train/cat/2.png", PNG),
            ("train/cat/1.png", encode(kind="PNG", size=(4, 4), compress_level=1)),
            ("test/dog/1.png", PNG),
            ("test/cat/1.png", PNG),
        ],
    )

    train, test = read_images(path, part="train"), read_images(path, part="test")

    assert read_parts(path) == ("train", "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.labels is not None and test.labels is not None
    assert train.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [0, 1]
    assert train.pixels.shape == (3, 3, 4, 4)
    assert train.pixels.dtype == np.uint8 and train.labels.dtype == np.int64
    assert train.pixels.flags.c_contiguous


def test_a_folder_and_a_zip_of_it_read_alike(place: Path) -> None:
    files = {"a/1.png": PNG, "b/1.png": encode(size=(4, 4), mode="P")}
    folder = make_folder(place / "set", files)
    archive = make_zip(place / "set.zip", files.items())

    of_folder, of_archive = read_images(folder), read_images(archive)

    assert np.array_equal(of_folder.pixels, of_archive.pixels)
    assert of_folder.classes == of_archive.classes == ("a", "b")


def test_images_without_classes_are_unlabelled(place: Path) -> None:
    images = read_images(make_zip(place / "flat.zip", [("2.png", PNG), ("1.png", PNG)]))

    assert images.labels is None
    assert images.classes == ()
    assert len(images.pixels) == 2


def test_classes_that_are_numbers_are_in_the_order_of_numbers(place: Path) -> None:
    names = ["0", "2", "10"]
    path = make_zip(place / "n.zip", [(f"{name}/1.png", PNG) for name in names])

    assert read_images(path).classes == ("0", "2", "10")


@pytest.mark.parametrize("wrapper", ["faces/", "home/faces/"])
def test_a_folder_around_everything_is_looked_through(place: Path, wrapper: str) -> None:
    path = make_zip(place / "w.zip", [(f"{wrapper}train/{c}/1.png", PNG) for c in "ab"])

    assert read_parts(path) == ("train",)
    assert read_images(path).classes == ("a", "b")


def test_hidden_files_are_ignored(place: Path) -> None:
    path = make_zip(
        place / "mac.zip",
        [
            ("a/1.png", PNG),
            ("b/1.png", PNG),
            ("a/.DS_Store", b"x"),
            ("__MACOSX/a/._1.png", b"x"),
            (".git/config", b"x"),
            ("b/Thumbs.db", b"x"),
        ],
    )

    assert len(read_images(path).pixels) == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_decoded(place: Path, kind: str) -> None:
    suffix = {"PNG": "png", "JPEG": "JPG", "WEBP": "webp"}[kind]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    path = make_zip(place / "x.zip", [(f"1.{suffix}", encode(kind=kind, **options))])

    pixels = read_images(path).pixels

    expected = np.asarray(Image.open(io.BytesIO(encode(kind=kind, **options))).convert("RGB"))
    assert np.array_equal(pixels[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
def test_eight_bit_modes_keep_their_pixels(place: Path, mode: str) -> None:
    data = encode(mode)
    grey = mode in ("1", "L", "LA")

    pixels = read_images(make_zip(place / "m.zip", [("1.png", data)])).pixels

    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L" if grey else "RGB"))
    assert np.array_equal(pixels[0], expected[None] if grey else expected.transpose(2, 0, 1))


def test_exif_orientation_is_applied(place: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    data = encode(size=(8, 4), kind="JPEG", exif=exif.tobytes())

    pixels = read_images(make_zip(place / "e.zip", [("1.jpg", data)])).pixels

    plain = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(pixels[0], np.rot90(plain, -1).transpose(2, 0, 1))


def test_grey_becomes_colour_by_repetition_and_colour_grey_by_luma(place: Path) -> None:
    path = make_zip(place / "g.zip", [("1.png", PNG), ("2.png", GREY)])

    grey, colour = read_images(path, channels=1).pixels, read_images(path, channels=3).pixels

    luma = np.asarray(Image.open(io.BytesIO(PNG)).convert("L"))
    assert np.array_equal(grey[0, 0], luma)
    assert np.array_equal(grey[1, 0], colour[1, 2])
    assert np.array_equal(colour[1, 0], colour[1, 1])


def test_a_resolution_crops_the_centre_and_resizes_with_antialiasing(place: Path) -> None:
    sides = np.zeros((4, 12, 3), np.uint8)
    sides[:, 4:8] = 255  # the central square is white, what is cut away black
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    path = make_zip(
        place / "r.zip",
        [
            ("1.png", png_of(sides)),
            ("2.png", png_of(np.repeat(checks[..., None], 3, 2).astype(np.uint8))),
        ],
    )

    pixels = read_images(path, resolution=2).pixels

    assert pixels.shape == (2, 3, 2, 2)
    assert np.all(pixels[0] == 255)
    assert np.all(abs(pixels[1].astype(int) - 128) <= 2)  # without antialiasing: 0 or 255


def test_an_image_of_the_wanted_resolution_is_not_touched(place: Path) -> None:
    path = make_zip(place / "same.zip", [("1.png", PNG)])

    assert np.array_equal(read_images(path, resolution=4).pixels, read_images(path).pixels)


def test_progress_counts_every_image(place: Path) -> None:
    path = make_zip(place / "many.zip", [(f"{i}.png", GREY) for i in range(600)])
    seen: list[tuple[int, int]] = []

    read_images(path, on_progress=lambda done, total: seen.append((done, total)))

    assert seen == [(256, 600), (512, 600), (600, 600)]


def test_the_mean_of_a_quarter_is_what_any_antialiased_filter_makes_of_it(place: Path) -> None:
    row = np.tile(np.array([255, 0, 0, 0], np.uint8), 32)
    path = make_zip(place / "r.zip", [("1.png", png_of(np.repeat(row[None], 128, 0)))])

    resized = read_images(path, resolution=32).pixels[0, 0]

    # Without half-pixel centres it were 255, without antialiasing 0.
    assert np.all(abs(resized[:, 2:-2].astype(float) - 63.75) <= 0.75)


def test_our_rounding_of_zero_is_the_upper_level() -> None:
    assert int(to_uint8(torch.zeros(1))[0]) == 128  # truncation of (x + 1) * 127.5 gives 127
    assert int(to_uint8(torch.tensor([2 * 0.999 - 1]))[0]) == 255  # x * 255 cut off gives 254


# --- npz --------------------------------------------------------------------------------------


def pixel_arrays() -> st.SearchStrategy[npt.NDArray[np.uint8]]:
    side = st.integers(1, 9)
    shapes = st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), side, side)
    return arrays.arrays(np.uint8, shapes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pixels=pixel_arrays(), data=st.data())
def test_what_is_written_is_read_again(
    place: Path, pixels: npt.NDArray[np.uint8], data: st.DataObject
) -> None:
    labels = data.draw(
        st.none() | arrays.arrays(np.int64, len(pixels), elements=st.integers(0, 12))
    )

    digest = write_npz(place / "x.npz", pixels, labels)
    back = read_images(place / "x.npz")

    assert np.array_equal(back.pixels, pixels)
    assert digest == hashlib.sha256((place / "x.npz").read_bytes()).hexdigest()
    if labels is None:
        assert back.labels is None and back.classes == ()
    else:
        assert back.labels is not None and np.array_equal(back.labels, labels)
        assert len(back.classes) == labels.max() + 1
    assert [path.name for path in place.iterdir()] == ["x.npz"]


def test_the_file_of_an_array_never_changes(place: Path) -> None:
    pixels = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)

    first = write_npz(place / "a.npz", pixels, np.array([1, 0]))
    second = write_npz(place / "b.npz", pixels.copy(order="F"), np.array([1, 0]))

    assert first == second == "f8086e26bc083304c02afcdc6f12c5d79604d43fdc09ca495350618de2484e22"


def test_a_write_that_fails_leaves_the_old_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((1, 1, 2, 2), np.uint8)
    digest = write_npz(place / "x.npz", pixels, None)
    monkeypatch.setattr(os, "fsync", raise_disk_full)

    with pytest.raises(OSError, match="No space left"):
        write_npz(place / "x.npz", pixels + 1, None)

    assert [path.name for path in place.iterdir()] == ["x.npz"]
    assert hashlib.sha256((place / "x.npz").read_bytes()).hexdigest() == digest


def raise_disk_full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_an_npz_in_nchw_is_read_too(place: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), np.uint8)
    np.savez(place / "x.npz", arr_0=pixels)

    assert np.array_equal(read_images(place / "x.npz").pixels, pixels)


def test_an_npz_is_converted_like_files_are(place: Path) -> None:
    folder = make_folder(place / "set", {"1.png": encode(size=(9, 6))})
    as_they_come = read_images(folder)
    write_npz(place / "x.npz", as_they_come.pixels, None)

    of_npz = read_images(place / "x.npz", resolution=3, channels=1).pixels

    assert of_npz.shape == (1, 1, 3, 3)
    assert np.array_equal(of_npz, read_images(folder, resolution=3, channels=1).pixels)


def test_conversion_of_what_needs_none_returns_the_same_images() -> None:
    images = Images(np.zeros((1, 1, 8, 8), np.uint8), None, ())

    assert convert_images(images, name="x", resolution=8, channels=1) is images


NPZ_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "float": (
        {"arr_0": np.zeros((2, 4, 4, 3))},
        "x.npz: arr_0: float64 (2, 4, 4, 3); expected uint8 (N, H, W, 1 or 3) or "
        "(N, 1 or 3, H, W) and at least one image; floats are not rounded here: how it is done "
        "changes a score",
    ),
    "two channels": (
        {"arr_0": np.zeros((2, 4, 4, 2), np.uint8)},
        "x.npz: arr_0: uint8 (2, 4, 4, 2); expected uint8 (N, H, W, 1 or 3) or "
        "(N, 1 or 3, H, W) and at least one image",
    ),
    "no images": (
        {"arr_0": np.zeros((0, 4, 4, 3), np.uint8)},
        "x.npz: arr_0: uint8 (0, 4, 4, 3); expected uint8 (N, H, W, 1 or 3) or "
        "(N, 1 or 3, H, W) and at least one image",
    ),
    "another name": (
        {"pictures": np.zeros((2, 4, 4, 3), np.uint8)},
        "x.npz: holds no arr_0; expected images as arr_0, images or samples",
    ),
    "too few labels": (
        {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.array([1])},
        "x.npz: labels: int64 (1,); expected one whole number of at least 0 for each of 2 images",
    ),
    "negative labels": (
        {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.array([1, -1])},
        "x.npz: labels: int64 (2,); expected one whole number of at least 0 for each of 2 images",
    ),
    "objects": (
        {"arr_0": np.array([{}, {}], dtype=object)},
        "x.npz: arr_0: object (2,) does not fit its size; expected a plain array",
    ),
}


@pytest.mark.parametrize("case", NPZ_REFUSED)
def test_an_npz_that_is_not_images_is_refused(place: Path, case: str) -> None:
    content, expected = NPZ_REFUSED[case]
    np.savez(place / "x.npz", **content)

    assert message(lambda: read_images(place / "x.npz")) == expected


def test_an_npz_whose_header_promises_more_than_it_holds_takes_no_memory(place: Path) -> None:
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4, 3)}
    np.lib.format.write_array_header_1_0(file, header)
    make_zip(place / "x.npz", [("arr_0.npy", file.getvalue())])

    assert message(lambda: read_images(place / "x.npz")) == (
        "x.npz: arr_0: uint8 (1000000, 10000, 10000, 3) does not fit its size; "
        "expected a plain array"
    )


def test_an_npz_has_no_parts(place: Path) -> None:
    write_npz(place / "x.npz", np.zeros((1, 1, 2, 2), np.uint8), None)

    assert message(lambda: read_images(place / "x.npz", part="train")) == (
        "x.npz: has no part 'train'; an .npz file has no parts"
    )


@pytest.mark.parametrize(
    ("pixels", "labels", "expected"),
    [
        (np.zeros((1, 2, 2, 2), np.uint8), None, "got uint8 (1, 2, 2, 2)"),
        (np.zeros((1, 3, 2, 2), np.float32), None, "got float32 (1, 3, 2, 2)"),
        (np.zeros((2, 3, 2, 2), np.uint8), np.zeros(1, np.int64), "shape (2,), got (1,)"),
    ],
)
def test_only_images_in_the_one_format_are_written(
    place: Path, pixels: Any, labels: Any, expected: str
) -> None:
    assert message(lambda: write_npz(place / "x.npz", pixels, labels)).endswith(expected)
    assert list(place.iterdir()) == []


# --- What is asked for ------------------------------------------------------------------------


def test_a_part_must_be_chosen_where_there_are_two(place: Path) -> None:
    path = make_zip(place / "x.zip", [("train/1.png", PNG), ("test/1.png", PNG)])

    assert message(lambda: read_images(path)) == (
        "x.zip: has train/ and test/, but no part was chosen; expected one of its parts"
    )


def test_a_part_that_is_missing_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)])

    assert message(lambda: read_images(path, part="test")) == (
        "x.zip: has no parts, but 'test' was asked for; expected one of its parts"
    )


def test_impossible_wishes_are_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)])

    assert message(lambda: read_images(path, channels=2)) == (
        "x.zip: expected 1 or 3 channels, got 2"
    )
    assert message(lambda: read_images(path, resolution=0)) == (
        "x.zip: expected a resolution of 1 to 8192 pixels, got 0"
    )
