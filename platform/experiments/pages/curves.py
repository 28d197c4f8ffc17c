"""Loss curves as plain data for charts."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from experiments.models import LossPoint, Run
from experiments.pages import losses


def loss_curves(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the curves of runs of one entry, and whether all of them are finished.

    `{"finished", "words": {name: in words}, "runs": [{"seed", "images_seen": [n], "wall_seconds": [s], "losses": {name:
    [value or None]}}]}`; a loss that a point lacks is None there, never left out or 0.
    """
    runs = list(runs)
    points: dict[int, list[LossPoint]] = defaultdict(list)
    for point in LossPoint.objects.filter(run__in=runs).order_by("images_seen"):
        points[point.run_id].append(point)
    curves = [_curve(run, points[run.pk]) for run in runs]
    return {
        "finished": all(run.is_finished for run in runs),
        "words": losses.words(name for curve in curves for name in curve["losses"]),
        "runs": curves,
    }


def _curve(run: Run, points: list[LossPoint]) -> dict[str, Any]:
    names = dict.fromkeys(name for point in points for name in point.losses)
    return {
        "seed": run.seed,
        "images_seen": [point.images_seen for point in points],
        "wall_seconds": [point.wall_seconds for point in points],
        "losses": {name: [point.losses.get(name) for point in points] for name in names},
    }
