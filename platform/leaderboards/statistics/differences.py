"""By how much two rows differ in one number, with the 95 % interval of the difference.

Where both have several seeds, by their own spreads, which may differ: Welch, 1947, "The
generalization of 'Student's' problem when several different population variances are involved".
Where one has a single seed, it is taken to vary as the other; where both have, by their images
alone. It is an interval of one difference: of twenty that are none, one is expected to exclude 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from leaderboards.statistics.quantiles import MANY, t_quantile
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
    if min(len(ours), len(theirs)) > 1:
        (one,), (other,) = estimates([ours], float), estimates([theirs], float)
        degrees = _degrees(one, other)
    else:
        one, other = estimates([ours, theirs], float)
        degrees = one.degrees
    value, error = one.mean - other.mean, math.hypot(one.error, other.error)
    if not math.isfinite(error):
        return Difference(value)
    half = error and error * t_quantile(degrees)
    return Difference(value, value - half, value + half)


def _degrees(one: Estimate, other: Estimate) -> int:
    """Return the degrees of freedom of two errors together, by Welch and Satterthwaite."""
    fourth = one.error**4 / one.degrees + other.error**4 / other.degrees
    if fourth == 0:
        return MANY
    return max(1, min(MANY, int((one.error**2 + other.error**2) ** 2 / fourth)))
