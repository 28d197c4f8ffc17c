"""Points of a board's chart beyond the rows of a page: a few hundred, each in a few bytes."""

from collections import defaultdict
from dataclasses import dataclass

from leaderboards.board import Board
from leaderboards.charts import SPEED, axes_of
from leaderboards.models import Score, Standing
from leaderboards.scores import reading
from leaderboards.scores.query import Query

MOST = 200  # points, with which a page stays under 300 KB


@dataclass(frozen=True)
class Point:
    """An entry that stands on another page: no interval is drawn, and its name is told on request."""

    label: str
    family: str
    family_label: str
    coverage: float
    quality: float
    images_per_second: float | None


def others(board: Board, query: Query) -> list[Point]:
    """Return the points of rows on other pages, the first of the board's order; of now alone."""
    axes = axes_of(board)
    if axes is None or board.as_of is not None or len(board.rows) == board.rows_in_all:
        return []
    wanted = query.of(reading.of_board(board.protocol, board.experiment)).filter(control="")
    here = {(row.entry.pk, row.sampler_label) for row in board.rows}
    keys = list(reading.in_order(wanted, board)[: MOST + len(here)])
    names = {column.key for column in axes} | {SPEED}
    values: dict[int, dict[str, float]] = defaultdict(dict)
    scores = Score.objects.filter(standing__in=keys, metric__in=names, value__isnull=False)
    for standing, metric, value in scores.values_list("standing_id", "metric", "value"):
        values[standing][metric] = float(value or 0.0)
    found = Standing.objects.select_related("entry__experiment").in_bulk(keys)
    rows = [found[key] for key in keys if key in found]
    beyond = [each for each in rows if (each.entry_id, each.sampler_label) not in here]
    quality, coverage = (column.key for column in axes)
    return [
        Point(
            label=each.label,
            family=each.entry.family,
            family_label=each.entry.family_label,
            coverage=values[each.pk][coverage],
            quality=values[each.pk][quality],
            images_per_second=values[each.pk].get(SPEED),
        )
        for each in beyond[:MOST]
        if {quality, coverage} <= values[each.pk].keys()
    ]
