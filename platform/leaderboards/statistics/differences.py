"""By how much two rows differ in one number, with the 95 % interval of the difference.

The errors of both are those of `spread`, moderated by what the two have in common; where neither
has more than one seed, those of their images. The bound of the difference from those of the two
numbers: Zou and Donner, 2008, "Construction of confidence limits about effect measures". It is an
interval of one difference: of twenty that are none, one is expected to exclude 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from leaderboards.statistics.quantiles import t_quantile
from leaderboards.statistics.spread import Estimate, Seed, estimates


class Difference(NamedTuple):
    """One number minus another; without bounds where no error is known."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def difference(ours: Sequence[Seed], theirs: Sequence[Seed]) -> Difference:
    """Return the mean of our seeds minus that of theirs; both have some."""
    one, other = estimates([ours, theirs], float)
    value = one.mean - other.mean
    if not math.isfinite(one.error + other.error):
        return Difference(value)
    half = math.hypot(_bound(one), _bound(other))
    return Difference(value, value - half, value + half)


def _bound(row: Estimate) -> float:
    """Return how far a mean may be from the truth."""
    return row.error and row.error * t_quantile(row.degrees)
