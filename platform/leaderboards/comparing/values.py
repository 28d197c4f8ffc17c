"""Metrics of the compared entries, each protocol's alone, with differences to the baseline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from catalog.models import Protocol
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.comparing.sides import Comparison, Side
from leaderboards.models import Score, Standing
from leaderboards.protocol_box import Apart
from leaderboards.ranking import judged_as
from leaderboards.scores import baseline, keeping, reading
from leaderboards.scores.baseline import Verdict
from leaderboards.statistics.differences import Difference

OF_DEVICES = ("images_per_second", "device_seconds")  # costs that say as much of the device


@dataclass(frozen=True)
class Compared:
    """One side's number beside the baseline's; a verdict only where the interval excludes 0."""

    side: Side
    cell: Cell
    difference: Difference | None = None  # to the baseline
    ratio: float | None = None  # of a cost to the baseline's
    verdict: Verdict = ""  # "differs" where that is no merit and no fault
    why: str = ""  # why there is no difference, or no verdict


@dataclass(frozen=True)
class Line:
    """One metric or cost over the sides."""

    column: Column
    cells: tuple[Compared, ...]


@dataclass(frozen=True)
class Table:
    """What one protocol says of the sides that are scored under it."""

    protocol: Protocol
    rows: tuple[tuple[Side, Row], ...]
    baseline: Side | None  # None where it is not scored under this protocol

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side, _ in self.rows)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.protocol)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Return a line for each metric, then for each cost, as boards have them."""
        return self.lines_of(self.columns)

    def lines_of(self, columns: Iterable[Column]) -> tuple[Line, ...]:
        """Return a line for each of some columns."""
        against = next((row for side, row in self.rows if side is self.baseline), None)
        return tuple(
            Line(column, tuple(self._compared(column, *pair, against) for pair in self.rows))
            for column in columns
        )

    def _compared(self, column: Column, side: Side, row: Row, against: Row | None) -> Compared:
        cell = row.cells[column.key]
        if against is None or self.baseline is None or side is self.baseline or cell.value is None:
            return Compared(side, cell)
        return _beside(column, side, cell, self.baseline, against.cells[column.key])


@dataclass(frozen=True)
class Stranger:
    """A side that shares no protocol with the baseline, and what sets theirs apart."""

    side: Side
    apart: tuple[Apart, ...]  # its protocols' differences; empty where it has none
    datasets: tuple[str, str] | None = None  # its and the baseline's, where they differ


def _beside(column: Column, side: Side, cell: Cell, base: Side, other: Cell) -> Compared:
    """Return a number with its difference to the baseline's, or why there is none."""
    why = _why_apart(column, side, base)
    if cell.value is None or other.value is None or not (cell.seeds and other.seeds):
        why = why or "the baseline has no value"
    if why:
        return Compared(side, cell, why=why)
    found = baseline.beside(cell, other, column)
    is_cost = column.corner == "cost"
    return Compared(
        side=side,
        cell=cell,
        difference=found.difference,
        ratio=cell.value / other.value if is_cost and cell.value and other.value else None,
        verdict=found.verdict,
        why=found.note,
    )


def _why_apart(column: Column, side: Side, base: Side) -> str:
    """Return why two costs may not be compared: they were measured on different devices."""
    if column.key not in OF_DEVICES:
        return ""
    devices = _devices(side, column), _devices(base, column)
    if devices[0] == devices[1]:
        return ""
    words = [", ".join(sorted(each)) or "an unknown device" for each in devices]
    return f"measured on {words[0]}, the baseline's on {words[1]}"


def _devices(side: Side, column: Column) -> set[str]:
    if column.key == "device_seconds":
        return {str(run.environment.get("device", "")) for run in side.runs if run.environment}
    return {each.worker.device for each in side.sets if each.worker}


def tables(comparison: Comparison) -> list[Table]:
    """Return a table for each protocol of the sides, those with the baseline and with most first."""
    found = _scored(comparison)
    result = []
    for protocol, pairs in found.items():
        sides = {side.key for side, _ in pairs}
        against = comparison.baseline if comparison.baseline.key in sides else None
        result.append(Table(protocol, tuple(pairs), against))
    return sorted(result, key=lambda t: (t.baseline is None, -len(t.rows), t.protocol.pk))


def _scored(comparison: Comparison) -> dict[Protocol, list[tuple[Side, Row]]]:
    """Return the sides' rows by protocol, in the order of the sides; five queries at most."""
    asked = {entry.pk for entry in comparison.entries}
    loaded = ("entry__experiment", "judgement")
    mine = Standing.objects.filter(entry__in=asked).select_related(*loaded)
    if lacking := asked - {each.entry_id for each in mine}:
        keeping.follow_entries(lacking)  # of a site of before, whose rows are still being written
        mine = mine.all()
    standings = [each for each in mine if any(_is_of(each, side) for side in comparison.sides)]
    used = {each.protocol_id for each in standings}
    protocols = Protocol.objects.select_related("dataset").in_bulk(used)  # each once
    columns = {c.key: c for pk in protocols for c in columns_of(protocols[pk])}
    scores = Score.objects.filter(standing__in=[each.pk for each in standings])
    rows = reading.rows_from(standings, columns.values(), scores)
    found: dict[Protocol, list[tuple[Side, Row]]] = {
        protocols[each.protocol_id]: [] for each in standings
    }
    for side in comparison.sides:
        for standing, row in zip(standings, rows, strict=True):
            if _is_of(standing, side):
                judged = judged_as(row, reading.kept_of(standing))
                found[protocols[standing.protocol_id]].append((side, judged))
    return found


def _is_of(standing: Standing, side: Side) -> bool:
    return (standing.entry_id, standing.sampler_label) == (side.entry.pk, side.sampler_label)


def strangers(comparison: Comparison, found: Sequence[Table]) -> list[Stranger]:
    """Return the sides whose numbers may not be compared with the baseline's, with the reasons."""
    own = [table.protocol for table in found if table.baseline is not None]
    beside = {side.key for table in found if table.baseline is not None for side in table.sides}
    return [
        _stranger(side, comparison.baseline, own, found)
        for side in comparison.others
        if side.key not in beside
    ]


def _stranger(side: Side, base: Side, own: Sequence[Protocol], found: Sequence[Table]) -> Stranger:
    mine, theirs = side.entry.experiment.dataset, base.entry.experiment.dataset
    if mine.pk != theirs.pk:
        return Stranger(side, (), (mine.name, theirs.name))
    protocols = [t.protocol for t in found if any(each.key == side.key for each in t.sides)]
    apart = [Apart(a, b, a.differences(b)) for a in protocols[:1] for b in own[:1]]
    return Stranger(side, tuple(apart))
