"""A board as the page shows it: heads with sort links, cells with digits, notes and raw values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from experiments.pages import reconstructions
from leaderboards import rounding
from leaderboards.board import Board, Column, Row
from leaderboards.facts.choice import EVERY
from leaderboards.facts.columns import DATE, FACTS, NAME, Fact
from leaderboards.formats.parquet import missing
from leaderboards.marks import NEAR_TRAINING, NEARER
from leaderboards.ranking import of_survivors
from leaderboards.scores.baseline import address_of
from leaderboards.scores.deltas import delta, is_baseline
from leaderboards.scores.query import Query
from leaderboards.shown import FactHead, Group, Head, ShownCell, ShownRow

CORNERS = {
    "quality": "Quality",
    "coverage": "Coverage",
    "memorisation": "Memorisation",
    "cost": "Cost",
}
MINUTES = 2  # from which on it is said how many of them ago
INTERVAL_NOTES = {
    "seeds": "95 % interval of the mean over training seeds",
    "images": "95 % interval over the images of one seed",
}


@dataclass(frozen=True)
class Choice:
    """One link of several: the headline metrics, or all."""

    label: str
    link: str
    is_chosen: bool


@dataclass(frozen=True)
class Table:
    """Everything that a board's template shows."""

    board: Board
    choices: tuple[Choice, ...]  # of columns; empty where all metrics are headlines
    groups: tuple[Group, ...]
    heads: tuple[Head, ...]
    rows: tuple[ShownRow, ...]  # real test images and contenders
    controls: tuple[ShownRow, ...]  # the other controls
    csv_link: str
    json_link: str
    file_links: tuple[tuple[str, str], ...]  # other formats of the same rows, and their names
    facts: tuple[FactHead, ...] = ()
    name: FactHead | None = None
    unpin: str = ""  # address of the board without its baseline
    has_all: bool = True  # exports have every column

    @property
    def beats_control(self) -> bool:
        """Whether any cell is marked as nearer to the reference than real images."""
        return any(cell.cell.beats_control for cell in self._cells())

    @property
    def without_merit(self) -> bool:
        """Whether any cell is marked as no merit."""
        return any(cell.cell.no_merit for cell in self._cells())

    @property
    def judged(self) -> str:
        """Return how long ago the board was judged, "4 s ago"; "" where it was just now."""
        if self.board.judged_at is None:
            return ""
        seconds = int((timezone.now() - self.board.judged_at).total_seconds())
        if seconds < MINUTES * 60:
            return f"{max(0, seconds)} s ago"
        return f"{timesince(self.board.judged_at, depth=1)} ago".replace("\xa0", " ")

    @property
    def mixed(self) -> str:
        """Return which kinds of entries stand here in words, "" where all are of one."""
        kinds = self.board.kinds
        words = [f"{count} {kind.lower()}" for kind, count in kinds.items()]
        return ", ".join(words) if len(kinds) > 1 else ""

    @property
    def all_unranked(self) -> bool:
        """Whether no column has ranks."""
        return len(self.board.unranked) == len(self.board.columns)

    @property
    def unranked(self) -> list[Head]:
        """Return the heads of the columns without ranks."""
        return [head for head in self.heads if head.column.key in self.board.unranked]

    @property
    def near_training(self) -> bool:
        """Whether any cell is marked as nearer to single training images than real images."""
        return any(cell.cell.near_training for cell in self._cells())

    @property
    def of_autoencoders(self) -> bool:
        """Whether any row shows what an autoencoder leaves of real images."""
        return any(row.row.entry.source is not None for row in self.controls)

    @property
    def width(self) -> int:
        """Return how many columns the table has, names and seeds among them."""
        numbers = len(self.heads) * (1 if self.board.baseline is None else 2)
        return 2 + numbers + len(self.facts)

    @property
    def baseline(self) -> str:
        """Return what all rows are compared with, "" without it."""
        row = self.board.baseline
        if row is None:
            return ""
        sampler = "" if row.sampler_label in ("direct", "handed in") else f", {row.sampler_label}"
        return f"{row.entry.label}{sampler}"

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.controls)

    @property
    def in_all(self) -> int:
        """Return how many rows there are on all pages, which its files have."""
        total = self.board.rows_in_all
        return self.count if total is None else total

    @property
    def hidden(self) -> int:
        """Return how many metrics of the protocol are no column here."""
        return len(self.board.columns) - len(self.heads)

    def _cells(self) -> Iterator[ShownCell]:
        return (cell for row in (*self.rows, *self.controls) for cell in row.cells)


