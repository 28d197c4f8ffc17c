"""Loss curves of the compared entries: the mean over seeds with its interval, on one grid each.

Each seed's curve is read off at the same places, linearly between its points, and smoothed, if that
is asked for, before the mean is taken. Where a seed has ended or not begun it is not counted: `n`
says at each place how many were.
"""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.models import Entry, LossPoint, Run
from experiments.pages.losses import QUARTER
from leaderboards.comparing.sides import CompareError, Comparison
from leaderboards.statistics.spread import mean_interval

PLACES = 120  # of a curve
DIGITS = 5
ASKED = ("loss", "x", "scale", "smooth")  # parameters of an address
AXES: Mapping[str, str] = {  # in an address: what it is called
    "images": "images seen",
    "wall": "wall time, s",
    "device": "device-seconds",
}
SCALES = ("linear", "log")
SMOOTHINGS: Mapping[str, float] = {"none": 0.0, "light": 0.7, "strong": 0.92}  # weight of the past

Points = list[tuple[float, float]]  # of one seed: place, loss; places rise


class Band(NamedTuple):
    """The mean of the seeds that are at one place, with its 95 % interval by Student's t."""

    value: float | None
    low: float | None  # None where there are fewer than two seeds
    high: float | None
    n: int


@dataclass(frozen=True)
class Wanted:
    """How curves are drawn."""

    loss: str
    x: str
    scale: str
    smoothing: str

    @property
    def is_log(self) -> bool:
        return self.scale == "log"


def read(comparison: Comparison, asked: Mapping[str, str]) -> Wanted:
    """Return how curves are asked for: `loss`, `x`, `scale`, `smooth`, each with a default.

    Raises:
        CompareError: with what was expected and what came.
    """
    names = losses_of(comparison)
    loss = asked.get("loss", "") or next(iter(names), "")
    if names and loss not in names:
        raise CompareError("loss", f"expected a loss ({', '.join(names)}), got {loss[:60]!r}")
    return Wanted(
        loss=loss,
        x=_one_of("x", asked, AXES),
        scale=_one_of("scale", asked, SCALES),
        smoothing=_one_of("smooth", asked, SMOOTHINGS),
    )


def _one_of(name: str, asked: Mapping[str, str], known: Sequence[str] | Mapping[str, Any]) -> str:
    value = asked.get(name, "") or next(iter(known))
    if value not in known:
        raise CompareError(name, f"expected one of {', '.join(known)}, got {value[:60]!r}")
    return value


def losses_of(comparison: Comparison) -> list[str]:
    """Return the names of the losses, those that most entries have first, parts of one last."""
    having = Counter(
        name for entry in comparison.entries for name in sorted(_names(comparison, entry))
    )
    return [
        name
        for name, _ in sorted(
            having.items(),
            key=lambda item: (-item[1], QUARTER.fullmatch(item[0]) is not None, item[0]),
        )
    ]


def _names(comparison: Comparison, entry: Entry) -> set[str]:
    return {name for run in comparison.runs if run.entry_id == entry.pk for name in run.losses}


@dataclass(frozen=True)
class LastLoss:
    """Where the runs of an entry are, in a line of a table."""

    entry: Entry
    runs: tuple[Run, ...]
    loss: Band | None  # None where the entry has no loss of this name

    @property
    def images_seen(self) -> tuple[int, int]:
        """Return the fewest and the most images that a run has seen."""
        seen = [run.images_seen for run in self.runs]
        return min(seen), max(seen)

    @property
    def device_seconds(self) -> float:
        """Return the mean over the runs."""
        return sum(run.device_seconds for run in self.runs) / len(self.runs)


def last_losses(comparison: Comparison, wanted: Wanted) -> list[LastLoss]:
    """Return the last losses of every entry that is trained here, from the runs alone."""
    found = []
    for entry in comparison.entries:
        runs = tuple(run for run in comparison.runs if run.entry_id == entry.pk)
        values = [run.losses[wanted.loss] for run in runs if wanted.loss in run.losses]
        if runs:
            found.append(LastLoss(entry, runs, band(values, is_log=wanted.is_log)))
    return found


