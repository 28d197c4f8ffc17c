"""Vendi score: bounds, closed forms, both ways to compute it, invariances and calibration."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from evaluation.metrics.vendi import vendi_score
from tests.evaluation.factories import coverage, numbers

SEEDS = st.integers(0, 10_000)


def features(count: int, dim: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)) + 0.3


def score(x: np.ndarray) -> float:
    found = vendi_score(x).value
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 5, 300])
def test_equal_images_count_as_one(count: int) -> None:
    assert score(np.tile([1.0, 2, 3], (count, 1))) == pytest.approx(1, abs=1e-12)


def test_images_of_one_direction_count_as_one() -> None:
    assert score(np.outer([1, 2, 5.0, 0.1], [1.0, 2, 3])) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("count", "dim"), [(3, 10), (10, 10)])
def test_orthogonal_images_count_each(count: int, dim: int) -> None:
    assert score(np.eye(dim)[:count] * 7) == pytest.approx(count, rel=1e-12)


def test_repeated_orthogonal_images_count_once_each() -> None:
    assert score(np.tile(np.eye(4), (50, 1))) == pytest.approx(4, rel=1e-12)


def test_two_images_at_an_angle_are_the_closed_form() -> None:
    cosine = 0.6
    eigenvalues = np.array([1 + cosine, 1 - cosine]) / 2

    expected = math.exp(-(eigenvalues * np.log(eigenvalues)).sum())

    assert score(np.array([[1, 0], [0.6, 0.8]])) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40)
@given(count=st.integers(1, 40), dim=st.integers(1, 40), seed=SEEDS)
def test_the_score_is_that_of_the_definition_whichever_matrix_is_smaller(
    count: int, dim: int, seed: int
) -> None:
    x = features(count, dim, seed=seed)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / count)
    eigenvalues = eigenvalues[eigenvalues > 1e-14]

    found = score(x)

    assert found == pytest.approx(math.exp(-(eigenvalues * np.log(eigenvalues)).sum()), rel=1e-9)
    assert 1 - 1e-12 <= found <= min(count, dim) * (1 + 1e-12)


@settings(max_examples=30)
@given(seed=SEEDS, scale=st.floats(1e-150, 1e150))
def test_order_rotation_and_scale_do_not_matter(seed: int, scale: float) -> None:
    x = features(30, 8, seed=seed)
    rotation, _ = np.linalg.qr(features(8, 8, seed=seed + 1))

    assert score(np.random.default_rng(seed).permutation(x)) == pytest.approx(score(x), rel=1e-10)
    assert score(x @ rotation) == pytest.approx(score(x), rel=1e-10)
    assert score(x * scale) == pytest.approx(score(x), rel=1e-10)


def test_fewer_modes_score_less() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 32)) * 0.03

    scores = [score(np.eye(32)[np.arange(400) % kept] + noise) for kept in (20, 10, 3, 1)]

    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 1.3 < 20 < scores[0]


@pytest.mark.slow
@pytest.mark.parametrize("dim", [4, 16])
def test_the_interval_covers_the_score_of_infinitely_many_images(dim: int) -> None:
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(dim, dim)) / math.sqrt(dim)
    truth = score(rng.normal(size=(1_000_000, dim)) @ mixing)

    results = [vendi_score(rng.normal(size=(300, dim)) @ mixing) for _ in range(300)]

    assert 0.92 <= coverage(results, truth) <= 0.98
    assert numbers(results, "value").mean() < truth
    corrected = numbers(results, "corrected")
    assert corrected.mean() == pytest.approx(truth, abs=5 * corrected.std() / math.sqrt(300))
    assert numbers(results, "standard_error").mean() == pytest.approx(corrected.std(), rel=0.15)


def test_an_interval_beyond_what_the_features_allow_is_absent() -> None:
    rng = np.random.default_rng(2)

    results = [vendi_score(rng.normal(size=(200, 4))) for _ in range(300)]

    absent = {found.reason for found in results if found.interval is None}
    assert absent == {"no interval: all of it lies beyond the 1 to 4 that 4 features allow"}


def test_few_images_have_no_interval() -> None:
    few, narrow = vendi_score(features(100, 5)), vendi_score(features(300, 64))

    assert (few.interval, few.reason) == (None, "no interval: 100 images are fewer than 200")
    assert (narrow.interval, narrow.reason) == (None, "no interval: 300 images are fewer than 320")


def test_features_that_are_all_zero_point_nowhere() -> None:
    x = features(10, 3)
    x[4:6] = 0

    result = vendi_score(x)

    assert result.value is None
    assert result.reason == "the features of 2 images are all 0: they point nowhere"


def test_no_images_have_no_score() -> None:
    assert vendi_score(features(0, 3)).value is None


def test_single_precision_is_computed_in_double() -> None:
    x = features(50, 6).astype(np.float32)

    assert score(x) == score(x.astype(np.float64))


def test_the_work_can_be_ended() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vendi_score(features(20, 3), keep_going=stop)
