"""Student's t interval of a mean over few seeds, without numpy."""

import math
from functools import cache
from statistics import mean, stdev

LEVEL = 0.95


def t_probability(t: float, degrees: int) -> float:
    """Return the probability that Student's t with so many degrees of freedom is within ±t.

    Abramowitz and Stegun, 1964, 26.7.3 (odd degrees) and 26.7.4 (even degrees).
    """
    theta = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(theta), degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total


@cache
def t_quantile(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t: 12.706 for 1 degree, 1.960 for many."""
    low, high = 0.0, 13.0  # 12.71 is the largest
    while low < (middle := (low + high) / 2) < high:
        if t_probability(middle, degrees) < LEVEL:
            low = middle
        else:
            high = middle
    return high


def mean_interval(
    values: list[float], *, minimum: float | None = None, maximum: float | None = None
) -> tuple[float, float, float]:
    """Return the mean of at least two values and its 95 % interval, clipped to the range."""
    centre = mean(values)
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    low = centre - half if minimum is None else max(minimum, centre - half)
    high = centre + half if maximum is None else min(maximum, centre + half)
    return centre, low, high
