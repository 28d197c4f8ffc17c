"""Differences of two rows: the interval is that of a t test, and wrong as often as it says."""

import math
import random
from statistics import fmean

import pytest

from leaderboards.statistics.differences import difference
from leaderboards.statistics.spread import Seed


def seeds(*values: float, error: float | None = None) -> list[Seed]:
    return [Seed(value, error) for value in values]


def test_seeds_of_like_spread_give_the_interval_of_students_t_test() -> None:
    found = difference(seeds(5.0, 6.0, 7.0), seeds(2.0, 3.0, 4.0))

    half = 2.7764 * math.sqrt(2 / 3)  # 4 degrees of freedom, both variances are 1
    assert found.value == 3.0
    assert found.low == pytest.approx(3 - half, 1e-4)
    assert found.high == pytest.approx(3 + half, 1e-4)
    assert found.is_sure


def test_single_seeds_differ_by_more_than_the_errors_of_their_images_or_not() -> None:
    assert difference(seeds(5.0, error=0.1), seeds(4.0, error=0.1)).is_sure
    assert not difference(seeds(5.0, error=0.5), seeds(4.0, error=0.5)).is_sure
    assert difference(seeds(5.0), seeds(4.0)).low is None


@pytest.mark.parametrize(("ours", "theirs", "ratio"), [(3, 3, 1.0), (5, 2, 1.0), (3, 3, 3.0)])
def test_equal_rows_are_rarely_told_apart(ours: int, theirs: int, ratio: float) -> None:
    chance = random.Random(0)  # noqa: S311  # keeps no secret

    def draw(count: int, spread: float) -> list[Seed]:
        return seeds(*(chance.gauss(0.0, spread) for _ in range(count)))

    wrong = fmean(difference(draw(ours, ratio), draw(theirs, 1.0)).is_sure for _ in range(400))

    assert wrong < 0.08  # 5 % and nearly three standard errors
