"""Training images as an endless stream whose order is a function of the seed."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from generators.algorithm import frozen_text
from generators.algorithm.contract import Batch, check_shape
from generators.algorithm.noise import generator_for
from generators.algorithm.pixels import to_float
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError, TrainingConfig


class BatchStream:
    """All images of a data set and their rows (N, L) on the device, shuffled anew in each epoch."""

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray | None,
        *,
        seed: int,
        device: torch.device,
        horizontal_flip: bool,
    ) -> None:
        # one image format has one layout: grey images that were stored channels last are contiguous
        # with strides of their own, which choose other kernels and so other last bits
        flat = torch.from_numpy(np.ascontiguousarray(images).reshape(-1))
        self._images = flat.view(images.shape).to(device)
        self._rows = None if rows is None else torch.from_numpy(rows).long().to(device)
        self._seed = seed
        self._horizontal_flip = horizontal_flip
        self._permutation = lru_cache(maxsize=2)(self._permutation_of)

    def batch(self, start: int, count: int) -> Batch:
        """Return images `start` to `start + count` of the stream."""
        chosen = self._indices(start, count)
        images = to_float(self._images[chosen])
        if self._horizontal_flip:
            images = self._flip_some(images, start)
        return Batch(images, None if self._rows is None else self._rows[chosen])

    def epoch(self, size: int, *, most: int | None = None) -> Iterator[Batch]:
        """Yield every image once, as it is and in the data's order, in batches.

        Of more than `most` images they are so many, evenly spaced.
        """
        count = min(len(self._images), most or len(self._images))
        for start in range(0, count, size):
            places = range(start, min(start + size, count))
            chosen = torch.tensor([i * len(self._images) // count for i in places])
            rows = None if self._rows is None else self._rows[chosen]
            yield Batch(to_float(self._images[chosen]), rows)

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
    if not Conditions.of_classes(num_classes).given:
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


def class_counts(conditions: Conditions, rows: np.ndarray | None) -> list[int] | None:
    """Return how many images each class has, None where there are none; rows: (N, L)."""
    if rows is None or conditions.kind != "classes":
        return None
    counts: list[int] = np.bincount(rows[:, 0], minlength=conditions.classes).tolist()
    return counts


def told(
    count: int,
    labels: np.ndarray | None,
    captions: Sequence[str] | None,
    num_classes: int,
    config: TrainingConfig,
) -> tuple[Conditions, np.ndarray | None]:
    """Return the conditions of a training, and the row (N, L) int64 of each image if there are any.

    Raises:
        ValueError: if there are both classes and captions, or not one caption for each image.
        ConditionError: if the captions cannot be learned.
        ConfigError: if there are none, and the configuration says what is learned of them.
    """
    if not config.conditional:
        return Conditions(), None
    if captions is None:
        if config.captions_as == "classes":
            raise ConfigError({"captions_as": "expected words: there are no captions"})
        if config.text_encoder:
            raise ConfigError({"text_encoder": "expected none: there are no captions"})
        rows = labels[:, None] if num_classes and labels is not None else None
        return Conditions.of_classes(num_classes), rows
    if num_classes:
        raise ValueError(f"expected {num_classes} classes or captions, got both")
    if len(captions) != count:
        raise ValueError(f"expected a caption for each of {count} images, got {len(captions)}")
    conditions = _of_captions(captions, config)
    return conditions, np.array(conditions.rows(captions), np.int64)


def _of_captions(captions: Sequence[str], config: TrainingConfig) -> Conditions:
    if config.text_encoder:
        return frozen_text.conditions_of(config.text_encoder, captions)
    if config.captions_as == "classes":
        return Conditions.of_distinct_captions(captions)
    return Conditions.of_captions(captions)


def digest(
    images: np.ndarray, labels: np.ndarray | None, captions: Sequence[str] | None = None
) -> str:
    """Return the sha256 of images and what is known of them, in hex."""
    found = hashlib.sha256(repr((images.shape, images.dtype.str)).encode())
    found.update(np.ascontiguousarray(images).data)
    if labels is not None:
        found.update(np.ascontiguousarray(labels, dtype=np.int64).data)
    if captions is not None:
        found.update(json.dumps(list(captions)).encode())
    return found.hexdigest()
