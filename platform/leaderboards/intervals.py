"""Student's t interval of a mean over few seeds, without numpy."""

import math
from statistics import NormalDist, mean, stdev

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
T_95 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


def t_quantile(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t; above 30 by its expansion in 1/degrees.

    Abramowitz and Stegun, 1964, 26.7.5, to second order (error below 1e-4 there).
    """
    if degrees <= len(T_95):
        return T_95[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def mean_interval(
    values: list[float], *, minimum: float | None = None, maximum: float | None = None
) -> tuple[float, float, float]:
    """Return the mean of at least two values and its 95 % interval, clipped to the range."""
    centre = mean(values)
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    low = centre - half if minimum is None else max(minimum, centre - half)
    high = centre + half if maximum is None else min(maximum, centre + half)
    return centre, low, high
