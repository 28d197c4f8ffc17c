"""At the same budget: who leads, as a page shows it.

Of a large board that is what a worker found when it judged the board, of all of its rows. Where
nobody has, or a leader itself changed since, it is found now: of the rows that were submitted
first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import QuerySet

from catalog.models import Protocol
from leaderboards.board import Board, Cell, Column, Row
from leaderboards.leading.by_budget import (
    MEASURED,
    UNITS,
    Contender,
    Leading,
    Led,
    Range,
    compared,
    leading,
)
from leaderboards.models import Judging, Score, Standing
from leaderboards.origins.budgets import Budget
from leaderboards.ranking import board_of
from leaderboards.scores import bell, reading
from leaderboards.scores.standings import of_board

MOST = 2000  # standings that are looked at now, the first submitted


@dataclass(frozen=True)
class Leader:
    """Who has the best value of a metric at a budget."""

    row: Row
    cell: Cell
    alike: int  # others whose interval reaches into its own: they may be as good
    unsure: bool  # its value has no interval, so that nobody knows who is as good


@dataclass(frozen=True)
class Bucket:
    """Entries of one budget."""

    words: str
    entries: int
    filter: str  # of the board's address, "" where it has none of these
    leaders: tuple[Leader | None, ...]  # by the columns of the view


@dataclass(frozen=True)
class View:
    """The leaders at each budget."""

    by: str
    columns: tuple[Column, ...]
    buckets: tuple[Bucket, ...]
    unknown: int  # rows whose budget nobody knows
    left_out: int  # rows that were not looked at
    judged_at: datetime | None = None  # when this was found; None: now
    waiting: int = 0  # rows that changed since


def view(protocol: Protocol, by: str) -> View:
    """Return who leads at each budget of a kind, in as many queries whatever the board's size.

    Raises:
        KeyError: if there is no such kind.
    """
    columns = compared(protocol)
    board = reading.kept_before(board_of(protocol, "", None))
    kept = board and _kept(board, columns, by)
    return kept or _of_now(protocol, columns, by)


def _kept(board: Board, columns: tuple[Column, ...], by: str) -> View | None:
    """Return what was found when a board was judged, None where that is of no use now."""
    found = Judging.objects.filter(protocol=board.protocol).values_list("budgets", flat=True)
    kept = found.get().get(by)
    led = kept and Leading.of_json(kept)
    if not led or led.columns != tuple(column.key for column in columns):
        bell.ring(board.protocol.pk)
        return None
    rows = _rows(led, columns, is_judged=True)
    if rows.keys() < led.keys:
        return None
    view = _view(led, columns, rows, by)
    return replace(view, judged_at=board.judged_at, waiting=board.waiting)


def _of_now(protocol: Protocol, columns: tuple[Column, ...], by: str) -> View:
    standings = of_board(protocol).filter(control="", seeds_scored__gt=0)
    found = _contenders(standings, {column.key for column in columns} | {*MEASURED})
    led = leading(found, columns, by)
    left_out = standings.count() - len(found) if len(found) == MOST else 0
    return replace(_view(led, columns, _rows(led, columns), by), left_out=left_out)


def _contenders(standings: QuerySet[Standing], metrics: Collection[str]) -> list[Contender]:
    """Return the first of some standings, with their values of these metrics: two queries."""
    told = ("pk", "budget", "seeds_failed", "seeds_total", "seeds_scored")
    first = list(standings.values_list(*told)[:MOST])
    cells: dict[int, dict[str, Cell]] = {pk: {} for pk, *_ in first}
    scores = Score.objects.filter(standing__in=cells, metric__in=metrics).order_by()
    numbers = ("standing_id", "metric", "value", "low", "high", "seeds_lost")
    for pk, metric, value, low, high, lost in scores.values_list(*numbers):
        cells[pk][metric] = Cell(value, low=low, high=high, seeds_lost=lost)
    return [
        Contender(pk, Budget.of_key(budget), failed, max(0, total - scored - failed), cells[pk])
        for pk, budget, failed, total, scored in first
    ]


def _rows(led: Leading, columns: Sequence[Column], **such: bool) -> dict[int, Row]:
    """Return the whole rows of those who lead, by the keys of their standings, if they are such."""
    keys = led.keys
    mine = Standing.objects.select_related("entry__experiment").filter(pk__in=keys, **such)
    standings = list(mine)
    scores = Score.objects.filter(standing__in=keys, metric__in=[each.key for each in columns])
    rows = reading.rows_from(standings, columns, scores, details_of=())
    return {each.pk: row for each, row in zip(standings, rows, strict=True)}


def _view(led: Leading, columns: tuple[Column, ...], row_of: dict[int, Row], by: str) -> View:
    buckets = tuple(_bucket(each, columns, row_of, by) for each in led.budgets)
    return View(by, columns, buckets, unknown=led.unknown, left_out=0)


def _bucket(led: Led, columns: Sequence[Column], row_of: dict[int, Row], by: str) -> Bucket:
    budget = led.budget
    return Bucket(
        words=budget.words(UNITS[by]) if isinstance(budget, Range) else budget.words,
        entries=led.entries,
        filter=budget.value if isinstance(budget, Budget) else "",
        leaders=tuple(
            found and _leader(row_of[found[0]], column, found[1])
            for found, column in zip(led.leaders, columns, strict=True)
        ),
    )


def _leader(row: Row, column: Column, alike: int) -> Leader:
    cell = row.cells[column.key]
    return Leader(row, cell, alike, unsure=cell.low is None and column.corner != "cost")
