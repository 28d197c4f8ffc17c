"""Points of a board's chart beyond the rows of a page: a few hundred, each in a few bytes."""

from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass

from experiments.models import Entry
from leaderboards.board import Board, Column, Row
from leaderboards.charts import SPEED, axes_of
from leaderboards.models import Score, Standing
from leaderboards.scores import reading
from leaderboards.scores.query import Query
from leaderboards.scores.standings import contenders_of

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


def others(board: Board, query: Query, *, most: int = MOST) -> list[Point]:
    """Return the points of rows on other pages, the first of the board's order; of now alone."""
    axes = axes_of(board)
    if axes is None or board.as_of is not None or len(board.rows) == board.rows_in_all:
        return []
    if board.elsewhere is not None:
        found = (_point(row, *axes) for row in board.elsewhere[:most])
        return [point for point in found if point is not None]
    wanted = query.among(contenders_of(board.protocol, board.experiment))
    here = {(row.entry.pk, row.sampler_label) for row in board.rows}
    keys = list(reading.in_order(wanted, board, past_real=True)[: most + len(here)])
    names = {column.key for column in axes} | {SPEED}
    values: dict[int, dict[str, float]] = defaultdict(dict)
    scores = Score.objects.filter(standing__in=keys, metric__in=names, value__isnull=False)
    for standing, metric, value in scores.values_list("standing_id", "metric", "value"):
        values[standing][metric] = float(value or 0.0)
    quality, coverage = (column.key for column in axes)
    return [
        Point(
            label=label,
            family=entry.family,
            family_label=entry.family_label,
            coverage=values[key][coverage],
            quality=values[key][quality],
            images_per_second=values[key].get(SPEED),
        )
        for key, label, entry in list(_beyond(keys, here))[:most]
        if {quality, coverage} <= values[key].keys()
    ]


def _point(row: Row, quality: Column, coverage: Column) -> Point | None:
    good, covers = row.cells[quality.key].value, row.cells[coverage.key].value
    if good is None or covers is None:
        return None
    speed = row.cells[SPEED].value
    entry = row.entry
    return Point(entry.label, entry.family, entry.family_label, covers, good, speed)


def _beyond(keys: list[int], here: Container[tuple[int, str]]) -> Iterator[tuple[int, str, Entry]]:
    """Yield standings that are not here: key, label, and an entry that knows its family alone."""
    told = ("entry_id", "sampler_label", "label", "kind", "algorithm")
    found = {
        key: row for key, *row in Standing.objects.filter(pk__in=keys).values_list("pk", *told)
    }
    entries: dict[tuple[str, str], Entry] = {}
    for key in keys:
        if key not in found:
            continue
        entry, sampler, label, *of_family = found[key]
        if (entry, sampler) not in here:
            kind, algorithm = of_family
            same = entries.setdefault((kind, algorithm), Entry(kind=kind, algorithm=algorithm))
            yield key, label, same
