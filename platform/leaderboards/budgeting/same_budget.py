"""At the same budget: who leads among entries that had, or took, about as much as each other.

Budgets are what a training might use, as it was submitted: images seen, or device-seconds; or what
was measured: device-seconds, parameters. What was measured is put in ranges of one factor.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from django.db.models import QuerySet

from catalog.models import Protocol
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.models import Score, Standing
from leaderboards.origins.budgets import Budget
from leaderboards.scores import reading
from leaderboards.scores.standings import of_board

STEPS = (1.0, 3.0)  # where ranges of what was measured begin, times a power of ten
SPEED = "images_per_second"
MOST = 2000  # standings that are looked at, the first submitted


class Contender(NamedTuple):
    """What decides who leads, of one row: far less than the whole of it."""

    key: int  # of its standing
    budget: Budget
    seeds_failed: int
    seeds_pending: int
    cells: Mapping[str, Cell]  # without what pages say of them


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


def images(contender: Contender) -> Budget | None:
    """Return the images that its trainings might see."""
    return contender.budget if contender.budget.images else None


def seconds(contender: Contender) -> Budget | None:
    """Return the device-seconds that its trainings might take."""
    return contender.budget if contender.budget.seconds else None


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


def _measured(key: str) -> Callable[[Contender], Range | None]:
    def found(contender: Contender) -> Range | None:
        value = contender.cells[key].value if key in contender.cells else None
        return Range.of(value) if value and value > 0 else None

    return found


# in an address: what it is called, and which budget a row has
WAYS: Mapping[str, tuple[str, Callable[[Contender], Budget | Range | None]]] = MappingProxyType(
    {
        "images": ("Images seen", images),
        "seconds": ("Device-seconds", seconds),
        "measured": ("Device-seconds measured", _measured("device_seconds")),
        "parameters": ("Parameters", _measured("parameters")),
    }
)
MEASURED = ("device_seconds", "parameters")
UNITS = {"measured": "device-seconds", "parameters": "parameters"}


def view(protocol: Protocol, by: str) -> View:
    """Return who leads at each budget of a kind, in as many queries whatever the board's size.

    Raises:
        KeyError: if there is no such kind.
    """
    _, budget_of = WAYS[by]
    columns = _columns(protocol)
    standings = of_board(protocol).filter(control="", seeds_scored__gt=0)
    found = _contenders(standings, {column.key for column in columns} | {*MEASURED})
    of_budgets: dict[Budget | Range, list[Contender]] = defaultdict(list)
    for each in found:
        budget = budget_of(each)
        if budget is not None:
            of_budgets[budget].append(each)
    return View(
        by=by,
        columns=columns,
        buckets=_buckets(of_budgets, columns, by),
        unknown=len(found) - sum(map(len, of_budgets.values())),
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


def _buckets(
    of_budgets: Mapping[Budget | Range, list[Contender]], columns: tuple[Column, ...], by: str
) -> tuple[Bucket, ...]:
    """Return the budgets in their order, with the whole rows of those who lead."""
    bests = {
        budget: [best(found, column) for column in columns]
        for budget, found in sorted(of_budgets.items(), key=lambda item: _place(item[0]))
    }
    keys = {each.key for found in bests.values() for each, _ in filter(None, found)}
    standings = list(Standing.objects.select_related("entry__experiment").filter(pk__in=keys))
    scores = Score.objects.filter(standing__in=keys, metric__in=[each.key for each in columns])
    rows = reading.rows_from(standings, columns, scores, details_of=())
    row_of = {each.pk: row for each, row in zip(standings, rows, strict=True)}
    return tuple(
        Bucket(
            words=budget.words(UNITS[by]) if isinstance(budget, Range) else budget.words,
            entries=len(of_budgets[budget]),
            filter=budget.value if isinstance(budget, Budget) else "",
            leaders=tuple(
                found and _leader(row_of[found[0].key], column, found[1])
                for found, column in zip(leading, columns, strict=True)
            ),
        )
        for budget, leading in bests.items()
    )


def _leader(row: Row, column: Column, alike: int) -> Leader:
    cell = row.cells[column.key]
    return Leader(row, cell, alike, unsure=cell.low is None and column.corner != "cost")


def best(contenders: Iterable[Contender], column: Column) -> tuple[Contender, int] | None:
    """Return who has the best mean, of those all of whose seeds have one, and how many are alike.

    None where nobody has. Survivors are not the sample: who lost a seed, or waits for one, leads
    nothing, as on boards.
    """
    values = [(each, each.cells[column.key]) for each in contenders if column.key in each.cells]
    whole = [
        (each, cell)
        for each, cell in values
        if cell.value is not None and not _lacks_seeds(each, cell)
    ]
    if not whole:
        return None
    first, cell = min(whole, key=lambda pair: badness(column, pair[1]))
    return first, sum(_overlap(cell, other) for each, other in whole if each is not first)


def _lacks_seeds(contender: Contender, cell: Cell) -> bool:
    return bool(contender.seeds_failed or contender.seeds_pending or cell.seeds_lost)


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
