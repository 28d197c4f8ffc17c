"""Splitting: every image once, every class on both sides, the same forever."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, strategies as st

from evaluation.imagesets.in_memory import ImageError, Images
from evaluation.imagesets.packaged import read_digits, split_digits
from evaluation.imagesets.splits import split_images

# sha256 of pixels and labels, taken before there was one module of digits
WHOLE = "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"
TRAIN = "b95d024b44baada6d26102a455fc0c445139ed42d2939926eb13ac976093fa90"
TEST = "ccfb37d1ba27427dd5a77f8ff8ecc6cd83848c55d3f41ede59904dbc019d1da5"


def labelled(sizes: list[int]) -> Images:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = (np.arange(len(labels)) % 256).astype(np.uint8)[:, None, None, None]
    return Images(pixels, labels, tuple(f"class {i}" for i in range(len(sizes))))


@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
)
def test_a_split_keeps_every_image_once_and_every_class_on_both_sides(
    sizes: list[int], fraction: float
) -> None:
    images = labelled(sizes)
    test_size = min(max(round(sum(sizes) * fraction), 1), sum(sizes) - 1)

    splits = split_images(images, test_size)

    train, test = splits["train"], splits["test"]
    assert train.labels is not None and test.labels is not None
    together = np.concatenate([train.labels, test.labels])
    assert np.array_equal(np.bincount(together), sizes)
    for label, size in enumerate(sizes):
        share = int((test.labels == label).sum())
        assert 1 <= share <= size - 1
        assert abs(share - size * test_size / sum(sizes)) <= 1


def test_a_split_is_the_same_every_time() -> None:
    first, second = (split_images(labelled([30, 20]), 10) for _ in range(2))

    assert all(np.array_equal(first[part].pixels, second[part].pixels) for part in first)
    assert first["test"].pixels.ravel().tolist() == [4, 7, 15, 18, 20, 25, 36, 44, 45, 46]


def test_unlabelled_images_are_split_too() -> None:
    images = Images(np.zeros((10, 1, 2, 2), np.uint8), None, ())

    splits = split_images(images, 3)

    assert [len(splits[part].pixels) for part in ("train", "test")] == [7, 3]
    assert splits["test"].labels is None


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(ImageError) as caught:
        split_images(labelled([5, 1]), 2)

    assert str(caught.value) == ("class class 1: 1 image; expected at least 2, one for each split")


def sha256(*arrays: np.ndarray | None) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays if a is not None)).hexdigest()


def test_the_digits_and_their_split_are_the_same_forever() -> None:
    whole, parts = read_digits(), split_digits()

    assert [len(images.pixels) for images in (whole, *parts.values())] == [1797, 1297, 500]
    assert sha256(whole.pixels, whole.labels) == WHOLE
    assert sha256(parts["train"].pixels, parts["train"].labels) == TRAIN
    assert sha256(parts["test"].pixels, parts["test"].labels) == TEST
