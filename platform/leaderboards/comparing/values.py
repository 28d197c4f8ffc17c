"""Metrics of the compared entries, each protocol's alone, with differences to the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from catalog.models import Protocol
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.comparing.sides import Comparison, Side
from leaderboards.models import Score, Standing
from leaderboards.protocol_box import Apart
from leaderboards.ranking import has_leader, of_survivors
from leaderboards.scores import reading
from leaderboards.statistics.differences import Difference, difference

OF_DEVICES = ("images_per_second", "device_seconds")  # costs that say as much of the device
Verdict = Literal["better", "worse", ""]


@dataclass(frozen=True)
class Compared:
    """One side's number beside the baseline's."""

    side: Side
    cell: Cell
    difference: Difference | None = None  # to the baseline; of a cost nobody asks
    ratio: float | None = None  # of a cost to the baseline's
    verdict: Verdict = ""  # "" where chance may be all there is, or nobody can tell
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
    def lines(self) -> tuple[Line, ...]:
        """Return a line for each metric, then for each cost, as boards have them."""
        against = next((row for side, row in self.rows if side is self.baseline), None)
        return tuple(
            Line(column, tuple(self._compared(column, *pair, against) for pair in self.rows))
            for column in columns_of(self.protocol)
        )

    def _compared(self, column: Column, side: Side, row: Row, against: Row | None) -> Compared:
        cell = row.cells[column.key]
        if against is None or self.baseline is None or side is self.baseline or cell.value is None:
            return Compared(side, cell)
        other = against.cells[column.key]
        if other.value is None:
            return Compared(side, cell, why="the baseline has no value")
        if column.corner == "cost":
            return _cost(column, side, cell, self.baseline, other)
        found = difference(cell, other)
        why = _why_no_verdict(column, cell, other, found)
        verdict = "" if found is None or why else _verdict(column, found)
        return Compared(side, cell, found, verdict=verdict, why=why)


@dataclass(frozen=True)
class Stranger:
    """A side that shares no protocol with the baseline, and what sets theirs apart."""

    side: Side
    apart: tuple[Apart, ...]  # its protocols' differences; empty where it has none
    datasets: tuple[str, str] | None = None  # its and the baseline's, where they differ


def _verdict(column: Column, found: Difference) -> Verdict:
    if not found.excludes_zero:
        return ""
    return "better" if (found.value > 0) == column.higher_is_better else "worse"


def _why_no_verdict(column: Column, cell: Cell, other: Cell, found: Difference | None) -> str:
    """Return why a difference is no merit and no fault, whatever its interval; "" if it may be."""
    if found is None or found.low is None:
        return "no interval: the error of one of the two is not known"
    if of_survivors(cell, column) or of_survivors(other, column):
        return "seeds were lost: those that are left are not the sample"
    if cell.provisional or other.provisional:
        return "seeds are still to come"
    if column.ideal is not None:
        return f"nearer to {column.ideal:g} is better, on either side"
    if not has_leader(column):
        return "being further from copies than others is no merit"
    return cell.no_merit or other.no_merit


def _cost(column: Column, side: Side, cell: Cell, base: Side, other: Cell) -> Compared:
    """Return a cost as a multiple of the baseline's, where both are of one kind of device."""
    devices = _devices(side, column), _devices(base, column)
    if column.key in OF_DEVICES and devices[0] != devices[1]:
        words = [", ".join(sorted(each)) or "an unknown device" for each in devices]
        return Compared(side, cell, why=f"measured on {words[0]}, the baseline's on {words[1]}")
    assert cell.value is not None, "an absent cost is not compared"
    ratio = cell.value / other.value if other.value else None
    return Compared(side, cell, ratio=ratio)


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
        baseline = comparison.baseline if comparison.baseline.key in sides else None
        result.append(Table(protocol, tuple(pairs), baseline))
    return sorted(result, key=lambda t: (t.baseline is None, -len(t.rows), t.protocol.pk))


def _scored(comparison: Comparison) -> dict[Protocol, list[tuple[Side, Row]]]:
    """Return the sides' rows by protocol, in the order of the sides; four queries at most."""
    standings = [
        each
        for each in Standing.objects.filter(
            entry__in=[entry.pk for entry in comparison.entries]
        ).select_related("protocol__dataset", "entry__experiment", "judgement")
        if any(_is_of(each, side) for side in comparison.sides)
    ]
    columns = {c.key: c for each in standings for c in columns_of(each.protocol)}
    scores = Score.objects.filter(standing__in=[each.pk for each in standings])
    rows = reading.rows_from(standings, columns.values(), scores)
    found: dict[Protocol, list[tuple[Side, Row]]] = {each.protocol: [] for each in standings}
    for side in comparison.sides:
        for standing, row in zip(standings, rows, strict=True):
            if _is_of(standing, side):
                said = standing.judgement.found if hasattr(standing, "judgement") else {}
                found[standing.protocol].append((side, reading.judged_as(row, said)))
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


def _stranger(
    side: Side, baseline: Side, own: Sequence[Protocol], found: Sequence[Table]
) -> Stranger:
    mine, theirs = side.entry.experiment.dataset, baseline.entry.experiment.dataset
    if mine.pk != theirs.pk:
        return Stranger(side, (), (mine.name, theirs.name))
    protocols = [t.protocol for t in found if any(each.key == side.key for each in t.sides)]
    apart = [Apart(a, b, a.differences(b)) for a in protocols[:1] for b in own[:1]]
    return Stranger(side, tuple(apart))
