"""Which extractors are fit for a dataset: those that see every corruption, and no others."""

import json
from collections.abc import Callable, Mapping
from itertools import count as counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.classifier import (
    ClassifierExtractor,
    LabelledImages,
    TrainedClassifier,
)
from evaluation.scoring.admission import Ladder, Rung, admit
from tests.evaluation.factories import RandomProjection, make_images

Digits = tuple[LabelledImages, LabelledImages]


class Measure(Extractor):
    """An extractor made of one function of the pixels, float32 (N, C, H, W)."""

    name, layer, dim, weights_sha256 = "measure", "pixels", 4, "0" * 64
    recipe: Mapping[str, Any] = {}
    device = torch.device("cpu")
    has_logits = False

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        return self._function(images.float()), None


def ladder(*values: float, spread: float = 0.0) -> Ladder:
    return Ladder(rungs=tuple(Rung(i, value) for i, value in enumerate(values)), spread=spread)


def test_the_classifier_of_the_digits_is_fit_for_the_digits(
    trained: TrainedClassifier, digits: Digits
) -> None:
    train = digits[0]

    found = admit(ClassifierExtractor(trained.folder), train.pixels, labels=train.labels, count=200)

    assert found.passed and found.reasons == ()
    assert found.count == 200
    assert found.floor.value is not None and found.floor.value > 0
    assert found.batch_invariance < 1e-5
    assert set(found.ladders) == {"noise", "blur", "dropped_classes", "duplicates"}
    for one in found.ladders.values():
        assert len(one.rungs) == 5
        assert one.rungs[0].level == 0
        assert one.rungs[-1].value > 2 * one.rungs[0].value
    assert found.ladders["noise"].rungs[0].value == pytest.approx(found.floor.value)


def test_with_enough_images_the_floor_has_an_interval() -> None:
    images = make_images(800, side=2)

    found = admit(Measure(lambda x: x.flatten(1)), images, count=400)

    assert found.floor.interval is not None
    assert found.floor.interval[0] <= 1.5 * found.floor.interval[1]
    assert "dropped_classes" not in found.ladders  # nobody said what the classes are


def test_an_extractor_that_sees_nothing_fails() -> None:
    found = admit(Measure(lambda x: x.new_ones(len(x), 4)), make_images(100), count=50)

    assert not found.passed
    assert found.reasons == ("features are the same for all images",)
    assert found.floor.value is None and found.ladders == {}


def four_quarters(count: int) -> np.ndarray:
    """Return images 16x16 whose quarters are dark or bright."""
    bright = np.random.default_rng(0).integers(0, 2, (count, 1, 2, 2))
    quarters = np.where(bright, 215, 40).astype(np.uint8)
    return np.kron(quarters, np.ones((8, 8), np.uint8))


def test_an_extractor_that_ignores_noise_fails_by_the_noise_alone() -> None:
    def which_quarters_are_bright(x: Tensor) -> Tensor:
        means = torch.nn.functional.avg_pool2d(x, 8).flatten(1)
        return (means > 128).float() + (means > 230).float()

    found = admit(Measure(which_quarters_are_bright), four_quarters(400), count=200)

    assert [reason.split(":")[0] for reason in found.reasons] == ["noise"]
    assert "of clean images and their spread" in found.reasons[0]


def test_an_extractor_that_ignores_the_classes_fails_by_the_classes_alone() -> None:
    labels = np.arange(600) % 10  # of no relation to the images

    found = admit(RandomProjection(), make_images(600), labels=labels, count=300)

    assert [reason.split(":")[0] for reason in found.reasons] == ["dropped_classes"]


def test_every_rung_of_dropped_classes_has_the_same_number_of_images() -> None:
    """Else fewer images would raise the distance without any class being missed."""
    labels = np.repeat([0, 1, 2, 3, 4], 60)

    found = admit(RandomProjection(), make_images(300), labels=labels, count=150)

    rungs = found.ladders["dropped_classes"].rungs
    assert [rung.level for rung in rungs] == [0, 0.2, 0.4, 0.6, 0.8]
    values = np.array([rung.value for rung in rungs])
    assert values.max() < 1.3 * values.min()


def test_features_that_change_with_the_batch_fail() -> None:
    found = admit(
        Measure(lambda x: x.flatten(1)[:, :8] / 255 + len(x) / 1000), make_images(200), count=100
    )

    assert [reason.split(" by ")[0] for reason in found.reasons] == [
        "features change with the batch size"
    ]
    assert found.batch_invariance > 1e-3


def test_features_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ExtractorError, match=r"^expected finite features of real images, got NaN"):
        admit(Measure(lambda x: x.flatten(1).log()), make_images(40) // 2, count=20)


@pytest.mark.parametrize(
    ("values", "spread", "failure"),
    [
        ([1, 2, 3, 4, 5], 0.5, ""),
        ([1, 0.9, 1.4, 1.2, 5], 0.5, ""),
        (
            [1, 1, 1.1, 1.2, 1.3],
            0.5,
            "1.3 at level 4 is no more than 1 of clean images and their spread 0.5",
        ),
        ([1, 2, 1.9, 4, 5], 0.5, "1.9 at level 2 is no more than 2 at level 1"),
        ([1, 2, 3, 3, 5], 0.5, "3 at level 3 is no more than 3 at level 2"),
        ([1, 2, 3, 4, float("nan")], 0.5, "nan at level 4 is no more than 1"),
    ],
)
def test_a_ladder_rises_strictly_beyond_the_spread_of_the_floor(
    values: list[float], spread: float, failure: str
) -> None:
    found = ladder(*values, spread=spread).failure()

    assert found.startswith(failure) and bool(found) == bool(failure)


def test_the_record_is_plain_and_the_same_every_time(
    trained: TrainedClassifier, digits: Digits
) -> None:
    extractor, train = ClassifierExtractor(trained.folder), digits[0]

    records = [
        admit(extractor, train.pixels, labels=train.labels, count=60, seed=3).to_record()
        for _ in range(2)
    ]

    assert records[0] == records[1]
    assert json.loads(json.dumps(records[0], allow_nan=False)) == records[0]
    assert records[0]["ladders"]["noise"][0].keys() == {"level", "value"}
    assert records[0].keys() >= {
        "count",
        "passed",
        "reasons",
        "floor",
        "ladders",
        "batch_invariance",
    }


def test_few_images_are_used_and_too_few_refused() -> None:
    assert admit(RandomProjection(), make_images(9), count=1000).count == 4
    with pytest.raises(ValueError, match=r"^expected at least 4 images and as many labels"):
        admit(RandomProjection(), make_images(3))
    with pytest.raises(ValueError, match=r"got 8 and 7$"):
        admit(RandomProjection(), make_images(8), labels=np.zeros(7))


def test_progress_rises_to_one() -> None:
    shares: list[float] = []

    admit(RandomProjection(), make_images(400), count=200, on_progress=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) >= 10


def test_the_work_can_be_ended() -> None:
    class Enough(Exception):
        pass

    calls = counter()

    def keep_going() -> None:
        if next(calls) == 5:
            raise Enough

    with pytest.raises(Enough):
        admit(RandomProjection(), make_images(400), count=200, keep_going=keep_going)


@pytest.mark.parametrize("count", [2, 4])
def test_very_few_images_are_a_failure_in_words_and_no_error(count: int) -> None:
    found = admit(RandomProjection(), make_images(16), labels=np.arange(16), count=count)

    assert found.count == count
    assert f"dropped_classes: {count} images on each side are too few of each" in found.reasons[-1]
    json.dumps(found.to_record(), allow_nan=False)
