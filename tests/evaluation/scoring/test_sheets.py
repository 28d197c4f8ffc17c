"""Nearest training images and classes of the first images of a set."""

from pathlib import Path

import numpy as np
import torch

from evaluation.features.cache import FeatureCache
from evaluation.features.registry import build_extractor
from evaluation.imagesets.opening import open_images
from evaluation.protocols import building
from evaluation.scoring.sheets import nearest_rows, read_sheet


def test_the_nearest_row_is_found_over_all_parts_and_a_copy_is_exactly_0_away() -> None:
    rng = torch.Generator().manual_seed(0)
    others = (
        torch.randn(50, 7, generator=rng) + 1000
    )  # far from 0, where |a|² + |b|² - 2ab is coarse
    rows = torch.stack([others[41], others[3] + 0.01, others[17]])

    places, distances = nearest_rows(rows, torch.split(others, 8))

    assert places == [41, 3, 17]
    assert distances[0] == distances[2] == 0.0
    assert abs(distances[1] - 0.01 * 7**0.5) < 1e-3


def test_of_equal_training_images_the_first_counts() -> None:
    others = torch.zeros(6, 2)

    assert nearest_rows(torch.ones(1, 2), torch.split(others, 2))[0] == [0]


def facts(train: np.ndarray, test: np.ndarray) -> building.DatasetFacts:
    splits = {
        name: building.SplitFacts(open_images(pixels).digest(), len(pixels))
        for name, pixels in (("train", train), ("test", test))
    }
    return building.DatasetFacts(slug="dots", resolution=8, channels=1, splits=splits)


def test_copies_are_found_by_features_and_by_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8) for n in (40, 20))
    generated = np.concatenate([train[[30, 5]], test[:4]])
    extractor = build_extractor("random-convolution", cache=tmp_path, reference=train, device="cpu")
    found = {}
    for split in ("train", "test"):
        protocol = building.build_protocol(
            facts(train, test),
            extractor="random-convolution",
            weights_sha256=extractor.weights_sha256,
            recipe=extractor.recipe,
            reference_split=split,
            num_images=6,
        )
        found[split] = read_sheet(
            protocol,
            extractor,
            open_images(generated),
            open_images(train),
            count=5,
            cache=FeatureCache(None),
        )

    features, pixels = found["train"], found["test"]
    assert features is not None and pixels is not None
    assert (features.distance, pixels.distance) == ("features", "pixels")
    for reading in (features, pixels):
        assert len(reading.nearest) == len(reading.distances) == 5
        assert reading.nearest[:2] == [30, 5] and reading.predicted is None
        assert max(reading.distances[:2]) < 1e-4 < min(reading.distances[2:])
    apart = ((test[0].astype(float) - train[pixels.nearest[2]]) / 255) ** 2
    assert abs(pixels.distances[2] - apart.mean() ** 0.5) < 1e-9
