"""What is worth saying of a board in one line: who leads each corner, how many take part."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from django.db.models import Max, QuerySet

from catalog.models import Protocol
from leaderboards import rounding
from leaderboards.board import Board, Column, Row

SPEED = "images_per_second"


@dataclass(frozen=True)
class Leader:
    """The first row that leads one corner; `tied` others lead it too.

    It has no lost seeds, unless all rows with a value have some. Where nobody leads, it is the
    first by value alone, and `leads` is False.
    """

    corner: str
    column: Column
    row: Row
    text: str
    spread: str
    tied: int
    leads: bool

    @property
    def budget(self) -> str:
        """Return in words among which entries it leads."""
        return self.row.budget.words


@dataclass(frozen=True)
class Highlight:
    """A board in one card."""

    board: Board
    leaders: tuple[Leader, ...]
    entries: int  # rows that are no control
    scored: int  # of those, rows with a value


def protocols_in_use() -> QuerySet[Protocol]:
    """Return the protocols that experiments use, the latest used first."""
    used = Protocol.objects.annotate(latest=Max("experiments__created_at"))
    return used.filter(latest__isnull=False).select_related("dataset").order_by("-latest")


def highlight(board: Board) -> Highlight:
    contenders = [row for row in board.rows if not row.is_control]
    return Highlight(
        board=board,
        leaders=tuple(leaders(board)),
        entries=len(contenders),
        scored=sum(row.seeds_scored > 0 for row in contenders),
    )


def leaders(board: Board) -> Iterator[Leader]:
    """Yield who leads each corner of the trilemma, where anybody has a rank.

    Of a board of several budgets these are the leaders of one: of that with most rows that were
    scored, of the largest such.
    """
    if board.has_budgets:
        board = replace(board, rows=tuple(_of_one_budget(board.rows)))
    return filter(None, (_leader(board, *corner) for corner in corners(board)))


def _of_one_budget(rows: Iterable[Row]) -> list[Row]:
    contenders = [row for row in rows if not row.is_control]
    counts = Counter(row.budget for row in contenders if row.seeds_scored)
    chosen = max(counts, key=lambda budget: (counts[budget], budget.key), default=None)
    return [row for row in contenders if row.budget == chosen]


def corners(board: Board) -> list[tuple[str, Column]]:
    """Return one column for each corner of the trilemma, where the protocol has one."""
    chosen: dict[str, Column] = {}
    for column in board.columns:
        if column.corner in ("quality", "coverage"):
            chosen.setdefault(column.corner.capitalize(), column)
        elif column.key == SPEED:
            chosen["Speed"] = column
    return list(chosen.items())


def _leader(board: Board, corner: str, column: Column) -> Leader | None:
    cells = [(row, row.cells[column.key]) for row in board.rows]
    ranked = [(row, cell) for row, cell in cells if cell.rank is not None and not cell.provisional]
    ranked = [(row, cell) for row, cell in ranked if not row.seeds_failed] or ranked
    leading = [(row, cell) for row, cell in ranked if cell.leads]
    if not ranked:
        return None
    row, cell = min(leading or ranked, key=lambda pair: pair[1].rank or 0)
    return leader_of(corner, column, row, tied=max(0, len(leading) - 1), leads=cell.leads)


def leader_of(corner: str, column: Column, row: Row, *, tied: int, leads: bool) -> Leader:
    """Return a row with a value as the leader of a corner."""
    cell = row.cells[column.key]
    assert cell.value is not None, "only present values have a rank"
    places = rounding.decimals([cell])
    return Leader(
        corner=corner,
        column=column,
        row=row,
        text=rounding.number(cell.value, places),
        spread=rounding.spread(cell, places),
        tied=tied,
        leads=leads,
    )
