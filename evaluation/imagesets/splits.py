"""Splits and chooses from sets of images, the same forever and on every machine."""

import hashlib

import numpy as np
import numpy.typing as npt

from evaluation.imagesets.in_memory import Images
from evaluation.imagesets.sources import ImageError

SPLIT_SEED = 0
TEST_FRACTION = 0.2  # of each class, where a source has no test part


def split_images(images: Images, test_size: int) -> dict[str, Images]:
    """Return train and test splits, each with its share of every class, in the given order.

    The images of a class are ordered by a hash of seed and position: the same forever, on every
    machine. Shares are rounded to add up to `test_size`, but neither split lacks a class.

    Raises:
        ImageError: if a class has fewer than two images, or `test_size` leaves a split empty.
    """
    count = len(images.pixels)
    labels = np.zeros(count, np.int64) if images.labels is None else images.labels
    if not 0 < test_size < count:
        raise ImageError(f"expected 1 to {count - 1} test images of {count}, got {test_size}")
    classes = images.classes or ("",)
    members = [np.flatnonzero(labels == label) for label in range(len(classes))]
    for name, indices in zip(classes, members, strict=True):
        if len(indices) < 2:
            raise ImageError(
                f"class {name}: {len(indices)} image; expected at least 2, one for each split"
            )
    in_test = np.zeros(count, bool)
    for indices, share in zip(members, _shares([len(m) for m in members], test_size), strict=True):
        in_test[sorted(indices.tolist(), key=_shuffle_key)[:share]] = True
    return {"train": take(images, ~in_test), "test": take(images, in_test)}


def split_by_fraction(name: str, images: Images, fraction: float) -> dict[str, Images]:
    """Return train and test splits; this fraction of each class is for the test split.

    name: what errors call the images.

    Raises:
        ImageError: if the fraction is not between 0 and 1, or as `split_images`.
    """
    if not 0 < fraction < 1:
        raise ImageError(f"expected a test fraction between 0 and 1, got {fraction:g}")
    count = len(images.pixels)
    if count < 2:
        raise ImageError(f"{name}: 1 image; expected at least 2, one for each split")
    return split_images(images, min(max(round(count * fraction), 1), count - 1))


def choose(count: int, size: int, *, seed: int) -> np.ndarray:
    """Return ``size`` of the indices 0..count-1, sorted; all of them if ``size == count``.

    The choice is without replacement and depends on the three numbers alone (PCG64).

    Raises:
        ValueError: if there are fewer than ``size``.
    """
    if size > count:
        raise ValueError(f"expected at least {size} images, got {count}")
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])


def _shuffle_key(index: int) -> bytes:
    return hashlib.sha256(f"{SPLIT_SEED}:{index}".encode()).digest()


def _shares(sizes: list[int], total: int) -> list[int]:
    """Return how many of each class make up `total`, by largest remainder."""
    exact = [size * total / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return [min(max(share, 1), size - 1) for share, size in zip(shares, sizes, strict=True)]


def take(images: Images, chosen: npt.NDArray[np.bool_ | np.int64]) -> Images:
    """Return some images with all that is known of each; chosen: a mask, or indices in their order."""
    indices = np.arange(len(images.pixels))[chosen]
    captions = images.captions
    return Images(
        images.pixels[chosen],
        None if images.labels is None else images.labels[chosen],
        images.classes,
        is_lossy=None if images.is_lossy is None else images.is_lossy[chosen],
        captions=None if captions is None else tuple(captions[index] for index in indices),
    )
