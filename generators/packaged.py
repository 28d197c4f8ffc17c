"""Images that come with the installation, by name: scikit-learn's handwritten digits."""

import hashlib
from pathlib import Path

import numpy as np

from generators.images import TEST, TRAIN, LabelledImages, read_images

DIGITS = "digits"
NAMES = (DIGITS,)

SPLIT_SEED = 0
DIGITS_TEST_SIZE = 500  # of 1,797 images


def read_data(source: str, *, split: str = TRAIN) -> LabelledImages:
    """Return the images of a packaged name, or of what `read_images` reads.

    A folder that is called like a packaged name is reached by its path: `./digits`.

    Raises:
        ImagesError: if the path or a file in it is not what it should be.
    """
    return read_digits(split) if source == DIGITS else read_images(Path(source), split=split)


def read_digits(split: str = TRAIN) -> LabelledImages:
    """Return the train (1,297) or test (500) part of the 8x8 digits, ten classes.

    Alpaydin and Kaynak, 1998, "Optical recognition of handwritten digits", UCI Machine Learning
    Repository. 0..16 is scaled to 0..255 and rounded; each class gives its share to the test part,
    by a hash of the position: the parts are those of the platform's dataset of this name.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  # slow; only this function needs it

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    labels = digits.target.astype(np.int64)
    chosen = _in_test(labels, DIGITS_TEST_SIZE) == (split == TEST)
    return LabelledImages(pixels[chosen], labels[chosen], list("0123456789"))


def _in_test(labels: np.ndarray, test_size: int) -> np.ndarray:
    """Return which images belong to the test part, (N,) bool."""
    members = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    found = np.zeros(len(labels), bool)
    for indices, share in zip(members, _shares([len(m) for m in members], test_size), strict=True):
        found[sorted(indices.tolist(), key=_shuffled)[:share]] = True
    return found


def _shuffled(index: int) -> bytes:
    return hashlib.sha256(f"{SPLIT_SEED}:{index}".encode()).digest()


def _shares(sizes: list[int], total: int) -> list[int]:
    """Return how many of each class make up the total, by largest remainder."""
    exact = [size * total / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares
