"""What the seeds of every row say of one number: its mean and error, with shared variances.

Few seeds tell little of their own variance (two seeds: a t quantile of 12.7), but a board has many
rows. So the variance of a row's seeds is moderated by those of all rows: pooled, unless the rows'
variances differ by more than chance; and never less than half the row's own, nor than that which
its images alone explain.

Source: Smyth, 2004, "Linear models and empirical Bayes methods for assessing differential
expression", sections 6 and 7. Deviations: a finite prior only where the variances' spread is two
standard errors above chance; half the row's own variance as a lower bound, which keeps one row that
varies much more than the others from being judged by their variance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import NamedTuple

from leaderboards.statistics.quantiles import MANY, digamma, polygamma, t_quantile, trigamma_inverse

DEGREES_OF_IMAGES = 19  # of an error from images: most are of twenty groups
SIGNIFICANT = 2.0  # standard errors by which variances must differ to be taken for unequal
OWN = 0.5  # of a row's own variance, its least: of few seeds it is often large by chance alone
LARGEST = 1e70  # of what a board compares: no float holds the fourth power of much more
LEAST = 1e-12  # a variance, relative to the squared mean, that is none but rounding


class Seed(NamedTuple):
    """One seed's number and its standard error from the images, where that is known."""

    value: float
    error: float | None = None


class Estimate(NamedTuple):
    """The mean of one row's seeds; an infinite error says that nothing is known of it."""

    mean: float
    error: float
    degrees: int = MANY


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of at least two values and its 95 % interval by Student's t, of them alone."""
    unit = _unit(values)
    centre, variance = _moments([value / unit for value in values])
    half = t_quantile(len(values) - 1) * math.sqrt(variance / len(values))
    return centre * unit, (centre - half) * unit, (centre + half) * unit


def _unit(values: Sequence[float]) -> float:
    """Return a power of two that leaves no square beyond floats; 1 for all but huge numbers."""
    largest = max(map(abs, values))
    return float(2.0 ** (math.frexp(largest)[1] - 1)) if largest > LARGEST else 1.0


Rows = Sequence[Sequence[Seed]]
Scale = Callable[[float], float]


def scale_of(rows: Rows) -> Scale:
    """Return the scale on which variances of seeds are about constant: as it is, or logarithms.

    It is told by the slope of the logarithm of the variances over that of the means, 0 on the one
    scale and 2 on the other (Box and Cox, 1964); where nothing tells it, positive numbers are
    compared by their ratios.
    """
    several = [_moments([value for value, _ in row]) for row in rows if len(row) > 1]
    if not several or any(value <= 0 for row in rows for value, _ in row):
        return lambda value: value
    points = [(math.log(mean), math.log(s2)) for mean, s2 in several if s2 > 0]
    centre = fmean(x for x, _ in points) if points else 0.0
    across = sum((x - centre) ** 2 for x, _ in points)
    slope = sum((x - centre) * y for x, y in points) / across if across > 0.01 else 2.0
    return math.log if slope > 1 else lambda value: value


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the variance of values; that of one value is 0."""
    if len(values) == 1:
        return values[0], 0.0
    centre = math.fsum(values) / len(values)
    found = sum([(value - centre) ** 2 for value in values]) / (len(values) - 1)
    return centre, 0.0 if found <= LEAST * centre**2 else found


def estimates(rows: Rows, scale: Scale) -> list[Estimate]:
    """Return the mean and the moderated error of each row's seeds on a scale; no row is empty.

    Rows of one seed have the variance of the board's other rows, and at least that of their own
    images; where no row has more seeds, that of their images alone.
    """
    moments = [_moments([scale(value) for value, _ in row]) for row in rows]
    prior = _prior([s2 for _, s2 in moments], [len(row) - 1 for row in rows])
    found = []
    for row, (mean, s2) in zip(rows, moments, strict=True):
        images = _of_images(row, scale)
        if prior is None:
            known = images if images is not None else math.inf
            found.append(Estimate(mean, math.sqrt(known), DEGREES_OF_IMAGES))
            continue
        moderated, total = prior.moderate(s2, len(row) - 1)
        most = max(moderated, OWN * s2, images or 0.0)
        found.append(Estimate(mean, math.sqrt(most / len(row)), total))
    return found


def _of_images(row: Sequence[Seed], scale: Scale) -> float | None:
    """Return the mean variance that a row's images explain, on the scale; None if not known."""
    total = 0.0
    for value, error in row:
        if error is None:
            return None
        total += (error / value if scale is math.log else error) ** 2
    return total / len(row)


@dataclass(frozen=True)
class Prior:
    """The variance that a board's rows have in common, worth so many degrees of freedom."""

    variance: float
    degrees: float  # infinite: all rows have the same
    pooled: int  # degrees of freedom of all rows together, more than which nothing is known

    def moderate(self, own: float, degrees: int) -> tuple[float, int]:
        """Return a row's variance and its degrees of freedom."""
        total = int(min(self.degrees + degrees, self.pooled, MANY))
        if math.isinf(self.degrees):
            return self.variance, total
        weight = self.degrees + degrees
        return (self.degrees * self.variance + degrees * own) / weight, max(total, 1)


def _prior(own: Sequence[float], degrees: Sequence[int]) -> Prior | None:
    """Return what variances with their degrees of freedom have in common; None without any."""
    pooled = sum(degrees)
    if pooled == 0:
        return None
    shared = sum(d * s2 for d, s2 in zip(degrees, own, strict=True)) / pooled
    logs = [
        (math.log(s2) - _log_bias(d), d)
        for s2, d in zip(own, degrees, strict=True)
        if s2 > 0 and d > 0
    ]
    if len(logs) < 3:
        return Prior(shared, math.inf, pooled)
    count, centre = len(logs), fmean(e for e, _ in logs)
    chance = fmean(_of_log(1, d) for _, d in logs)
    tails = fmean(_of_log(3, d) for _, d in logs)
    error = math.sqrt(2 * chance**2 / (count - 1) + tails / count)
    excess = sum((e - centre) ** 2 for e, _ in logs) / (count - 1) - chance
    if excess <= SIGNIFICANT * error:
        return Prior(shared, math.inf, pooled)
    worth = 2 * trigamma_inverse(excess)
    return Prior(math.exp(centre + digamma(worth / 2) - math.log(worth / 2)), worth, pooled)


@cache
def _log_bias(degrees: int) -> float:
    """Return by how much the logarithm of a variance is expected to be off."""
    return digamma(degrees / 2) - math.log(degrees / 2)


@cache
def _of_log(order: int, degrees: int) -> float:
    """Return the variance (1) or the fourth cumulant (3) of the logarithm of a variance."""
    return polygamma(order, degrees / 2)
