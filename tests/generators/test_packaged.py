from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.preparation import prepare_digits
from evaluation.imagesets.in_memory import read_images as read_with_evaluation
from generators.images import ImagesError, write_npz
from generators.packaged import read_data
from generators.training.batches import ImageStream
from tests.generators.conftest import exactly, make_data


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("test", 500)])
def test_digits_are_those_of_the_platform(
    split: str, count: int, tmp_path: Path, settings: pytest.FixtureRequest
) -> None:
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]  # pytest-django's wrapper
    found = read_data("digits", split=split)

    with prepare_digits() as prepared:
        expected = read_with_evaluation(prepared.folder / f"{split}.npz")

    assert found.pixels.shape == (count, 1, 8, 8)
    assert np.array_equal(found.pixels, expected.pixels)
    assert expected.labels is not None and found.labels is not None
    assert np.array_equal(found.labels, expected.labels)
    assert found.classes == list("0123456789")


def test_a_prepared_folder_is_read_part_by_part(tmp_path: Path) -> None:
    train, test = make_data(20), make_data(10, seed=1)
    write_npz(tmp_path / "train.npz", train.images, train.labels)
    write_npz(tmp_path / "test.npz", test.images, test.labels)

    assert np.array_equal(read_data(str(tmp_path)).pixels, train.images)
    assert np.array_equal(read_data(str(tmp_path), split="test").pixels, test.images)


def test_a_name_that_is_not_packaged_is_a_path() -> None:
    with pytest.raises(ImagesError, match=exactly("mnist: there is no such file or folder")):
        read_data("mnist")


def test_grey_images_train_alike_whatever_file_they_come_from(tmp_path: Path) -> None:
    data = make_data()
    write_npz(tmp_path / "set.npz", data.images, data.labels)

    def strides(pixels: np.ndarray) -> tuple[int, ...]:
        stream = ImageStream(
            pixels, None, seed=0, device=torch.device("cpu"), horizontal_flip=False
        )
        return stream.batch(0, 4).images.stride()

    assert strides(read_data(str(tmp_path / "set.npz")).pixels) == strides(data.images)
