"""Builds what tests of this room are about: protocols, images and extractors without weights."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.features.base import Extractor, content_sha256
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.record import Protocol


def make_dataset(*, train: int = 1297, test: int = 500, slug: str = "digits") -> DatasetFacts:
    return DatasetFacts(
        slug=slug,
        resolution=8,
        channels=1,
        splits={"train": SplitFacts("b" * 64, train), "test": SplitFacts("c" * 64, test)},
    )


def make_protocol(
    dataset: DatasetFacts | None = None,
    *,
    num_images: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    weights_sha256: str = "d" * 64,
) -> Protocol:
    return build_protocol(
        dataset or make_dataset(),
        extractor=CLASSIFIER,
        weights_sha256=weights_sha256,
        recipe={"version": 1} if recipe is None else recipe,
        num_images=num_images,
    )


def make_images(count: int, *, seed: int = 0, channels: int = 1, side: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)


class RandomProjection(Extractor):
    """A fixed linear map of the pixels: an extractor that needs neither weights nor training."""

    name = "dataset-classifier"
    layer = "penultimate"
    dim = 64
    recipe: Mapping[str, Any] = {"version": 1}
    device = torch.device("cpu")

    def __init__(self, *, channels: int = 1, side: int = 8, scale: float = 1.0) -> None:
        rng = np.random.default_rng(0)
        matrix = rng.normal(size=(channels * side * side, 64 + 10)) * scale
        self.weights_sha256 = content_sha256(matrix)
        self.calls = 0
        self._matrix = torch.from_numpy(matrix).float()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        out = (images.flatten(1).float() / 255) @ self._matrix
        return out[:, :64], out[:, 64:]


def numbers(results: Iterable[MetricResult], name: str) -> np.ndarray:
    """Return one number of each result; none may be absent."""
    return np.array([getattr(found, name) for found in results], dtype=np.float64)


def coverage(results: Sequence[MetricResult], truth: float) -> float:
    """Return the share of intervals that hold the truth."""
    inside = []
    for found in results:
        assert found.interval is not None, found.reason
        inside.append(found.interval[0] <= truth <= found.interval[1])
    return float(np.mean(inside))
