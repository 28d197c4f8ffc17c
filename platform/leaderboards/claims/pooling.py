"""What many boards together say of one difference between two sides, with a 95 % interval.

Within a board and budget each side is its median entry: the best of a side is the better the more
entries it has, and best partly by chance; the median favours nobody who tried more. The mean over
seeds is an entry's number, on a logarithmic scale where sides are compared by their ratio.

Boards of one dataset (other extractors, other budgets) measure much the same models, so they are
averaged first; the unit is the dataset. Over two datasets or more, the interval is Student's t over
their effects, unweighted: it needs no errors of single boards, and holds with few datasets that
truly differ, as the random effects interval with equal weights does (Hartung and Knapp, 2001, "A
refined method for the meta-analysis of controlled clinical trials with binary outcome"). Deviation:
it is never narrower than the errors between seeds alone make it. On one dataset it is Welch's
(1947), of the seeds of the two median entries, and says nothing of other datasets.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, variance
from typing import Literal, NamedTuple

from leaderboards.statistics.quantiles import MANY, digamma, polygamma, t_quantile
from leaderboards.statistics.spread import Seed, mean_interval

Verdict = Literal["yes", "no", "undecided", "not enough data"]


class Estimated(NamedTuple):
    """A number with its standard error between seeds; None where one seed tells none."""

    value: float
    error: float | None = None
    degrees: int = MANY


@dataclass(frozen=True)
class Pooled:
    """An effect over datasets; without bounds where nothing tells its error."""

    value: float
    low: float | None
    high: float | None

    def verdict(self, *, less: bool) -> Verdict:
        """Return whether the effect is surely below 0, where that is what is claimed, or above."""
        if self.low is None or self.high is None:
            return "not enough data"
        if self.low <= 0 <= self.high:
            return "undecided"
        return "yes" if (self.high < 0) == less else "no"


def of_seeds(seeds: Sequence[Seed], value: float, *, is_ratio: bool) -> Estimated | None:
    """Return an entry's number, or its logarithm, with the error of its seeds.

    None where it has no logarithm.
    """
    if is_ratio and value <= 0:
        return None
    error = None
    if len(seeds) > 1:
        error = math.sqrt(variance([seed.value for seed in seeds]) / len(seeds))
    degrees = max(1, len(seeds) - 1)
    if not is_ratio:
        return Estimated(value, error, degrees)
    return Estimated(math.log(value), None if error is None else error / value, degrees)


def spread_of(seeds: Sequence[Seed]) -> Estimated | None:
    """Return the logarithm of the standard deviation of the logarithms of seeds.

    Without the bias that few seeds have (Smyth, 2004, section 6); None where seeds tell none.
    """
    values = [seed.value for seed in seeds]
    if len(values) < 2 or min(values) <= 0:
        return None
    of_logs, half = variance(map(math.log, values)), (len(values) - 1) / 2
    if of_logs <= 0:
        return None
    value = (math.log(of_logs) - digamma(half) + math.log(half)) / 2
    return Estimated(value, math.sqrt(polygamma(1, half)) / 2)


def share_lost(counts: Iterable[tuple[int, int]]) -> Estimated:
    """Return the share of lost seeds among all, from (lost, all) of each entry.

    Its error is Agresti and Caffo's (2000), of one more lost and one more kept.
    """
    pairs = list(counts)
    lost, total = sum(one for one, _ in pairs), sum(every for _, every in pairs)
    share = (lost + 1) / (total + 2)
    return Estimated(lost / total, math.sqrt(share * (1 - share) / (total + 2)))


def middle(entries: Sequence[Estimated]) -> Estimated:
    """Return the median of entries; of an even number, the mean of the two in the middle.

    Its error is that of the entries in the middle, which errs on the safe side where many are alike.
    """
    ordered = sorted(entries, key=attrgetter("value"))
    return mean(ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1])


def mean(entries: Sequence[Estimated]) -> Estimated:
    """Return the mean of independent estimates."""
    count, value = len(entries), fmean(one.value for one in entries)
    return Estimated(value, *_together(entries, count))


def minus(ours: Estimated, theirs: Estimated) -> Estimated:
    """Return the difference of two independent estimates."""
    return Estimated(ours.value - theirs.value, *_together((ours, theirs), 1))


def _together(entries: Sequence[Estimated], count: int) -> tuple[float | None, int]:
    """Return the error of a sum over a count, and its degrees by Welch and Satterthwaite."""
    errors = [one.error for one in entries if one.error is not None]
    if len(errors) < len(entries):
        return None, 1
    fourth = sum((one.error or 0.0) ** 4 / one.degrees for one in entries)
    square = sum(error**2 for error in errors)
    degrees = MANY if fourth == 0 else max(1, min(MANY, int(square**2 / fourth + 1e-9)))
    return math.sqrt(square) / count, degrees


def pooled(effects: Mapping[int, Sequence[Estimated]]) -> Pooled | None:
    """Return the effect over datasets, from those of the boards of each; None without any."""
    each = [_of_dataset(found) for found in effects.values()]
    if not each:
        return None
    value, within = fmean(one.value for one in each), _half(mean(each))
    if len(each) == 1:
        return _around(value, within)
    centre, low, _ = mean_interval([one.value for one in each])
    return _around(value, max(centre - low, within or 0.0))


def _of_dataset(boards: Sequence[Estimated]) -> Estimated:
    """Return the mean of the effects on one dataset's boards, as sure as one of them alone."""
    errors = [one.error for one in boards if one.error is not None]
    known = fmean(errors) if len(errors) == len(boards) else None
    return Estimated(fmean(b.value for b in boards), known, min(b.degrees for b in boards))


def interval(effect: Estimated) -> Pooled:
    """Return an effect on one board with its interval."""
    return _around(effect.value, _half(effect))


def _half(effect: Estimated) -> float | None:
    return None if effect.error is None else effect.error * t_quantile(effect.degrees)


def _around(value: float, half: float | None) -> Pooled:
    return Pooled(value, *((None, None) if half is None else (value - half, value + half)))