def table(board: Board, *, page: str = "", query: Query | None = None, **address: str) -> Table:
    """Return the table of a board; its links lead to `page` and keep the rest of the address.

    Those to exports keep the filters of rows and what else a query says, and lead to all pages.
    """
    query = query or Query()
    links = _Links(board, page, {**query.filters, **query.kept, **address})
    chosen, facts = query.columns.shown(board), query.columns.facts(board)
    if board.has_budgets and board.is_mixed and FACTS["budget"] not in facts:
        facts = [FACTS["budget"], *facts]  # ranks are of budgets
    groups = [(corner, list(found)) for corner, found in groupby(chosen, lambda c: c.corner)]
    heads = tuple(
        _head(board, column, links, opens_group=place == 0)
        for _, found in groups
        for place, column in enumerate(found)
    )
    rows = list(
        _with_headings(board, [_row(board, heads, facts, row, links) for row in board.rows])
    )
    twice = 1 if board.baseline is None else 2
    left = {"page_size"} | (set() if query.columns.is_own else {"columns"})
    kept = {name: value for name, value in query.kept.items() if name not in left}
    exported = {**query.filters, **kept}
    return Table(
        board=board,
        choices=_choices(board, links, query),
        groups=tuple(Group(CORNERS[corner], twice * len(found)) for corner, found in groups),
        heads=heads,
        rows=tuple(row for row in rows if not row.row.is_aside),
        controls=tuple(row for row in rows if row.row.is_aside),
        csv_link=export_link(board, "csv", exported),
        json_link=export_link(board, "json", exported),
        file_links=tuple(
            (name, export_link(board, kind, exported)) for name, kind in other_formats()
        ),
        facts=tuple(_fact_head(board, fact, links) for fact in facts),
        name=_fact_head(board, FACTS[NAME], links),
        unpin=links.to(baseline=""),
        has_all=not query.columns.is_own,
    )


@dataclass(frozen=True)
class _Links:
    """Addresses of the same board, shown otherwise."""

    board: Board
    page: str
    kept: Mapping[str, str]

    def to(self, **changes: str) -> str:
        """Return the address with these parameters; an empty one is left out."""
        query = {**self.kept, "sort": self.board.sort, **changes}
        return f"{self.page}?{urlencode({k: v for k, v in query.items() if v})}"


def _choices(board: Board, links: _Links, query: Query) -> tuple[Choice, ...]:
    metrics = [column for column in board.columns if column.corner != "cost"]
    choice = query.columns
    if all(column.headline for column in metrics) and not choice.is_own:
        return ()
    return (
        Choice("Headline metrics", links.to(columns=""), not (choice.every or choice.is_own)),
        Choice(f"All {len(metrics)} metrics", links.to(columns=EVERY), choice.every),
    )


def _with_headings(board: Board, rows: Iterable[ShownRow]) -> Iterator[ShownRow]:
    """Yield the rows, those that open a budget with its name."""
    before = ""
    for shown in rows:
        words = shown.row.budget.words
        if not board.is_grouped or shown.row.is_control or words == before:
            yield shown
            continue
        yield replace(shown, heading=words)
        before = words


def _row(
    board: Board, heads: tuple[Head, ...], facts: Iterable[Fact], row: Row, links: _Links
) -> ShownRow:
    return ShownRow(
        row=row,
        rank=row.cells[board.ranked_by.key].range,
        cells=tuple(_shown(board, head, row) for head in heads),
        facts=tuple((fact, fact.text(row)) for fact in facts),
        pin="" if is_baseline(board, row) else links.to(baseline=address_of(row)),
        lost=_lost(board, row),
    )


def _lost(board: Board, row: Row) -> str:
    """Return what an autoencoder loses of the test split, means over seeds; "" of other rows."""
    if not row.entry.source:
        return ""
    found = reconstructions.means(row.sample_sets, board.protocol)
    named = {name.partition(" ")[::2]: value for name, value in found.items()}
    return ", ".join(
        f"{label} {value:.3g} {unit}".strip()
        for (label, unit), value in named.items()
        if value is not None
    )


