"""Points of a board's chart beyond the rows of a page: a few hundred, each in a few bytes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import NamedTuple

from experiments.models import Entry
from leaderboards.board import Beyond, Board, Column, Row
from leaderboards.charts import SPEED, axes_of
from leaderboards.models import Score
from leaderboards.scores import reading
from leaderboards.scores.query import Query
from leaderboards.scores.standings import contenders_of

MOST = 200  # points, with which a page stays under 300 KB


class Point(NamedTuple):
    """An entry that stands on another page: no interval is drawn, and its name is told on request."""

    label: str
    family: str
    family_label: str
    coverage: float
    quality: float
    images_per_second: float | None


def others(board: Board, query: Query, *, most: int = MOST) -> list[Point]:
    """Return the points of rows on other pages, the first of the board's order; of now alone."""
    axes = axes_of(board)
    if axes is None or board.as_of is not None or len(board.rows) == board.rows_in_all:
        return []
    if board.elsewhere is not None:
        read = (_point(row, *axes) for row in board.elsewhere[:most])
        return [point for point in read if point is not None]
    beyond = list(_beyond(board, query, most))[:most]
    values = _values([each.key for each in beyond], [*(column.key for column in axes), SPEED])
    families = {
        (kind, algorithm): Entry(kind=kind, algorithm=algorithm)
        for kind, algorithm in {each[-2:] for each in beyond}
    }
    quality, coverage = (column.key for column in axes)
    return [
        Point(
            label=each.label,
            family=families[each[-2:]].family,
            family_label=families[each[-2:]].family_label,
            coverage=found[coverage],
            quality=found[quality],
            images_per_second=found.get(SPEED),
        )
        for each in beyond
        if quality in (found := values[each.key]) and coverage in found
    ]


def _point(row: Row, quality: Column, coverage: Column) -> Point | None:
    good, covers = row.cells[quality.key].value, row.cells[coverage.key].value
    if good is None or covers is None:
        return None
    speed = row.cells[SPEED].value
    entry = row.entry
    return Point(entry.label, entry.family, entry.family_label, covers, good, speed)


def _values(keys: Iterable[int], metrics: Iterable[str]) -> dict[int, dict[str, float]]:
    """Return the values of standings, by their keys and those of columns."""
    scores = Score.objects.filter(standing__in=keys, metric__in=metrics, value__isnull=False)
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for key, metric, value in scores.order_by().values_list("standing_id", "metric", "value"):
        found[key][metric] = value or 0.0  # never -0.0
    return found


def _beyond(board: Board, query: Query, most: int) -> Iterator[Beyond]:
    """Yield the first contenders of a board that are not on its page."""
    if board.beyond is not None:
        yield from (each for each in board.beyond if each.kind != Entry.Kind.CONTROL)
        return
    wanted = query.among(contenders_of(board.protocol, board.experiment), board.protocol)
    here = {(row.entry.pk, row.sampler_label) for row in board.rows}
    rows = reading.told_in_order(wanted, board, *Beyond._fields[1:], past_real=True)
    for each in starmap(Beyond, rows[: most + len(here)]):
        if (each.entry_id, each.sampler_label) not in here:
            yield each
