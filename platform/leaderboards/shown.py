"""Heads, cells and rows of a board's table, ready for the page."""

from dataclasses import dataclass, field

from leaderboards.board import Cell, Column, Row
from leaderboards.facts.columns import Fact
from leaderboards.scores.deltas import Delta


@dataclass(frozen=True)
class Head:
    """The head of a column with the link that sorts by it; a second click turns the order."""

    column: Column
    link: str
    aria_sort: str  # ascending, descending or other for the sorted column, else ""
    places: int  # decimals of its cells without an interval
    worst_first: bool  # sorted by it the wrong way round
    opens_group: bool  # whether it is the first of its corner


@dataclass(frozen=True)
class FactHead:
    """The head of a column that holds no numbers of a metric, with the link that sorts by it."""

    fact: Fact
    link: str
    aria_sort: str


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
    delta: Delta = field(default_factory=Delta)  # beside the board's baseline

    @property
    def key(self) -> str:
        return self.head.column.key

    @property
    def classes(self) -> str:
        """Return the classes of the cell: a page has hundreds, whose template asks no more of each."""
        chosen = (
            ("leads", self.cell.leads),
            ("no-merit", self.cell.no_merit),
            ("opens-group", self.head.opens_group),
            ("is-sorted", self.head.aria_sort),
        )
        return " ".join(("ranking-cell", *(name for name, holds in chosen if holds)))

    @property
    def is_plain(self) -> bool:
        """Whether the number stands alone: nothing was declared, marked or lost, and it is no cost."""
        cell = self.cell
        is_cost = self.head.column.corner == "cost" and not cell.unknown
        return not (is_cost or cell.declared is not None or cell.marks or cell.seeds_lost)

    @property
    def has_part(self) -> bool:
        """Whether a part of the number was an autoencoder's."""
        return self.key == "device_seconds" and self.cell.autoencoder_seconds is not None


@dataclass(frozen=True)
class ShownRow:
    row: Row
    rank: str  # "2", "1–3", "~2" where seeds are still to come, "" without one
    cells: tuple[ShownCell, ...]
    facts: tuple[tuple[Fact, str], ...]
    pin: str  # address of the board with this row as its baseline, "" where it is
    lost: str = ""  # what an autoencoder loses, "PSNR 21 dB"
    heading: str = (
        ""  # the budget of this row and those behind it, where the one before has another
    )
