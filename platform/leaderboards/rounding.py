"""How many digits a number deserves: as many as its own interval supports, else its column's."""

import math
from collections.abc import Iterable
from typing import Protocol

MAX_DECIMALS = 6
SIGNIFICANT = 3  # digits of a number without an interval


class WithInterval(Protocol):
    """A value with its interval, as a board's cell and a MetricValue have it."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def decimals(estimates: Iterable[WithInterval], *, counts: bool = False) -> int:
    """Return the decimals of numbers together: of their narrowest interval, else three digits.

    `counts` says that the quantity is a number of things: where all are whole, so is the column.
    """
    known = [e for e in estimates if e.value is not None]
    if counts and all(e.value == int(e.value or 0) for e in known):
        return 0
    halves = [(e.high - e.low) / 2 for e in known if e.low is not None and e.high is not None]
    if positive := [half for half in halves if half > 0]:
        return _bounded(_leading_place(min(positive)))
    sizes = [abs(e.value) for e in known if e.value]
    return _bounded(SIGNIFICANT - 1 - math.floor(math.log10(max(sizes)))) if sizes else 1


def own_decimals(estimate: WithInterval, places: int) -> int:
    """Return the decimals that a number's own interval supports; without one, its column's."""
    return places if estimate.low is None else decimals([estimate])


def _leading_place(half: float) -> int:
    """Return the decimals that show one digit of a half width, two if it begins with 1."""
    exponent = math.floor(math.log10(half))
    begins_with_one = half < 1.95 * 10.0**exponent  # from 1.95 on it would be shown as 2
    return 1 - exponent if begins_with_one else -exponent


def _bounded(places: int) -> int:
    return max(0, min(MAX_DECIMALS, places))


def number(value: float, places: int) -> str:
    """Return the value with so many decimals, a thousands separator and a true minus sign."""
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def spread(estimate: WithInterval, places: int) -> str:
    """Return "± 0.52", or "[11.2, 12.9]" where the interval is not symmetric; "" without one."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    tolerance = 0.5 * 10**-places
    if abs(below - above) <= tolerance and below >= 0:
        return f"± {number((below + above) / 2, places)}"
    return f"[{number(estimate.low, places)}, {number(estimate.high, places)}]"
