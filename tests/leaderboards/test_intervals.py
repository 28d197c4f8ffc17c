"""Student's t, against scipy and its limits."""

import pytest
from hypothesis import given, strategies as st
from scipy import stats

from leaderboards.intervals import mean_interval, t_probability, t_quantile

numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("degrees", [*range(1, 41), 99, 1000])
def test_the_quantile_is_scipys(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


@given(t=st.floats(0.0, 50.0), degrees=st.integers(1, 60))
def test_the_probability_is_scipys(t: float, degrees: int) -> None:
    expected = 2 * stats.t.cdf(t, degrees) - 1

    assert t_probability(t, degrees) == pytest.approx(expected, abs=1e-12)


def test_three_seeds_need_the_multiplier_of_two_degrees_of_freedom_not_1_96() -> None:
    centre, low, high = mean_interval([1.0, 2.0, 3.0])

    half = 4.302652729911275 / 3**0.5  # the sample's standard deviation is 1
    assert centre == 2.0
    assert (low, high) == pytest.approx((2.0 - half, 2.0 + half))


@given(st.lists(numbers, min_size=2, max_size=20))
def test_the_interval_is_scipys(values: list[float]) -> None:
    centre, low, high = mean_interval(values)

    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    scale = max(1.0, *map(abs, values))
    assert (centre - low, high - centre) == pytest.approx((half, half), abs=1e-9 * scale)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_the_interval_stays_within_the_metrics_range() -> None:
    assert mean_interval([0.0, 1.0], minimum=0.0, maximum=1.0) == (0.5, 0.0, 1.0)
