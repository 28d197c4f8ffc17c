"""The packaged digits and the classifier trained on them, once per run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from evaluation.features.classifier import LabelledImages, TrainedClassifier, prepare_classifier
from evaluation.imagesets.in_memory import write_npz
from tests.conftest import made_once


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


@pytest.fixture(scope="session")
def digits() -> tuple[LabelledImages, LabelledImages]:
    """Return 1297 train and 500 test digits, 8x8 grey."""
    bunch = load_digits()
    pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)[:, None]
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, labels = pixels[order], bunch.target[order].astype(np.int64)
    return (
        LabelledImages(pixels=pixels[:1297], labels=labels[:1297]),
        LabelledImages(pixels=pixels[1297:], labels=labels[1297:]),
    )


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, digits: tuple[LabelledImages, LabelledImages]
) -> TrainedClassifier:
    def train(cache: Path) -> TrainedClassifier:
        return prepare_classifier(cache, digits[0], test=digits[1])

    return train(made_once(tmp_path_factory, "classifiers", train))  # found there the second time


@pytest.fixture
def files(
    tmp_path: Path, digits: tuple[LabelledImages, LabelledImages], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a folder with train.npz and test.npz, and use it as the home of caches."""
    for name, split in zip(("train", "test"), digits, strict=True):
        write_npz(tmp_path / f"{name}.npz", split.pixels, split.labels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path
