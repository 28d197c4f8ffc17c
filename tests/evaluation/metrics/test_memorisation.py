"""C_T: copies are far below zero, held-out images near it, other data far above."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import mannwhitneyu, norm

from evaluation.features.base import ExtractionStopped
from evaluation.metrics.memorisation import ct_score, ranked_scores


def normal(count: int, *, seed: int, dim: int = 8, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)) + shift


TRAIN, TEST = normal(600, seed=0), normal(300, seed=1)


def score(generated: np.ndarray) -> float:
    found = ct_score(TRAIN, TEST, generated)
    assert found.value is not None
    return found.value


def test_the_held_out_images_themselves_score_zero() -> None:
    assert score(TEST) == pytest.approx(0, abs=1e-12)


def test_new_draws_of_the_same_distribution_score_as_a_normal_variable_would() -> None:
    scores = [score(normal(300, seed=seed)) for seed in range(2, 42)]

    # All are against the same held-out images, whose own chance moves them together.
    assert np.std(scores) < 1.5
    assert abs(np.mean(scores)) < 2.5


def test_copies_and_near_copies_score_far_below_zero() -> None:
    copies = TRAIN[:300]

    assert score(copies) < -10
    assert score(copies) <= score(copies + normal(300, seed=3) * 0.2) < -5


def test_images_beside_the_data_score_far_above_zero() -> None:
    assert score(normal(300, seed=2) * 2) > 5


def test_a_cell_with_too_few_images_is_left_out_and_said() -> None:
    train = np.concatenate([normal(300, seed=0), normal(300, seed=1, shift=50)])
    test = np.concatenate([normal(100, seed=2), normal(100, seed=3, shift=50)])

    found = ct_score(train, test, normal(100, seed=4), cells=2)

    assert found.value is not None
    assert sorted(cell["generated"] for cell in found.details["cells"]) == [0, 100]
    assert [cell["z"] for cell in found.details["cells"] if cell["generated"] == 0] == [None]
    assert found.details["null_standard_deviation"] == pytest.approx(1)  # of the one cell left


def test_without_a_cell_of_enough_images_it_is_absent() -> None:
    found = ct_score(TRAIN, TEST[:10], TEST)

    assert found.value is None
    assert found.reason == "needs a cell with 20 held-out and 20 generated images"


def test_wide_features_are_projected_and_copies_still_caught() -> None:
    train, test = normal(400, seed=0, dim=100), normal(300, seed=1, dim=100)

    found = ct_score(train, test, train[:300], components=16)

    assert found.value is not None
    assert found.value < -10


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.01, 1.0, 100.0]))
def test_order_shift_and_scale_change_nothing(seed: int, scale: float) -> None:
    generated = normal(100, seed=seed)
    rng = np.random.default_rng(seed)

    found = ct_score(TRAIN * scale + 3, TEST * scale + 3, rng.permutation(generated) * scale + 3)

    assert found.value == pytest.approx(score(generated), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_the_z_score_is_that_of_the_rank_test_with_its_correction_for_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 40).astype(float)

    p = mannwhitneyu(a, b, use_continuity=False, method="asymptotic", alternative="less").pvalue

    assert norm.cdf(ranked_scores(a, b).z) == pytest.approx(p, abs=1e-12)
    assert ranked_scores(a, b).z == pytest.approx(-ranked_scores(b, a).z)


def test_it_ends_when_asked() -> None:
    def stop() -> None:
        raise ExtractionStopped

    with pytest.raises(ExtractionStopped):
        ct_score(TRAIN, TEST, TEST, keep_going=stop)
