"""What `--data` names, as the commands read it."""

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.preparation import DIGITS, prepare_packaged
from evaluation.imagesets.in_memory import read_images
from evaluation.imagesets.sources import ImageError
from evaluation.imagesets.writing import write_npz
from evaluation.scenes.drawing import draw_scenes
from generators.commands.arguments import build_parser
from generators.commands.data import Data, measured_data, training_data
from generators.training.batches import BatchStream
from tests.evaluation.pictures import encode, make_folder, make_zip
from tests.generators.conftest import exactly, make_data


def asked(command: str, data: Path | str, *more: str) -> argparse.Namespace:
    given = ["vae.conv"] if command == "train" else ["run"]
    return build_parser().parse_args([command, *given, "--data", str(data), "--out", "x", *more])


def trained_on(data: Path | str, *more: str) -> Data:
    return training_data(asked("train", data, *more))


def measured_on(data: Path | str, *more: str) -> Data:
    return measured_data(asked("reconstruct", data, *more))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return a folder as datasets are prepared, 20 images to train on and 10 to test."""
    for name, data in (("train", make_data(20)), ("test", make_data(10, seed=1))):
        write_npz(tmp_path / "set" / f"{name}.npz", data.images, data.labels)
    return tmp_path / "set"


@pytest.mark.parametrize(("part", "count"), [("train", 1297), ("test", 500)])
def test_digits_are_those_of_the_platform(
    part: str, count: int, tmp_path: Path, settings: pytest.FixtureRequest
) -> None:
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]  # pytest-django's wrapper
    found = (trained_on if part == "train" else measured_on)("digits")

    with prepare_packaged(DIGITS) as prepared:
        expected = read_images(prepared.folder / f"{part}.npz")

    assert found.part == part and found.images.pixels.shape == (count, 1, 8, 8)
    assert np.array_equal(found.images.pixels, expected.pixels)
    assert expected.labels is not None and found.images.labels is not None
    assert np.array_equal(found.images.labels, expected.labels)
    assert found.images.classes == tuple("0123456789")


def test_the_packaged_scenes_come_with_their_captions() -> None:
    found = measured_on("scenes32")

    drawn = draw_scenes(50, 32, 0, "test")
    assert found.part == "test" and found.images.captions is not None
    assert found.images.pixels.shape == (4_000, 3, 32, 32)
    assert found.images.captions[:50] == drawn.captions
    assert np.array_equal(found.images.pixels[:50], drawn.pixels)


def test_a_prepared_folder_is_read_part_by_part(prepared: Path) -> None:
    train, test = trained_on(prepared), measured_on(prepared)
    (prepared / "notes.txt").write_text("-")

    assert np.array_equal(train.images.pixels, make_data(20).images)
    assert np.array_equal(test.images.pixels, make_data(10, seed=1).images)
    assert np.array_equal(
        read_images(prepared.parent / "set" / "test.npz").pixels, test.images.pixels
    )
    assert trained_on(prepared).images.left_out == ("1 other file (notes.txt)",)


def test_data_without_parts_is_trained_on_whole_and_has_no_test_part(tmp_path: Path) -> None:
    made = make_data()
    path = tmp_path / "all.npz"
    write_npz(path, made.images, made.labels)

    train, any_part = trained_on(path), measured_on(path)

    assert train.part is None and any_part.part is None
    assert len(train.images.pixels) == len(any_part.images.pixels) == 50
    assert len(measured_on(path, "--part", "train").images.pixels) == 50
    message = (
        f"--part: {path} has no parts, so that all of it was trained on; expected train/ and "
        "test/ in it, or no --part to measure on all of it"
    )
    with pytest.raises(ImageError, match=exactly(message)):
        measured_on(path, "--part", "test")


def test_data_with_a_train_part_alone_is_not_measured_on_by_accident(tmp_path: Path) -> None:
    path = make_zip(
        tmp_path / "set.zip", [("train/a/1.png", encode()), ("train/b/1.png", encode())]
    )

    assert trained_on(path).part == "train"
    assert measured_on(path, "--part", "train").part == "train"
    with pytest.raises(ImageError, match=r"^set\.zip: has train/, but 'test' was asked for; "):
        measured_on(path)


def test_photos_of_mixed_sizes_are_fitted_or_refused_by_the_name_of_the_option(
    tmp_path: Path,
) -> None:
    files = {"a/1.png": encode(size=(30, 20)), "b/1.png": encode("L", size=(16, 40))}
    folder = make_folder(tmp_path / "photos", files)

    fitted = trained_on(folder, "--resolution", "8", "--channels", "3").images

    assert fitted.pixels.shape == (2, 3, 8, 8)
    assert np.array_equal(fitted.pixels, read_images(folder, resolution=8, channels=3).pixels)
    message = (
        "photos: b/1.png: 16x40 pixels where a/1.png has 30x20; expected one size, or a "
        "resolution to resize to (--resolution)"
    )
    with pytest.raises(ImageError, match=exactly(message)):
        trained_on(folder)
    message = "expected all alike, or a number of channels to convert to (--channels)"
    with pytest.raises(ImageError, match=f"{re.escape(message)}$"):
        measured_on(folder, "--resolution", "8")


def test_digits_are_fitted_too() -> None:
    found = trained_on("digits", "--resolution", "16", "--channels", "3").images

    assert found.pixels.shape == (1297, 3, 16, 16)


@pytest.mark.parametrize("command", ["train", "reconstruct", "noise", "measure"])
def test_every_command_with_data_has_the_options_of_register_dataset(command: str) -> None:
    more = ["--resolution", "8", "--channels", "1"]
    given = ["vae.conv"] if command == "train" else ["run"]
    out = [] if command == "measure" else ["--out", "x"]

    options = build_parser().parse_args([command, *given, "--data", "d", *out, *more])

    assert (options.resolution, options.channels) == (8, 1)


def test_a_name_that_is_not_packaged_is_a_path() -> None:
    with pytest.raises(ImageError, match=r"^mnist: does not exist; expected "):
        trained_on("mnist")


def test_grey_images_train_alike_whatever_file_they_come_from(tmp_path: Path) -> None:
    data = make_data()
    write_npz(tmp_path / "set.npz", data.images, data.labels)

    def strides(pixels: np.ndarray) -> tuple[int, ...]:
        stream = BatchStream(
            pixels, None, seed=0, device=torch.device("cpu"), horizontal_flip=False
        )
        return stream.batch(0, 4).images.stride()

    assert strides(trained_on(tmp_path / "set.npz").images.pixels) == strides(data.images)
