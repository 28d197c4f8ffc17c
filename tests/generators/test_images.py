import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from evaluation.imagesets.atomic import sha256_of
from generators import images
from generators.images import ImagesError, grid_png, read_images, to_float, to_uint8, write_npz
from tests.generators.conftest import exactly


def random_pixels(count: int = 4, channels: int = 1, side: int = 8) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, size=(count, channels, side, side), dtype=np.uint8)


def png(pixels: np.ndarray, fmt: str = "PNG") -> bytes:
    """Return an image (C, H, W) encoded."""
    file = io.BytesIO()
    images.to_pil(pixels.transpose(1, 2, 0)).save(file, format=fmt)
    return file.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# --- the one rounding rule ----------------------------------------------------------------------


def test_every_grey_level_survives_the_way_to_float_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)

    as_float = to_float(levels)

    assert as_float.min() == -1 and as_float.max() == 1
    assert torch.equal(to_uint8(as_float), levels)


@given(st.floats(-100, 100))
def test_any_number_becomes_the_nearest_level_within_range(x: float) -> None:
    level = int(to_uint8(torch.tensor([x], dtype=torch.float64))[0])

    assert abs(level - min(max(x * 127.5 + 127.5, 0), 255)) <= 0.51


# --- .npz ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("labelled", [True, False])
def test_npz_gives_back_what_was_written(channels: int, labelled: bool, tmp_path: Path) -> None:
    pixels = random_pixels(5, channels)
    labels = np.array([0, 1, 2, 1, 0]) if labelled else None

    sha256 = write_npz(tmp_path / "deep" / "set.npz", pixels, labels)
    found = read_images(tmp_path / "deep" / "set.npz")

    assert sha256 == sha256_of(tmp_path / "deep" / "set.npz")
    assert sha256 == write_npz(tmp_path / "again.npz", pixels, labels)
    assert np.array_equal(found.pixels, pixels)
    assert found.classes == (["0", "1", "2"] if labelled else [])
    assert (found.labels is None) == (labels is None)
    assert found.labels is None or found.labels.tolist() == [0, 1, 2, 1, 0]
    with np.load(tmp_path / "again.npz") as file:
        assert file["arr_0"].shape == (5, 8, 8, channels)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set.npz"]


def test_a_failed_write_leaves_the_file_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_npz(tmp_path / "here" / "set.npz", random_pixels(), None)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left on device"):
        write_npz(tmp_path / "here" / "set.npz", random_pixels(9), None)

    assert [path.name for path in (tmp_path / "here").iterdir()] == ["set.npz"]
    assert sha256_of(tmp_path / "here" / "set.npz") == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros(1)}, "has no array 'arr_0'"),
        (
            {"arr_0": np.zeros((2, 8, 8), np.uint8)},
            "expected arr_0 (N, H, W, C), got shape (2, 8, 8)",
        ),
        ({"arr_0": np.zeros((2, 8, 8, 1))}, "expected uint8 images, got float64"),
        (
            {"arr_0": np.zeros((2, 8, 8, 4), np.uint8)},
            "expected images (N, C, H, W) with 1 or 3 channels, got shape (2, 4, 8, 8)",
        ),
        (
            {"arr_0": np.zeros((2, 8, 8, 1), np.uint8), "labels": np.zeros(3, np.int64)},
            "expected 2 whole-number labels, got shape (3,) of int64",
        ),
        (
            {"arr_0": np.zeros((2, 8, 8, 1), np.uint8), "labels": np.array([-1, 4])},
            "expected labels from 0, got -1..4",
        ),
    ],
)
def test_an_npz_of_something_else_is_refused(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle there

    with pytest.raises(ImagesError, match=exactly(f"{path}: {message}")):
        read_images(path)


def test_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, arr_0=np.array([{"a": 1}], dtype=object))

    with pytest.raises(ImagesError, match=r"cannot be read as \.npz .*allow_pickle=False"):
        read_images(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_a_damaged_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(content)

    with pytest.raises(ImagesError, match=r"cannot be read as \.npz"):
        read_images(path)


# --- folders and archives -----------------------------------------------------------------------


def test_folder_and_archive_of_the_same_files_are_the_same_images(tmp_path: Path) -> None:
    pixels = random_pixels(4)
    names = ["10/a.png", "2/b.png", "2/c.jpg", "2/d.PNG"]
    files = {
        name: png(image, "JPEG" if name.endswith("jpg") else "PNG")
        for name, image in zip(names, pixels, strict=True)
    }
    folder = tmp_path / "folder"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "README.txt").write_text("not an image")

    from_folder = read_images(folder)
    from_zip = read_images(write_zip(tmp_path / "set.zip", {**files, "notes.txt": b"-"}))

    assert from_folder.classes == from_zip.classes == ["2", "10"]
    assert from_folder.labels is not None and from_zip.labels is not None
    assert from_folder.labels.tolist() == from_zip.labels.tolist() == [1, 0, 0, 0]
    assert np.array_equal(from_folder.pixels, from_zip.pixels)
    assert np.array_equal(from_zip.pixels[0], pixels[0])


