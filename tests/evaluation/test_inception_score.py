"""The Inception Score against closed forms, torch-fidelity and its own error bars."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from evaluation.inception_score import inception_score
from tests.evaluation.factories import coverage, numbers


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    logits: np.ndarray = np.log(np.maximum(probabilities, 1e-300))
    return logits


def test_equal_predictions_score_one() -> None:
    result = inception_score(np.tile([0.3, -1, 2], (50, 1)))

    assert [result.value, *(result.interval or ())] == pytest.approx([1, 1, 1], abs=1e-12)
    assert result.value is not None and result.value >= 1


def test_certain_and_balanced_predictions_score_the_number_of_classes() -> None:
    result = inception_score(logits_of(np.repeat(np.eye(10), 100, axis=0)))

    assert result.value == pytest.approx(10, abs=1e-9)
    assert result.interval is not None and result.interval[1] == 10


def test_two_halves_score_the_closed_form() -> None:
    result = inception_score(logits_of(np.array([[0.9, 0.1], [0.1, 0.9]] * 20)))

    assert result.value == pytest.approx(1.4449348111684153, abs=1e-12)


def test_the_order_of_the_images_does_not_matter() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 10)) * 3
    by_class = logits[logits.argmax(1).argsort()]

    assert inception_score(by_class).value == pytest.approx(inception_score(logits).value)


def test_the_score_equals_that_of_torch_fidelity_with_one_split() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(500, 20)) * 2)

    theirs = isc_features_to_metric(logits, splits=1)["inception_score_mean"]

    assert inception_score(logits).value == pytest.approx(theirs, rel=1e-10)


def test_the_correction_takes_out_the_bias_and_the_interval_covers() -> None:
    rng = np.random.default_rng(2)
    population = rng.normal(size=(100_000, 50)) * 2
    truth = inception_score(population).value
    assert truth is not None

    results = [inception_score(population[rng.choice(100_000, 300)]) for _ in range(200)]

    plain = numbers(results, "value").mean()
    corrected = numbers(results, "corrected").mean()
    assert plain < truth * 0.99
    assert abs(corrected - truth) < abs(plain - truth) / 3
    assert coverage(results, truth) >= 0.88


def test_one_image_has_no_score() -> None:
    result = inception_score(np.zeros((1, 10)))

    assert (result.value, result.reason) == (None, "needs at least 2 images, got 1")
