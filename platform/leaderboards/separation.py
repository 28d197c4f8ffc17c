"""Which rows can be told apart, and so between which ranks each of them lies.

A row's rank lies between one more than the number of rows that are surely better, and the number
of rows that are not surely worse. "Surely" is one statement about all pairs of rows: with
probability 95 % not one of them is wrong.

Sources: Mogstad, Romano, Shaikh and Wilhelm, 2024, "Inference for ranks with applications to
mobility across neighbourhoods and academic achievement across countries"; the bound of a
difference from the bounds of its two numbers: Zou and Donner, 2008, "Construction of confidence
limits about effect measures"; of all differences: Tukey's range or Holm's step down (Holm, 1979),
whichever is the less. Deviation: no bootstrap, so that the same board is always judged alike.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboards.quantiles import SQRT_2, range_quantile, t_quantile
from leaderboards.spread import Estimate

# Probability that any statement about a column is wrong: of 5 %, a fifth is left for rows whose
# seeds vary more than the board's others do, which two or three seeds do not show.
OUTSIDE = 0.04
FEW = 100  # rows up to which Tukey's range is used and every bound is taken as it is
LEAST_DEGREES = 4  # of freedom, for the range
STEP = 1.5  # factor between the bounds of many rows: each is taken for the next larger one
ROUNDS = 4  # of Holm's steps, which change little among many rows: there it is one


@dataclass(frozen=True)
class Ranks:
    """The least and the largest rank that a row may have, from 1 on."""

    low: int
    high: int


def rank_ranges(rows: Sequence[Estimate]) -> list[Ranks]:
    """Return the range of each row's rank; the smaller a mean, the better.

    Time grows with n log n in the number of rows.
    """
    pairs = len(rows) * (len(rows) - 1) // 2
    left, ranks = pairs, [Ranks(1, len(rows))] * len(rows)
    for _ in range(ROUNDS if len(rows) <= FEW else 1):
        if left == 0:
            break
        apart = _apart(rows, [_bound(row, len(rows), left) for row in rows])
        ranks = [Ranks(1 + better, len(rows) - worse) for better, worse in apart]
        before, left = left, pairs - sum(better for better, _ in apart)
        if left == before:
            break
    return ranks


def _bound(row: Estimate, rows: int, pairs: int) -> float:
    """Return how far a mean may be from the truth for as many pairs as are still in question."""
    if row.error == 0 or math.isinf(row.error):
        return row.error
    factor = t_quantile(row.degrees, OUTSIDE / pairs)
    if rows <= FEW and row.degrees >= LEAST_DEGREES:
        factor = min(factor, range_quantile(rows, row.degrees, OUTSIDE) / SQRT_2)
    return factor * row.error


def _apart(rows: Sequence[Estimate], bounds: Sequence[float]) -> list[tuple[int, int]]:
    """Return for each row how many others are surely better, and how many surely worse."""
    groups: dict[float, list[int]] = defaultdict(list)
    for place, bound in enumerate(bounds):
        groups[bound if len(rows) <= FEW else _rounded_up(bound)].append(place)
    means = {bound: sorted(rows[place].mean for place in at) for bound, at in groups.items()}
    found = [(0, 0)] * len(rows)
    for bound, places in groups.items():
        lowest, highest = _ends(means, bound)
        for place in places:
            mean = rows[place].mean
            found[place] = bisect_left(highest, mean), len(rows) - bisect_right(lowest, mean)
    return found


def _ends(means: dict[float, list[float]], bound: float) -> tuple[list[float], list[float]]:
    """Return between which ends, in order, each mean is not apart from one with that bound."""
    apart = [(math.hypot(bound, other), others) for other, others in means.items()]
    lowest = [mean - both for both, others in apart for mean in others]
    return sorted(lowest), sorted(mean + both for both, others in apart for mean in others)


def _rounded_up(bound: float) -> float:
    if bound == 0 or math.isinf(bound):
        return bound
    return float(STEP ** math.ceil(math.log(bound, STEP)))
