"""Quantiles and what they are made of, against scipy and their limits."""

import pytest
from hypothesis import given, strategies as st
from scipy import special, stats

from leaderboards.statistics.quantiles import (
    MANY,
    below,
    digamma,
    polygamma,
    range_quantile,
    t_probability,
    t_quantile,
    trigamma_inverse,
)
from leaderboards.statistics.spread import mean_interval

numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("degrees", [*range(1, 41), 99, MANY])
@pytest.mark.parametrize("outside", [0.05, 1e-3, 1e-7])
def test_the_quantile_is_scipys(degrees: int, outside: float) -> None:
    expected = stats.t.isf(outside / 2, degrees)

    assert t_quantile(degrees, outside) == pytest.approx(expected, rel=1e-8)


def test_many_degrees_of_freedom_are_taken_for_fewer_not_for_infinitely_many() -> None:
    assert t_quantile(10**6) == t_quantile(MANY) > stats.norm.ppf(0.975)


@given(t=st.floats(-40.0, 40.0), degrees=st.integers(1, 60))
def test_the_lower_tail_is_scipys(t: float, degrees: int) -> None:
    assert below(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-10)


@pytest.mark.parametrize("rows", [2, 3, 8, 30, 100])
@pytest.mark.parametrize("degrees", [4, 8, 30, MANY])
def test_the_quantile_of_the_studentised_range_is_scipys(rows: int, degrees: int) -> None:
    expected = stats.studentized_range.isf(0.04, rows, degrees)

    assert range_quantile(rows, degrees, 0.04) == pytest.approx(expected, rel=1e-3)


@given(st.floats(0.5, 1e4))
def test_polygammas_are_scipys(x: float) -> None:
    assert digamma(x) == pytest.approx(special.digamma(x), abs=1e-7)
    assert polygamma(1, x) == pytest.approx(special.polygamma(1, x), rel=1e-6)
    assert polygamma(3, x) == pytest.approx(special.polygamma(3, x), rel=1e-6)


@given(st.floats(1e-3, 1e3))
def test_the_inverse_of_the_trigamma_function_is_one(y: float) -> None:
    assert polygamma(1, trigamma_inverse(y)) == pytest.approx(y, rel=1e-6)


@given(t=st.floats(0.0, 50.0), degrees=st.integers(1, 60))
def test_the_probability_is_scipys(t: float, degrees: int) -> None:
    expected = 2 * stats.t.cdf(t, degrees) - 1

    # scipy's is 0 up to t = 1e-9, where it should be 6e-10
    assert t_probability(t, degrees) == pytest.approx(expected, abs=1e-8)


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
