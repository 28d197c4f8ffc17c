"""Which rows can be told apart, and so between which ranks each of them lies.

A row's rank lies between one more than the number of rows that are surely better, and the number
of rows that are not surely worse. "Surely" is one statement about all pairs of rows: with
probability 95 % not one of them is wrong.

Sources: Mogstad, Romano, Shaikh and Wilhelm, 2024, "Inference for ranks with applications to
mobility across neighbourhoods and academic achievement across countries"; the bound of a
difference from the bounds of its two numbers: Zou and Donner, 2008, "Construction of confidence
limits about effect measures"; of the differences among rows that may be tied: Tukey's range, at the
levels of Ryan, 1960, and Einot and Gabriel, 1975, "A study of the powers of several methods of
multiple comparisons", closed over all ways of being tied (Marcus, Peritz and Gabriel, 1976); of many
rows, Bonferroni's. Deviation: no bootstrap, so that the same board is always judged alike.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import combinations
from typing import NamedTuple

from leaderboards.statistics.quantiles import SQRT_2, range_quantile, t_quantile
from leaderboards.statistics.spread import Estimate

# Probability that any statement about a column is wrong, if seeds of all rows vary alike: the rest
# of 5 % is left for rows whose seeds vary up to three times as much as others', which two or three
# seeds do not show.
OUTSIDE = 0.0165
FEW = 100  # rows up to which every two are compared, by Tukey's range
LEAST_DEGREES = 4  # of freedom, for the range
STEP = 1.5  # factor between the bounds of many rows: each is taken for the next larger one
LOG_STEP = math.log(STEP)
EXACT = 10  # rows up to which a set has a bound of its own; larger ones have that of the board


class Ranks(NamedTuple):
    """The least and the largest rank that a row may have, from 1 on."""

    low: int
    high: int


def rank_ranges(rows: Sequence[Estimate], *, higher_is_better: bool = False) -> list[Ranks]:
    """Return the range of each row's rank.

    Time grows with n log n in the number of rows.
    """
    apart = _apart_of_few(rows) if len(rows) <= FEW else _apart(rows, _bounds(rows))
    if higher_is_better:
        return [Ranks(1 + above, len(rows) - below) for below, above in apart]
    return [Ranks(1 + below, len(rows) - above) for below, above in apart]


def _apart_of_few(rows: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Return for each row how many others are surely below it, and how many surely above.

    Two rows are apart if in every way in which rows may be tied, they with others and the rest
    among themselves, those tied differ by more than chance. Rows that are apart are not tied: so
    with the two only those may be that are apart from neither, and of the rest only those that are
    not yet apart from all.
    """
    count = len(rows)
    near = [2**count - 1 for _ in rows]  # a bit for each row that is not apart
    pairs, left = list(combinations(range(count), 2)), 0
    while len(pairs) != left:
        left = len(pairs)
        tied = sum(others.bit_count() > 1 for others in near)
        for i, j in pairs:
            together = (near[i] & near[j]).bit_count()
            if _differ(rows[i], rows[j], together, tied):
                near[i] ^= 1 << j
                near[j] ^= 1 << i
        pairs = [(i, j) for i, j in pairs if near[i] >> j & 1]
    found = []
    for mean, others in zip([row.mean for row in rows], near, strict=True):
        apart = [other.mean for place, other in enumerate(rows) if not others >> place & 1]
        below = sum(other < mean for other in apart)
        found.append((below, len(apart) - below))
    return found


def _differ(one: Estimate, other: Estimate, together: int, tied: int) -> bool:
    """Return whether two rows differ by more than chance, of so many that may be tied together."""
    bounds = [
        row.error and row.error * _factor(row.degrees, together, tied) for row in (one, other)
    ]
    return abs(one.mean - other.mean) > math.hypot(*bounds)


@lru_cache(4096)
def _factor(degrees: int, together: int, tied: int) -> float:
    """Return how many errors a mean may be from the truth, at a set's share of all the error."""
    size = together if together <= EXACT else tied
    level = 1 - (1 - OUTSIDE) ** (size / tied)
    factor = t_quantile(degrees, level / math.comb(size, 2))
    if degrees < LEAST_DEGREES:
        return factor
    return min(factor, range_quantile(size, degrees, level) / SQRT_2)


def _bounds(rows: Sequence[Estimate]) -> list[float]:
    """Return how far each of many means may be from the truth."""
    outside = OUTSIDE / math.comb(len(rows), 2)
    factors = {degrees: t_quantile(degrees, outside) for degrees in {row.degrees for row in rows}}
    return [error and error * factors[degrees] for _, error, degrees in rows]


def _apart(rows: Sequence[Estimate], bounds: Sequence[float]) -> list[tuple[int, int]]:
    """Return for each row how many others are surely below it, and how many surely above."""
    groups: dict[float, list[int]] = defaultdict(list)
    for place, bound in enumerate(bounds):
        groups[_rounded_up(bound)].append(place)
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
    highest = [mean + both for both, others in apart for mean in others]
    return sorted(lowest), sorted(highest)


def _rounded_up(bound: float) -> float:
    if bound == 0 or math.isinf(bound):
        return bound
    return _power(math.ceil(math.log(bound) / LOG_STEP))


@cache
def _power(steps: int) -> float:
    return float(STEP**steps)
