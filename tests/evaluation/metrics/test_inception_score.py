"""The Inception Score against closed forms, torch-fidelity and its own error bars."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch_fidelity.metric_isc import isc_features_to_metric

from evaluation.metrics.inception_score import inception_score, inception_score_from_logits
from tests.evaluation.factories import coverage, numbers


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    logits: np.ndarray = np.log(np.maximum(probabilities, 1e-300))
    return logits


def random_logits(count: int, classes: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, classes)) * 2


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(1).numpy()


def test_equal_predictions_score_one() -> None:
    result = inception_score_from_logits(np.tile([0.3, -1, 2], (50, 1)))

    assert result.value == pytest.approx(1, abs=1e-12)
    assert result.interval is None
    assert "so the spread is unknown" in result.reason
    assert result.value is not None and result.value >= 1


def test_certain_and_balanced_predictions_score_the_number_of_classes() -> None:
    result = inception_score_from_logits(logits_of(np.repeat(np.eye(10), 100, axis=0)))

    assert result.value == pytest.approx(10, abs=1e-9)
    assert result.interval is None  # the spread of such predictions is not known from them


@settings(deadline=None, max_examples=25)
@given(count=st.integers(2, 300), classes=st.integers(1, 30), seed=st.integers(0, 1000))
def test_probabilities_and_their_logits_score_the_same(count: int, classes: int, seed: int) -> None:
    logits = random_logits(count, classes, seed=seed)

    from_logits = inception_score_from_logits(logits)
    from_probabilities = inception_score(softmax(logits))

    for name in ("value", "corrected", "standard_error"):
        expected = pytest.approx(getattr(from_logits, name), rel=1e-9, abs=1e-9)
        assert getattr(from_probabilities, name) == expected


@settings(deadline=None, max_examples=25)
@given(count=st.integers(2, 300), classes=st.integers(1, 30), seed=st.integers(0, 1000))
def test_the_score_is_from_one_to_the_number_of_classes(
    count: int, classes: int, seed: int
) -> None:
    result = inception_score_from_logits(random_logits(count, classes, seed=seed) * 10)

    assert result.value is not None
    assert 1 <= result.value <= classes * (1 + 1e-12)
    assert (result.interval is None) == bool(result.reason)
    if result.interval is not None:
        assert count >= 50
        assert 1 <= result.interval[0] <= result.interval[1] <= classes


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), offset=st.floats(-1e3, 1e3))
def test_neither_the_order_of_images_and_classes_nor_an_offset_of_logits_matters(
    seed: int, offset: float
) -> None:
    logits = random_logits(200, 10, seed=seed)
    rng = np.random.default_rng(seed)

    moved = logits[rng.permutation(200)][:, rng.permutation(10)] + offset

    expected = inception_score_from_logits(logits).value
    assert inception_score_from_logits(moved).value == pytest.approx(expected, rel=1e-9)


def test_classes_that_no_image_has_change_nothing() -> None:
    p = softmax(random_logits(100, 5, seed=0))
    padded = np.pad(p, ((0, 0), (0, 3)))

    plain, result = inception_score(p), inception_score(padded)

    assert result.value == pytest.approx(plain.value, rel=1e-12)
    assert result.corrected == pytest.approx(plain.corrected, rel=1e-12)


def test_many_images_are_scored_as_one_set() -> None:
    p = softmax(random_logits(10_000, 4, seed=0))

    marginal = p.mean(0)
    expected = np.exp((p * np.log(p / marginal)).sum(1).mean())

    assert inception_score(p).value == pytest.approx(expected, rel=1e-12)
    assert inception_score(p.astype(np.float32)).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("splits", [1, 7, 10])
def test_the_score_and_its_spread_equal_those_of_torch_fidelity(splits: int) -> None:
    logits = random_logits(503, 20, seed=1)

    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    ours = inception_score_from_logits(logits, splits=splits, seed=2020)

    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-10)
    if splits > 1:
        expected = pytest.approx(theirs["inception_score_std"], rel=1e-8)
        assert ours.details == {"splits": splits, "split_sd": expected}


def test_splits_are_in_the_given_order_and_have_no_interval() -> None:
    alike, certain = np.tile([1.0, 0, 0], (30, 1)), np.tile(np.eye(3), (10, 1))

    result = inception_score(np.concatenate([alike, certain]), splits=2)

    assert result.value == pytest.approx(2, abs=1e-12)  # the scores are 1 and 3
    assert result.details["split_sd"] == pytest.approx(1, abs=1e-12)
    assert (result.corrected, result.standard_error, result.interval) == (None, None, None)
    assert result.reason == "no interval: the spread of splits is not the error of their mean"


def test_smaller_splits_score_less() -> None:
    logits = random_logits(1000, 100, seed=0)

    scores = [
        inception_score_from_logits(logits, splits=splits, seed=0).value or 0
        for splits in (1, 2, 5, 10, 50)
    ]

    assert scores == sorted(scores, reverse=True)


def test_the_correction_takes_out_the_bias_and_the_interval_covers() -> None:
    rng = np.random.default_rng(2)
    population = rng.normal(size=(100_000, 50)) * 2
    truth = inception_score_from_logits(population).value
    assert truth is not None

    results = [
        inception_score_from_logits(population[rng.choice(100_000, 300)]) for _ in range(300)
    ]

    plain = numbers(results, "value").mean()
    corrected = numbers(results, "corrected").mean()
    assert plain < truth * 0.99
    assert abs(corrected - truth) < abs(plain - truth) / 3
    assert 0.9 <= coverage(results, truth) <= 0.98


@pytest.mark.parametrize(("splits", "count", "needed"), [(1, 1, 2), (10, 9, 10)])
def test_too_few_images_have_no_score(splits: int, count: int, needed: int) -> None:
    result = inception_score_from_logits(np.zeros((count, 10)), splits=splits)

    reason = f"needs at least {needed} images, got {count}"
    assert (result.value, result.reason) == (None, reason)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((3, 4), 0.5), "expected probabilities that sum to 1 for each image, got 2"),
        (np.array([[1.5, -0.5]] * 3), "expected probabilities of at least 0, got -0.5"),
        (np.full((3, 4), np.nan), "expected finite features, got NaN or infinity"),
        (np.ones(3), "expected features of shape (N, D), got (3,)"),
    ],
)
def test_what_are_no_probabilities_is_refused(probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        inception_score(probabilities)

    assert str(caught.value) == message


def test_no_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 split, got 0"):
        inception_score(np.eye(3), splits=0)
