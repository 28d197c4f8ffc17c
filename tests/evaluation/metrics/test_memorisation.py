"""C_T: copies are far below zero, held-out images near it, other data far above."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import mannwhitneyu, norm

from evaluation.features.base import ExtractionStopped
from evaluation.metrics.memorisation import ct_score, ranked_scores
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.replication import nearness_p_value


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
    details = ct_score(TRAIN, TEST, normal(300, seed=2)).details
    assert details["null_standard_deviation"] == pytest.approx(0.59, abs=0.02)
    assert np.std(scores) == pytest.approx(details["null_variance_generated"] ** 0.5, rel=0.25)
    assert abs(np.mean(scores)) < 3 * details["null_variance_held_out"] ** 0.5


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


def test_its_deviation_without_copies_is_the_root_of_squared_shares_and_not_1() -> None:
    found = ct_score(TRAIN, TEST, normal(900, seed=2))

    shares = np.array([cell["share"] for cell in found.details["cells"]])
    deviation = found.details["null_standard_deviation"]
    assert deviation == pytest.approx((shares**2).sum() ** 0.5)
    assert 0.57 < deviation < 0.75
    parts = [found.details[f"null_variance_{side}"] for side in ("generated", "held_out")]
    assert sum(parts) == pytest.approx(deviation**2)
    assert parts[0] < 0.4 * parts[1]  # three times as many images


def test_what_is_left_of_a_score_without_one_image_is_the_score_of_the_others() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=40)

    found = ranked_scores(a, b)

    assert found.without_generated[7] == pytest.approx(ranked_scores(np.delete(a, 7), b).z)
    assert found.without_held_out[9] == pytest.approx(ranked_scores(a, np.delete(b, 9)).z)


def test_equal_distances_leave_no_interval() -> None:
    points = np.zeros((100, 2))

    found = ct_score(np.eye(2).repeat(20, axis=0), points, points, cells=1)

    assert (found.value, found.interval) == (0, None)
    assert found.reason == "no interval: no image changes the value"


def test_asked_for_none_it_has_no_interval_and_the_same_value() -> None:
    with_interval, without = (ct_score(TRAIN, TEST, TRAIN[:100], level=x) for x in (0.95, None))

    assert without.value == with_interval.value
    assert without.details == with_interval.details
    assert without.interval is None and with_interval.interval is not None


@pytest.mark.slow
@pytest.mark.parametrize("copied", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("generated", "held_out"), [(300, 300), (1000, 300)])
def test_the_interval_holds_the_mean_over_draws(
    copied: float, generated: int, held_out: int
) -> None:
    found = [drawn(seed, copied, generated, held_out) for seed in range(300)]

    truth = np.mean([each.value for each in found])
    hits = [each.interval[0] <= truth <= each.interval[1] for each in found if each.interval]
    assert len(hits) == 300
    assert 0.92 <= np.mean(hits) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_without_copies_are_marked_as_often_as_said(seeds: int) -> None:
    p_values = []
    for draw in range(300):
        test = of_three_kinds(300, seed=1000 + draw)
        found = [
            ct_score(KINDS, test, of_three_kinds(300, seed=10_000 + seeds * draw + seed))
            for seed in range(seeds)
        ]
        parts = [
            [each.details[f"null_variance_{side}"] for each in found]
            for side in ("generated", "held_out")
        ]
        p_values.append(nearness_p_value([each.value or 0.0 for each in found], *parts))

    for level in (0.05, 0.2):
        assert np.mean(np.array(p_values) < level) == pytest.approx(
            level, abs=3 * (level / 300) ** 0.5
        )


def of_three_kinds(count: int, *, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    found: np.ndarray = rng.normal(size=(count, 4)) + 6.0 * kinds[:, None]
    return found


KINDS = of_three_kinds(600, seed=0)


def drawn(seed: int, copied: float, generated: int, held_out: int) -> MetricResult:
    rng = np.random.default_rng(seed)
    images = of_three_kinds(generated, seed=1000 + seed)
    copies = rng.random(generated) < copied
    images[copies] = KINDS[rng.integers(0, len(KINDS), copies.sum())]
    return ct_score(KINDS, of_three_kinds(held_out, seed=50_000 + seed), images)


def test_it_ends_when_asked() -> None:
    def stop() -> None:
        raise ExtractionStopped

    with pytest.raises(ExtractionStopped):
        ct_score(TRAIN, TEST, TEST, keep_going=stop)