def test_an_archive_with_train_and_test_gives_the_part_that_is_asked_for(tmp_path: Path) -> None:
    pixels = random_pixels(3)
    names = ["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]
    path = write_zip(tmp_path / "set.zip", dict(zip(names, map(png, pixels), strict=True)))

    train, test = read_images(path), read_images(path, split="test")

    assert train.classes == ["cat", "dog"] and len(train.pixels) == 2
    assert test.classes == ["cat"] and np.array_equal(test.pixels, pixels[2:])


def test_images_outside_class_folders_are_unlabelled_and_grey_joins_colour(tmp_path: Path) -> None:
    grey, colour = random_pixels(1)[0], random_pixels(1, 3)[0]
    path = write_zip(tmp_path / "set.zip", {"a.png": png(grey), "b.png": png(colour)})

    found = read_images(path)

    assert found.labels is None and found.classes == []
    assert found.pixels.shape == (2, 3, 8, 8)
    assert np.array_equal(found.pixels[0], np.repeat(grey, 3, axis=0))


def test_images_of_mixed_size_are_refused_by_name(tmp_path: Path) -> None:
    files = {"a/1.png": png(random_pixels(1)[0]), "a/2.png": png(random_pixels(1, side=9)[0])}

    message = "a/2.png: expected 8x8 pixels like the others, got 9x9"
    with pytest.raises(ImagesError, match=exactly(message)):
        read_images(write_zip(tmp_path / "set.zip", files))


@pytest.mark.parametrize("content", [b"", b"GIF89a", png(random_pixels(1)[0])[:40]])
def test_a_file_that_is_no_image_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"^a/1\.png: not a readable image"):
        read_images(write_zip(tmp_path / "set.zip", {"a/1.png": content}))


def test_sizes_are_bounded_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "set.zip", {"a/1.png": png(random_pixels(1)[0])})
    npz = tmp_path / "set.npz"
    write_npz(npz, random_pixels(), None)

    for name, limit, message in [
        ("LARGEST_SIDE", 7, "a/1.png: larger than 7 pixels"),
        ("LARGEST_FILE", 10, "a/1.png: larger than 10 bytes"),
        ("LARGEST_SET", 10, f"{path}: more than 10 bytes of images"),
        ("MOST_IMAGES", 0, f"{path}: expected 1..0 images, found 1"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(images, name, limit)
            with pytest.raises(ImagesError, match=exactly(message)):
                read_images(path)
    monkeypatch.setattr(images, "LARGEST_SET", 10)
    with pytest.raises(ImagesError, match="more than 10"):
        read_images(npz)


def test_a_damaged_member_of_an_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a/1.png": png(random_pixels(1)[0])})
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)

    with pytest.raises(ImagesError, match=r"^a/1\.png: cannot be unpacked"):
        read_images(path)


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(random_pixels(1)[0]))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")

    message = f"{folder}: expected 1..{images.MOST_IMAGES} images, found 0"
    with pytest.raises(ImagesError, match=exactly(message)):
        read_images(folder)


def test_a_path_that_is_nothing_of_the_kind_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("-")

    message = f"{text}: expected .npz, a zip archive or a folder of images"
    with pytest.raises(ImagesError, match=exactly(message)):
        read_images(text)
    message = f"{tmp_path / 'nowhere'}: there is no such file or folder"
    with pytest.raises(ImagesError, match=exactly(message)):
        read_images(tmp_path / "nowhere")


# --- contact sheets -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_shows_every_image_enlarged_in_reading_order(
    channels: int, tmp_path: Path
) -> None:
    pixels = random_pixels(5, channels)

    grid_png(pixels, 3, tmp_path / "here" / "sheet.png")

    with Image.open(tmp_path / "here" / "sheet.png") as sheet:
        found = np.atleast_3d(np.asarray(sheet))
    assert found.shape == (2 * 68 + 4, 3 * 68 + 4, channels)
    for index, image in enumerate(pixels):
        top, left = 4 + 68 * (index // 3), 4 + 68 * (index % 3)
        cell = found[top : top + 64 : 8, left : left + 64 : 8]
        assert np.array_equal(cell.transpose(2, 0, 1), image)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["sheet.png"]
