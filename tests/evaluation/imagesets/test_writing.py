"""Writing `.npz` files and contact sheets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.imagesets.in_memory import read_images
from evaluation.imagesets.writing import channels_last, grid_png, read_grid, write_arrays, write_npz
from tests.evaluation.pictures import message

PIXELS = np.arange(5 * 3 * 8 * 8, dtype=np.uint16).astype(np.uint8).reshape(5, 3, 8, 8)


def test_seeds_are_written_beside_the_images_and_change_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "set.npz"

    sha256 = write_npz(path, PIXELS, np.array([0, 1, 2, 1, 0]), seeds=range(3, 8))

    with np.load(path) as file:
        assert file.files == ["arr_0", "labels", "seeds"]
        assert file["seeds"].tolist() == [3, 4, 5, 6, 7] and file["seeds"].dtype == np.int64
    assert np.array_equal(read_images(path).pixels, PIXELS)
    assert [found.name for found in path.parent.iterdir()] == ["set.npz"]
    assert sha256 == "11b0a3ecdf49ad40601d297f1916f30860a676453f755e6cf73f305254dbe6ce"


def test_arrays_of_any_kind_are_written_under_their_names(tmp_path: Path) -> None:
    arrays = {"arr_0": channels_last(PIXELS), "times": np.array([0.5])}

    first = write_arrays(tmp_path / "a.npz", arrays)

    assert first == write_arrays(tmp_path / "b.npz", arrays)
    with np.load(tmp_path / "a.npz") as file:
        assert file["arr_0"].shape == (5, 8, 8, 3) and file["times"].tolist() == [0.5]


def test_what_is_no_set_of_images_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"

    floats = message(lambda: write_npz(path, PIXELS / 255, None))  # type: ignore[arg-type]  # wrong
    labels = message(lambda: write_npz(path, PIXELS, np.array([0, 1])))
    sheet = message(lambda: grid_png(PIXELS[:, :2], 3, tmp_path / "sheet.png"))

    assert floats == "expected uint8 pixels (N, 1 or 3, H, W), got float64 (5, 3, 8, 8)"
    assert labels == "expected labels of shape (5,), got (2,)"
    assert sheet == "expected uint8 pixels (N, 1 or 3, H, W), got uint8 (5, 2, 8, 8)"
    assert not any(found.is_file() for found in tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_shows_every_image_enlarged_in_reading_order(
    channels: int, tmp_path: Path
) -> None:
    pixels = PIXELS[:, :channels]

    grid_png(pixels, 3, tmp_path / "here" / "sheet.png")

    with Image.open(tmp_path / "here" / "sheet.png") as sheet:
        found = np.atleast_3d(np.asarray(sheet))
    assert found.shape == (2 * 68 + 4, 3 * 68 + 4, channels)
    for index, image in enumerate(pixels):
        top, left = 4 + 68 * (index // 3), 4 + 68 * (index % 3)
        cell = found[top : top + 64 : 8, left : left + 64 : 8]
        assert np.array_equal(cell.transpose(2, 0, 1), image)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("side", [8, 64, 70])
def test_images_of_a_contact_sheet_are_read_back_as_they_were(side: int, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    for pixels in (PIXELS, PIXELS[:, :1]):
        large = pixels.repeat(side // 8, axis=2).repeat(side // 8, axis=3)
        grid_png(large, 3, path)

        assert np.array_equal(read_grid(path, 5, 3, large.shape[1:]), large)
        assert np.array_equal(read_grid(path, 2, 3, large.shape[1:]), large[:2])
    refused = message(lambda: read_grid(path, 9, 3, large.shape[1:]))
    assert "sheet.png: no sheet of 9 images" in refused
