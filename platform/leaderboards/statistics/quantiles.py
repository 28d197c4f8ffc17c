"""Quantiles of Student's t and of the studentised range, and polygammas, without numpy.

The web process judges boards and has neither numpy nor scipy. Tests compare all with scipy.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache

MANY = 200  # degrees of freedom; more are taken for this many, which errs on the safe side
SQRT_2 = math.sqrt(2)


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


def below(t: float, degrees: int) -> float:
    """Return the probability that Student's t is below ``t``."""
    within = t_probability(abs(t), min(degrees, MANY))
    return max((1 - within) / 2, 1e-15) if t < 0 else (1 + within) / 2


@lru_cache(4096)
def t_quantile(degrees: int, outside: float = 0.05) -> float:
    """Return t such that Student's t is beyond ±t with probability ``outside``.

    For 5 %: 12.706 for 1 degree of freedom, 1.972 for 200 and more.
    """
    found = min(degrees, MANY)
    return _bisected(lambda t: 1 - t_probability(t, found) - outside)


def _bisected(falling: Callable[[float], float]) -> float:
    """Return where a function of positive numbers falls below 0."""
    high = 1.0
    while falling(high) > 0 and high < 1e15:
        high *= 2
    low = 0.0
    while low < (middle := (low + high) / 2) < high and high - low > 1e-12 * high:
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high


@lru_cache(4096)
def range_quantile(rows: int, degrees: int, outside: float = 0.05) -> float:
    """Return q such that the studentised range of so many means is above q with that probability.

    Source: Tukey, 1953, "The problem of multiple comparisons"; q / √2 is the bound of one
    difference in its standard errors.
    """
    scales = _scales(min(degrees, MANY))

    def above(q: float) -> float:
        return 1 - sum(w * range_probability(q * s, rows) for s, w in scales) - outside

    low, high = 0.0, t_quantile(degrees, outside / (rows * (rows - 1) / 2)) * SQRT_2  # Bonferroni
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 0 else (low, middle)
    return high


@cache
def _scales(degrees: int) -> list[tuple[float, float]]:
    """Return values of s / σ with their weights: s² has ``degrees`` degrees of freedom."""
    width = 6 / math.sqrt(2 * degrees)
    low, high, steps = max(1e-3, 1 - width), 1 + width + 1 / degrees, 40
    points = [low + (high - low) * (k + 0.5) / steps for k in range(steps)]
    weights = [math.exp((degrees - 1) * math.log(s) - degrees * (s * s - 1) / 2) for s in points]
    total = sum(weights)
    return [(s, w / total) for s, w in zip(points, weights, strict=True)]


GRID = tuple(-7 + 0.25 * k for k in range(57))  # of a standard normal variable


def normal_below(z: float) -> float:
    return 0.5 * math.erfc(-z / SQRT_2)


NORMAL = tuple((z, math.exp(-z * z / 2) / math.sqrt(2 * math.pi), normal_below(z)) for z in GRID)


def range_probability(width: float, rows: int) -> float:
    """Return the probability that standard normal variables lie within a range of that width."""
    total = sum(d * (normal_below(z + width) - p) ** (rows - 1) for z, d, p in NORMAL)
    return min(1.0, rows * total * 0.25)


def digamma(x: float) -> float:
    """Return ψ(x) for x > 0: recurrence to 10 and above, then the asymptotic series."""
    total = 0.0
    while x < 10:
        total -= 1 / x
        x += 1
    return total + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)


def polygamma(order: int, x: float) -> float:
    """Return the absolute value of ψ's derivative of an order of at least 1, for x > 0."""
    n = order + 1
    total = sum((x + k) ** -n for k in range(20))
    y = x + 20
    total += y**-order / order + y**-n / 2 + n * y ** (-n - 1) / 12
    return math.factorial(order) * total


def trigamma_inverse(y: float) -> float:
    """Return x with ψ'(x) = y, for y > 0."""
    return _bisected(lambda x: polygamma(1, max(x, 1e-12)) - y)
