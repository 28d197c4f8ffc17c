"""What the page of a comparison writes: sides with their links, numbers with their digits."""

from dataclasses import dataclass

from leaderboards import rounding
from leaderboards.board import Cell, Column
from leaderboards.comparing.sides import LEAST, Comparison, Side
from leaderboards.comparing.values import Compared, Line, Table
from leaderboards.tables import INTERVAL_NOTES
from web import formats
from web.compare.address import Address


@dataclass(frozen=True)
class ShownSide:
    """A side with the links that make it the baseline and that leave it out."""

    side: Side
    is_baseline: bool
    as_baseline: str
    without: str  # "" where too few would be left
    number: int  # of its line in charts, from 1


def sides(address: Address) -> list[ShownSide]:
    comparison = address.comparison
    entries = [entry.pk for entry in comparison.entries]
    return [
        ShownSide(
            side=side,
            is_baseline=side is comparison.baseline,
            as_baseline=address.of(comparison.sides, side),
            without=_without(address, side),
            number=entries.index(side.entry.pk) + 1,
        )
        for side in comparison.sides
    ]


def _without(address: Address, side: Side) -> str:
    comparison = address.comparison
    left = tuple(each for each in comparison.sides if each is not side)
    if len(left) < LEAST:
        return ""
    baseline = left[0] if side is comparison.baseline else comparison.baseline
    return address.of(left, baseline)


def budgets(comparison: Comparison) -> list[str]:
    """Return the budgets where there are several: entries of different ones are no fair contest."""
    found = [entry.experiment.budget for entry in comparison.entries if entry.algorithm]
    several = list(dict.fromkeys(found))
    return several if len(several) > 1 else []


@dataclass(frozen=True)
class ShownCell:
    """A number, its interval, and the difference to the baseline, ready for the page."""

    compared: Compared
    text: str
    spread: str
    change: str  # "+0.52", "×1.3", "" where there is none
    change_spread: str
    note: str  # exact numbers and reasons

    @property
    def cell(self) -> Cell:
        return self.compared.cell


@dataclass(frozen=True)
class ShownLine:
    column: Column
    cells: tuple[ShownCell, ...]
    opens_group: bool


@dataclass(frozen=True)
class Board:
    """One protocol's numbers."""

    table: Table
    lines: tuple[ShownLine, ...]
    hidden: int  # metrics that are not shown


def board(table: Table, *, every: bool) -> Board:
    """Return a table's headline metrics and costs, or all its metrics."""
    columns = [column for column in table.columns if every or column.headline]
    corners = [column.corner for column in columns]
    made = tuple(
        ShownLine(
            column=line.column,
            cells=_cells(line),
            opens_group=place == 0 or corners[place - 1] != corners[place],
        )
        for place, line in enumerate(table.lines_of(columns))
    )
    return Board(table, made, len(table.columns) - len(columns))


def _cells(line: Line) -> tuple[ShownCell, ...]:
    places = rounding.decimals([each.cell for each in line.cells])
    return tuple(_cell(each, line.column, places) for each in line.cells)


def _cell(each: Compared, column: Column, places: int) -> ShownCell:
    cell = each.cell
    if cell.value is None:
        text = "unknown" if cell.unknown else "–"
        return ShownCell(each, text, "", "", "", cell.reason or "not measured")
    own = rounding.own_decimals(cell, places)
    change, spread = _change(each)
    return ShownCell(
        compared=each,
        text=rounding.number(cell.value, own),
        spread=rounding.spread(cell, own),
        change=change,
        change_spread=spread,
        note=_note(each, column),
    )


def _change(each: Compared) -> tuple[str, str]:
    """Return the difference to the baseline and its interval, with the digits that it supports."""
    if each.ratio is not None:
        return f"×{formats.significant(each.ratio, 2)}", ""
    if each.difference is None:
        return "", ""
    own = rounding.decimals([each.difference])
    number = rounding.number(each.difference.value, own)
    signed = f"+{number}" if each.difference.value > 0 else number
    return signed, rounding.spread(each.difference, own)


def _note(each: Compared, column: Column) -> str:
    cell, apart = each.cell, each.difference
    parts = [f"{cell.value!r}"]
    if cell.low is not None and cell.high is not None:
        parts.append(
            f"{INTERVAL_NOTES.get(cell.interval_of, '')}: [{cell.low:.6g}, {cell.high:.6g}]"
        )
    if cell.seeds_lost:
        parts.append(f"mean of {len(cell.seeds)} seeds, {cell.seeds_lost} lost")
    if apart is not None and apart.low is not None and apart.high is not None:
        words = "more than the baseline" if apart.value >= 0 else "less than the baseline"
        parts.append(f"{abs(apart.value):.6g} {words}, 95 %: [{apart.low:.6g}, {apart.high:.6g}]")
    return "; ".join(filter(None, [*parts, each.verdict, each.why, cell.reason]))
