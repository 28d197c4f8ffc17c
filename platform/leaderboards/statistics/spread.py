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
Moments = tuple[float, float]  # mean, variance


def scale_of(rows: Rows) -> Scale:
    """Return the scale on which variances of seeds are about constant: as it is, or logarithms.

    It is told by the slope of the logarithm of the variances over that of the means, 0 on the one
    scale and 2 on the other (Box and Cox, 1964); where nothing tells it, positive numbers are
    compared by their ratios.
    """
    values = _values(rows)
    return _scale(values, _moments_of(values, float))


def _values(rows: Rows) -> list[list[float]]:
    return [[value for value, _ in row] for row in rows]


def _scale(values: Sequence[Sequence[float]], moments: Sequence[Moments]) -> Scale:
    several = [each for row, each in zip(values, moments, strict=True) if len(row) > 1]
    if not several or min(map(min, values)) <= 0:
        return float
    points = [(math.log(mean), math.log(s2)) for mean, s2 in several if s2 > 0]
    centre = fmean([x for x, _ in points]) if points else 0.0
    across = sum([(x - centre) ** 2 for x, _ in points])
    slope = sum([(x - centre) * y for x, y in points]) / across if across > 0.01 else 2.0
    return math.log if slope > 1 else float


def _moments_of(values: Sequence[Sequence[float]], scale: Scale) -> list[Moments]:
    if scale is float:
        return [_moments(row) for row in values]
    return [_moments([*map(scale, row)]) for row in values]


def _moments(values: Sequence[float]) -> Moments:
    """Return the mean and the variance of values; that of one value is 0."""
    count = len(values)
    if count == 1:
        return values[0], 0.0
    centre = math.fsum(values) / count
    found = sum([(value - centre) ** 2 for value in values]) / (count - 1)
    return centre, 0.0 if found <= LEAST * centre**2 else found


def estimates(rows: Rows, scale: Scale | None = None) -> list[Estimate]:
    """Return the mean and the moderated error of each row's seeds on a scale; no row is empty.

    Without a scale, on that which the rows tell. Rows of one seed have the variance of the board's
    other rows, and at least that of their own images; where no row has more seeds, that of their
    images alone.
    """
    values = _values(rows)
    moments = _moments_of(values, scale or float)
    if scale is None:
        scale = _scale(values, moments)
        moments = moments if scale is float else _moments_of(values, scale)
    counts = [len(row) for row in rows]
    images = [_of_images(row, scale) for row in rows]
    prior = _prior([s2 for _, s2 in moments], [count - 1 for count in counts])
    if prior is None:
        return [
            Estimate(mean, math.inf if known is None else math.sqrt(known), DEGREES_OF_IMAGES)
            for (mean, _), known in zip(moments, images, strict=True)
        ]
    shares = {count: prior.share(count - 1) for count in set(counts)}
    found = []
    for count, (mean, s2), known in zip(counts, moments, images, strict=True):
        base, own, weight, total = shares[count]
        most = max((base + own * s2) / weight, OWN * s2, known or 0.0)
        found.append(Estimate(mean, math.sqrt(most / count), total))
    return found


def _of_images(row: Sequence[Seed], scale: Scale) -> float | None:
    """Return the mean variance that a row's images explain, on the scale; None if not known."""
    if scale is math.log:
        known = [(error / value) ** 2 for value, error in row if error is not None]
    else:
        known = [error**2 for _, error in row if error is not None]
    return sum(known) / len(row) if len(known) == len(row) else None


@dataclass(frozen=True)
class Prior:
    """The variance that a board's rows have in common, worth so many degrees of freedom."""

    variance: float
    degrees: float  # infinite: all rows have the same
    pooled: int  # degrees of freedom of all rows together, more than which nothing is known

    def share(self, degrees: int) -> tuple[float, float, float, int]:
        """Return what moderates variances of so many degrees of freedom: (base + own · s²) / weight.

        These are base, own and weight, and the degrees of freedom of what comes out.
        """
        total = int(min(self.degrees + degrees, self.pooled, MANY))
        if math.isinf(self.degrees):
            return self.variance, 0.0, 1.0, total
        return self.degrees * self.variance, degrees, self.degrees + degrees, max(total, 1)


def _prior(own: Sequence[float], degrees: Sequence[int]) -> Prior | None:
    """Return what variances with their degrees of freedom have in common; None without any."""
    pooled = sum(degrees)
    if pooled == 0:
        return None
    shared = sum([d * s2 for d, s2 in zip(degrees, own, strict=True)]) / pooled
    known = [(s2, d) for s2, d in zip(own, degrees, strict=True) if s2 > 0 and d > 0]
    if len(known) < 3:
        return Prior(shared, math.inf, pooled)
    logs = [math.log(s2) - _log_bias(d) for s2, d in known]
    count, centre = len(logs), fmean(logs)
    chance = fmean([_of_log(1, d) for _, d in known])
    tails = fmean([_of_log(3, d) for _, d in known])
    error = math.sqrt(2 * chance**2 / (count - 1) + tails / count)
    excess = sum([(e - centre) ** 2 for e in logs]) / (count - 1) - chance
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
