"""A board as the page shows it: heads with sort links, cells with digits, notes and raw values."""

from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from leaderboards import digits
from leaderboards.ranking import Board, Cell, Column, Row, of_survivors, shown

CORNERS = {"quality": "Quality", "coverage": "Coverage", "cost": "Cost"}
NEARER = "nearer to the reference than unseen real images are"
INTERVAL_NOTES = {
    "seeds": "95 % interval of the mean over training seeds",
    "images": "95 % interval over the images of one seed",
}


@dataclass(frozen=True)
class Head:
    """The head of a column with the link that sorts by it; a second click turns the order."""

    column: Column
    link: str
    aria_sort: str  # ascending or descending for the sorted column, else ""
    places: int  # decimals of its cells
    worst_first: bool  # sorted by it the wrong way round
    opens_group: bool  # whether it is the first of its corner


@dataclass(frozen=True)
class Group:
    """Neighbouring columns that speak of one corner of the trilemma."""

    label: str
    span: int


@dataclass(frozen=True)
class ShownCell:
    """A cell ready for the page; `raw` is the exact number, for tests and for copying."""

    head: Head
    cell: Cell
    text: str  # for metrics; costs are formatted by their unit
    spread: str
    note: str
    raw: str


@dataclass(frozen=True)
class ShownRow:
    row: Row
    rank: int | None
    cells: tuple[ShownCell, ...]


@dataclass(frozen=True)
class Table:
    """Everything that a board's template shows."""

    board: Board
    groups: tuple[Group, ...]
    heads: tuple[Head, ...]
    rows: tuple[ShownRow, ...]
    csv_link: str
    json_link: str

    @property
    def beats_control(self) -> bool:
        """Whether any cell is marked."""
        return any(cell.cell.beats_control for row in self.rows for cell in row.cells)

    @property
    def sorted_by(self) -> Column:
        return next(h.column for h in self.heads if h.column.key == self.board.sort_key)


def table(board: Board, *, page: str = "", **query: str) -> Table:
    """Return the table of a board; sort links lead to `page` and keep the rest of the query."""
    heads = tuple(_head(board, index, page, query) for index in range(len(board.columns)))
    groups = tuple(
        Group(CORNERS[corner], len(list(columns)))
        for corner, columns in groupby(board.columns, key=lambda column: column.corner)
    )
    rows = tuple(
        ShownRow(
            row=row,
            rank=row.cells[board.sort_key].rank,
            cells=tuple(_shown(head, row) for head in heads),
        )
        for row in board.rows
    )
    return Table(board, groups, heads, rows, export_link(board, "csv"), export_link(board, "json"))


def export_link(board: Board, kind: str) -> str:
    """Return where the REST interface gives the same board as CSV or JSON."""
    query = {"format": kind, "sort": board.sort}
    if board.experiment is not None:
        query["experiment"] = str(board.experiment.pk)
    return f"/api/leaderboards/{board.protocol.fingerprint}/?{urlencode(query)}"


def _head(board: Board, index: int, page: str, query: dict[str, str]) -> Head:
    column = board.columns[index]
    chosen = column.key == board.sort_key
    worst_first = board.sort.startswith("-")
    wanted = f"-{column.key}" if chosen and not worst_first else column.key
    aria_sort = ""
    if chosen:
        aria_sort = "descending" if column.higher_is_better != worst_first else "ascending"
    return Head(
        column=column,
        link=f"{page}?{urlencode({**query, 'sort': wanted})}",
        aria_sort=aria_sort,
        places=digits.decimals(row.cells[column.key] for row in board.rows),
        worst_first=chosen and worst_first,
        opens_group=index == 0 or board.columns[index - 1].corner != column.corner,
    )


def _shown(head: Head, row: Row) -> ShownCell:
    cell = row.cells[head.column.key]
    if cell.value is None:
        return ShownCell(head, cell, "–", "", cell.reason or "not measured", "")
    return ShownCell(
        head=head,
        cell=cell,
        text=digits.number(shown(head.column.key, cell.value), head.places),
        spread=digits.spread(cell, head.places),
        note=_note(cell, _behind(head.column, row)),
        raw=repr(cell.value),
    )


def _behind(column: Column, row: Row) -> str:
    """Return why a rank may be worse than its value, if it may."""
    return "behind all without failed seeds" if of_survivors(row, column) else ""


def _note(cell: Cell, behind: str) -> str:
    """Return what stands in the title of a cell: exact value, what the interval is over, rank."""
    parts = [f"{cell.value!r}"]
    if cell.low is not None and cell.high is not None:
        parts.append(f"{INTERVAL_NOTES[cell.interval_of]}: [{cell.low:.6g}, {cell.high:.6g}]")
    if cell.plug_in is not None and cell.plug_in != cell.value:
        parts.append(f"bias corrected; the plug-in estimate is {cell.plug_in:.6g}")
    if cell.reason:
        parts.append(cell.reason)
    if cell.beats_control:
        parts.append(NEARER)
    if cell.rank is not None:
        remark = "not separable from the best" if cell.leads else behind
        parts.append(f"rank {cell.rank}" + (f", {remark}" if remark else ""))
    return "; ".join(parts)
