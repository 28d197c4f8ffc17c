"""At the same budget: who leads among entries that had, or took, about as much as each other.

Budgets are what a training might use, as it was submitted: images seen, or device-seconds; or what
was measured: device-seconds, parameters. What was measured is put in ranges of one factor.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog.models import Protocol
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.models import Score, Standing
from leaderboards.origins.budgets import Budget
from leaderboards.scores import reading
from leaderboards.scores.standings import of_board

STEPS = (1.0, 3.0)  # where ranges of what was measured begin, times a power of ten
SPEED = "images_per_second"
MOST = 2000  # standings that are looked at, the first submitted


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


def images(row: Row) -> Budget | None:
    """Return the images that its trainings might see."""
    budget = Budget.of(row.entry)
    return budget if budget.images else None


def seconds(row: Row) -> Budget | None:
    """Return the device-seconds that its trainings might take."""
    budget = Budget.of(row.entry)
    return budget if budget.seconds else None


@dataclass(frozen=True, order=True)
class Range:
    """From one value to the next of `STEPS`, the end not among them."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> "Range":
        power = 10.0 ** math.floor(math.log10(value))
        found = [power * step for step in (*STEPS, 10.0)]
        # log10 of 1000 may be 2.9999999999999996
        begin = max((each for each in found if each <= value * (1 + 1e-12)), default=power)
        return cls(begin, next(each for each in (*found, 30 * power) if each > begin * (1 + 1e-12)))

    def words(self, unit: str) -> str:
        return f"{self.low:,.10g} to {self.high:,.10g} {unit}"


def _measured(key: str) -> Callable[[Row], Range | None]:
    def found(row: Row) -> Range | None:
        value = row.cells[key].value
        return Range.of(value) if value and value > 0 else None

    return found


# in an address: what it is called, and which budget a row has
WAYS: Mapping[str, tuple[str, Callable[[Row], Budget | Range | None]]] = MappingProxyType(
    {
        "images": ("Images seen", images),
        "seconds": ("Device-seconds", seconds),
        "measured": ("Device-seconds measured", _measured("device_seconds")),
        "parameters": ("Parameters", _measured("parameters")),
    }
)
UNITS = {"measured": "device-seconds", "parameters": "parameters"}


def view(protocol: Protocol, by: str) -> View:
    """Return who leads at each budget of a kind, in as many queries whatever the board's size.

    Raises:
        KeyError: if there is no such kind.
    """
    _, budget_of = WAYS[by]
    columns = _columns(protocol)
    standings = of_board(protocol).filter(control="", seeds_scored__gt=0)
    found = list(standings[:MOST])
    rows = _rows(found, columns)
    of_budgets: dict[Budget | Range, list[Row]] = defaultdict(list)
    for row in rows:
        budget = budget_of(row)
        if budget is not None:
            of_budgets[budget].append(row)
    return View(
        by=by,
        columns=columns,
        buckets=tuple(
            _bucket(each, of_budgets[each], columns, by) for each in sorted(of_budgets, key=_place)
        ),
        unknown=len(rows) - sum(map(len, of_budgets.values())),
        left_out=standings.count() - len(found) if len(found) == MOST else 0,
    )


def _place(budget: Budget | Range) -> tuple[float, float]:
    if isinstance(budget, Range):
        return budget.low, budget.high
    return float(budget.images or 0), budget.seconds or 0.0


def _columns(protocol: Protocol) -> tuple[Column, ...]:
    """Return the first metric of quality and of coverage, and speed."""
    known = columns_of(protocol)
    first = (next((c for c in known if c.corner == each), None) for each in ("quality", "coverage"))
    speed = next(column for column in known if column.key == SPEED)
    return tuple(column for column in (*first, speed) if column is not None)


def _rows(standings: list[Standing], columns: Iterable[Column]) -> list[Row]:
    names = {column.key for column in columns} | {*UNITS, "device_seconds"}
    scores = Score.objects.filter(standing__in=[each.pk for each in standings], metric__in=names)
    protocol_columns = {c.key: c for s in standings[:1] for c in columns_of(s.protocol)}
    return reading.rows_from(standings, protocol_columns.values(), scores)


def _bucket(
    budget: Budget | Range, rows: list[Row], columns: tuple[Column, ...], by: str
) -> Bucket:
    return Bucket(
        words=budget.words(UNITS[by]) if isinstance(budget, Range) else budget.words,
        entries=len(rows),
        filter=budget.value if isinstance(budget, Budget) else "",
        leaders=tuple(leader(rows, column) for column in columns),
    )


def leader(rows: Iterable[Row], column: Column) -> Leader | None:
    """Return who has the best mean, of those all of whose seeds have one; None where nobody has.

    Survivors are not the sample: who lost a seed, or waits for one, leads nothing, as on boards.
    """
    known = [row for row in rows if row.cells[column.key].value is not None]
    whole = [row for row in known if not _lacks_seeds(row, row.cells[column.key])]
    if not whole:
        return None
    best = min(whole, key=lambda row: badness(column, row.cells[column.key]))
    cell = best.cells[column.key]
    others = [row.cells[column.key] for row in whole if row is not best]
    return Leader(
        row=best,
        cell=cell,
        alike=sum(_overlap(cell, other) for other in others),
        unsure=cell.low is None and column.corner != "cost",
    )


def _lacks_seeds(row: Row, cell: Cell) -> bool:
    return bool(row.seeds_failed or row.seeds_pending or cell.seeds_lost)


def badness(column: Column, cell: Cell) -> float:
    """Return a number that is smaller for the better of two values."""
    assert cell.value is not None, "only values are compared"
    if column.ideal is not None:
        return abs(cell.value - column.ideal)
    return -cell.value if column.higher_is_better else cell.value


def _overlap(one: Cell, other: Cell) -> bool:
    """Whether two intervals have a value in common; a cost without one is its own."""
    low, high = (one.value if end is None else end for end in (one.low, one.high))
    low_2, high_2 = (other.value if end is None else end for end in (other.low, other.high))
    assert None not in (low, high, low_2, high_2), "only values are compared"
    return bool(low <= high_2 and low_2 <= high)  # type: ignore[operator]  # asserted above
