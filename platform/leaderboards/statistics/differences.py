"""The difference of two means with its interval, from what is known of each of them alone.

Nothing else on a board changes it, so that two rows differ by the same wherever they meet.
Source: Zou and Donner, 2008, "Construction of confidence limits about effect measures: a general
approach", eq. 7 and 8.
"""

import math
from typing import NamedTuple, Protocol


class WithInterval(Protocol):
    """A value with its 95 % interval, as a board's cell has it."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Difference(NamedTuple):
    """How much more one value is than another, with the 95 % interval where both have theirs."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the two differ by more than chance; False where no interval is known."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def difference(one: WithInterval, other: WithInterval) -> Difference | None:
    """Return by how much ``one`` is more than ``other``; None if either has no value.

    The two are taken for independent. Their intervals need not be symmetric.
    """
    if one.value is None or other.value is None:
        return None
    found = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Difference(found)
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Difference(found, found - below, found + above)
