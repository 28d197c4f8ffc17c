"""The grouped jackknife: its groups, its bias correction and its bounds."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from evaluation.metrics.jackknife import jackknifed, seeded_groups
from tests.evaluation.factories import coverage, numbers


def test_groups_are_seeded_equally_large_and_share_nothing() -> None:
    groups = seeded_groups(103, 20, seed=0)

    assert {len(group) for group in groups} == {5, 6}
    assert sorted(np.concatenate(groups)) == list(range(103))
    assert all((a == b).all() for a, b in zip(groups, seeded_groups(103, 20, seed=0), strict=True))
    assert (groups[0] != seeded_groups(103, 20, seed=1)[0]).any()


@given(a=st.floats(-3, 3), b=st.floats(-100, 100))
def test_the_jackknife_takes_out_a_bias_of_one_by_n_exactly(a: float, b: float) -> None:
    n, groups = 1000, 20

    result = jackknifed(a + b / n, np.full(groups, a + b / (n * 19 / 20)), level=0.95)

    assert result.corrected == pytest.approx(a, abs=1e-10)


def test_an_interval_beyond_the_possible_is_absent() -> None:
    below = jackknifed(0.1, np.full(20, 0.2) + np.arange(20) * 1e-6, level=0.95, minimum=0)
    above = jackknifed(0.9, np.full(20, 0.8) + np.arange(20) * 1e-6, level=0.95, maximum=1)

    assert below.reason == "no interval: all of it lies below 0, the least possible value"
    assert above.reason == "no interval: all of it lies above 1, the largest possible value"


def test_the_interval_of_a_square_covers_it() -> None:
    rng = np.random.default_rng(0)
    results = []
    for _ in range(500):
        x = rng.normal(size=200) + 1
        rest = [np.delete(x, group).mean() ** 2 for group in seeded_groups(200, 20, seed=0)]
        results.append(jackknifed(x.mean() ** 2, np.array(rest), level=0.95))

    assert 0.92 <= coverage(results, 1.0) <= 0.975
    assert numbers(results, "corrected").mean() == pytest.approx(1, abs=0.03)