def other_formats() -> list[tuple[str, str]]:
    """Return the formats besides CSV that the site can write: what they are called, their key."""
    parquet = [] if missing() else [("Parquet", "parquet")]
    return [("JSON Lines", "jsonl"), *parquet]


def export_link(board: Board, kind: str, filters: Mapping[str, str]) -> str:
    """Return where the REST interface gives the same board in a format."""
    query = {"format": kind, "sort": board.sort, **filters}
    if board.experiment is not None:
        query["experiment"] = str(board.experiment.pk)
    address = reverse("api:leaderboard-detail", args=[board.protocol.fingerprint])
    return f"{address}?{urlencode(query)}"


def _head(board: Board, column: Column, links: _Links, *, opens_group: bool) -> Head:
    chosen = column.key == board.sort_key
    worst_first = board.sort.startswith("-")
    wanted = f"-{column.key}" if chosen and not worst_first else column.key
    deciding = [row for row in board.rows if not row.is_aside] or board.rows
    return Head(
        column=column,
        link=links.to(sort=wanted),
        aria_sort=_aria_sort(column, worst_first) if chosen else "",
        places=rounding.decimals((row.cells[column.key] for row in deciding), counts=column.counts),
        worst_first=chosen and worst_first,
        opens_group=opens_group,
    )


def _fact_head(board: Board, fact: Fact, links: _Links) -> FactHead:
    """Return the head of a fact: dates have the latest first at the first click."""
    ways = (f"-{fact.key}", fact.key) if fact.key == DATE else (fact.key, f"-{fact.key}")
    wanted = ways[1] if board.sort == ways[0] else ways[0]
    order = "descending" if board.sort.startswith("-") else "ascending"
    return FactHead(fact, links.to(sort=wanted), order if fact.key == board.sort_key else "")


def _aria_sort(column: Column, worst_first: bool) -> str:
    if column.ideal is not None:
        return "other"
    return "descending" if column.higher_is_better != worst_first else "ascending"


def _shown(board: Board, head: Head, row: Row) -> ShownCell:
    cell = row.cells[head.column.key]
    if cell.value is None:
        text = "unknown" if cell.unknown else "–"
        return ShownCell(head, cell, text, "", cell.reason or "not measured", "")
    places = rounding.own_decimals(cell, head.places)
    return ShownCell(
        head=head,
        cell=cell,
        text=rounding.number(cell.value, places),
        spread=rounding.spread(cell, places),
        note=_note(row, head.column),
        raw=repr(cell.value),
        delta=delta(board, row, head.column),
    )


def _note(row: Row, column: Column) -> str:
    """Return what stands in the title of a cell: exact value, what the interval is over, rank."""
    cell = row.cells[column.key]
    parts = [f"{cell.value!r}"]
    if cell.low is not None and cell.high is not None:
        parts.append(f"{INTERVAL_NOTES[cell.interval_of]}: [{cell.low:.6g}, {cell.high:.6g}]")
    if cell.plug_in is not None and cell.plug_in != cell.value:
        parts.append(f"bias corrected; the plug-in estimate is {cell.plug_in:.6g}")
    if cell.seeds_lost:
        parts.append(f"mean of {len(cell.seeds)} of {row.seeds_total} seeds")
    parts += [cell.reason, cell.no_merit]
    if cell.beats_control:
        parts.append(NEARER)
    if cell.near_training:
        parts.append(NEAR_TRAINING)
    parts.append(_rank_note(row, column))
    return "; ".join(filter(None, parts))


def _rank_note(row: Row, column: Column) -> str:
    """Return the rank in words, with the reason where it is not what the value alone would say."""
    cell = row.cells[column.key]
    if cell.rank is None:
        return ""
    if cell.provisional:
        return f"rank {cell.rank} for now: {row.seeds_pending} seeds are still to come"
    if of_survivors(cell, column):
        return f"rank {cell.range}, behind all without lost seeds"
    if cell.rank_low is None:
        return f"rank {cell.rank} by value" + ("" if cell.no_merit else "; its error is not known")
    if cell.rank_low == cell.rank_high:
        return f"rank {cell.rank}"
    return f"rank {cell.rank} by value, surely between {cell.rank_low} and {cell.rank_high}"