def band(values: Sequence[float], *, is_log: bool) -> Band | None:
    """Return the mean of values with its interval; on a log scale both of their logarithms.

    None without values; values that have no logarithm are not counted on a log scale.
    """
    known = [math.log(v) for v in values if v > 0] if is_log else list(values)
    back: Callable[[float], float] = math.exp if is_log else float
    if not known:
        return None
    if len(known) == 1:
        return Band(back(known[0]), None, None, 1)
    mean, low, high = mean_interval(known)
    return Band(_bounded(back, mean), _bounded(back, low), _bounded(back, high), len(known))


def _bounded(back: Callable[[float], float], value: float) -> float | None:
    """Return a bound on its own scale; None where it is larger than numbers are."""
    try:
        return back(value)
    except OverflowError:
        return None


def curves(comparison: Comparison, wanted: Wanted) -> list[dict[str, Any]]:
    """Return one curve for each entry that has the loss, in the order of the sides.

    `{"entry", "x": [place], "mean", "low", "high": [loss or None], "raw": the mean before it was
    smoothed, [] where nothing is, "n": [seeds there], "seeds": of the entry}`
    """
    points = _points(comparison, wanted)
    return [
        {"entry": entry.pk, "label": entry.label, **_curve(seeds, wanted)}
        for entry in comparison.entries
        if (seeds := points.get(entry.pk))
    ]


def _points(comparison: Comparison, wanted: Wanted) -> dict[int, list[Points]]:
    """Return each seed's points by entry."""
    runs = {run.pk: run for run in comparison.runs}
    found: dict[int, Points] = defaultdict(list)
    rows = LossPoint.objects.filter(run__in=runs).order_by("run_id", "images_seen")
    column = "images_seen" if wanted.x == "images" else "wall_seconds"
    for pk, place, losses in rows.values_list("run_id", column, "losses"):
        if (loss := losses.get(wanted.loss)) is not None:
            found[pk].append((float(place), float(loss)))
    by_entry: dict[int, list[Points]] = defaultdict(list)
    for pk, curve in found.items():
        by_entry[runs[pk].entry_id].append(_placed(curve, runs[pk], wanted))
    return by_entry


def _placed(points: Points, run: Run, wanted: Wanted) -> Points:
    """Return a curve at its device-seconds, if these are asked for.

    Points know their wall time; it is scaled to what the run has used of its device.
    """
    last = points[-1][0]
    if wanted.x != "device" or last <= 0:
        return points
    return [(place * run.device_seconds / last, loss) for place, loss in points]


def _curve(seeds: list[Points], wanted: Wanted) -> dict[str, Any]:
    first, last = min(s[0][0] for s in seeds), max(s[-1][0] for s in seeds)
    steps = max(1, PLACES - 1) if last > first else 0
    places = [first + (last - first) * k / max(1, steps) for k in range(steps + 1)]
    raw = [[_at(points, place) for place in places] for points in seeds]
    weight = SMOOTHINGS[wanted.smoothing]
    smooth = [_smoothed(values, weight) for values in raw] if weight else raw
    bands = _bands(smooth, is_log=wanted.is_log)
    return {
        "x": [_short(place) for place in places],
        "mean": [_short(each.value) for each in bands],
        "low": [_short(each.low) for each in bands],
        "high": [_short(each.high) for each in bands],
        "raw": [_short(b.value) for b in _bands(raw, is_log=wanted.is_log)] if weight else [],
        "n": [each.n for each in bands],
        "seeds": len(seeds),
    }


def _bands(seeds: list[list[float | None]], *, is_log: bool) -> list[Band]:
    nothing = Band(None, None, None, 0)
    return [
        band([value for value in here if value is not None], is_log=is_log) or nothing
        for here in zip(*seeds, strict=True)
    ]


def _at(points: Points, place: float) -> float | None:
    """Return the loss at a place, linear between two points; None where the curve is not."""
    after = bisect_right(points, place, key=lambda point: point[0])
    if after == 0 or (after == len(points) and place > points[-1][0]):
        return None
    if after == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (place - x0) / (x1 - x0)


def _smoothed(values: list[float | None], weight: float) -> list[float | None]:
    """Return the running mean in which the past has a weight, without its bias to the start."""
    total, known = 0.0, 0.0
    found: list[float | None] = []
    for value in values:
        if value is not None:
            total = weight * total + (1 - weight) * value
            known = weight * known + (1 - weight)
        found.append(None if value is None else total / known)
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
