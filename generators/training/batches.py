"""Training images as an endless stream whose order is a function of the seed."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from generators.algorithm.contract import LARGEST_NUM_CLASSES, Batch, check_shape
from generators.algorithm.noise import generator_for
from generators.algorithm.pixels import to_float


class BatchStream:
    """All images of a data set on the device, shuffled anew in each epoch."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None,
        *,
        seed: int,
        device: torch.device,
        horizontal_flip: bool,
    ) -> None:
        # one image format has one layout: grey images that were stored channels last are contiguous
        # with strides of their own, which choose other kernels and so other last bits
        flat = torch.from_numpy(np.ascontiguousarray(images).reshape(-1))
        self._images = flat.view(images.shape).to(device)
        self._labels = None if labels is None else torch.from_numpy(labels).long().to(device)
        self._seed = seed
        self._horizontal_flip = horizontal_flip
        self._permutation = lru_cache(maxsize=2)(self._permutation_of)

    def batch(self, start: int, count: int) -> Batch:
        """Return images `start` to `start + count` of the stream."""
        chosen = self._indices(start, count)
        images = to_float(self._images[chosen])
        if self._horizontal_flip:
            images = self._flip_some(images, start)
        return Batch(images, None if self._labels is None else self._labels[chosen])

    def epoch(self, size: int, *, most: int | None = None) -> Iterator[Batch]:
        """Yield every image once, as it is and in the data's order, in batches.

        Of more than `most` images they are so many, evenly spaced.
        """
        count = min(len(self._images), most or len(self._images))
        for start in range(0, count, size):
            places = range(start, min(start + size, count))
            chosen = torch.tensor([i * len(self._images) // count for i in places])
            labels = None if self._labels is None else self._labels[chosen]
            yield Batch(to_float(self._images[chosen]), labels)

    def _indices(self, start: int, count: int) -> Tensor:
        """Return places in the data set, (count,) int64; a batch may reach into the next epoch.

        They are on the device from the epoch's beginning on: a copy would wait for the device.
        """
        parts = []
        while count > 0:
            epoch, offset = divmod(start, len(self._images))
            parts.append(self._permutation(epoch)[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return torch.cat(parts)

    def _permutation_of(self, epoch: int) -> Tensor:
        generator = generator_for("cpu", self._seed, "epoch", epoch)
        return torch.randperm(len(self._images), generator=generator).to(self._images.device)

    def _flip_some(self, images: Tensor, start: int) -> Tensor:
        generator = generator_for(images.device, self._seed, "flip", start)
        uniform = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
        return torch.where(uniform < 0.5, images.flip(3), images)


def check_data(images: np.ndarray, labels: np.ndarray | None, num_classes: int) -> None:
    """Check that images and labels can be trained on.

    Raises:
        ValueError: if they cannot; the message says what was expected and what came.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"expected uint8 images (N, C, H, W), got {images.dtype} of shape {images.shape}"
        )
    check_shape((images.shape[1], images.shape[2], images.shape[3]))
    if not 0 <= num_classes <= LARGEST_NUM_CLASSES:
        raise ValueError(f"expected 0..{LARGEST_NUM_CLASSES} classes, got {num_classes}")
    if num_classes == 0:
        return
    if labels is None:
        raise ValueError(f"expected labels of {num_classes} classes, got none")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"expected {len(images)} whole-number labels, "
            f"got shape {labels.shape} of {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"expected labels in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
        )


def class_counts(labels: np.ndarray | None, num_classes: int) -> list[int] | None:
    """Return how many images each class has, None without labels."""
    if labels is None:
        return None
    counts: list[int] = np.bincount(labels, minlength=num_classes).tolist()
    return counts


def digest(images: np.ndarray, labels: np.ndarray | None) -> str:
    """Return the sha256 of images and labels, in hex."""
    found = hashlib.sha256(repr((images.shape, images.dtype.str)).encode())
    found.update(np.ascontiguousarray(images).data)
    if labels is not None:
        found.update(np.ascontiguousarray(labels, dtype=np.int64).data)
    return found.hexdigest()
