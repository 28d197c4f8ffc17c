"""Who leads among entries that had, or took, about as much as each other: worked out of their rows.

Budgets are what a training might use, as it was submitted: images seen, or device-seconds; or what
was measured: device-seconds, parameters. What was measured is put in ranges of one factor.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from catalog.models import Protocol
from leaderboards.board import Cell, Column, columns_of
from leaderboards.origins.budgets import Budget

STEPS = (1.0, 3.0)  # where ranges of what was measured begin, times a power of ten
SPEED = "images_per_second"


class Contender(NamedTuple):
    """What decides who leads, of one row: far less than the whole of it."""

    key: int  # of its standing
    budget: Budget
    seeds_failed: int
    seeds_pending: int
    cells: Mapping[str, Cell]  # of the columns of the view, and of what is measured


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


@dataclass(frozen=True)
class Led:
    """Entries of one budget, and who has the best mean of each column, by the key of a standing."""

    budget: Budget | Range
    entries: int
    leaders: tuple[tuple[int, int] | None, ...]  # with how many are alike; None: nobody


@dataclass(frozen=True)
class Leading:
    """Who leads at each budget of one kind."""

    columns: tuple[str, ...]  # keys
    budgets: tuple[Led, ...]
    unknown: int  # rows whose budget nobody knows

    @property
    def keys(self) -> set[int]:
        """Return the keys of the standings that lead."""
        return {key for led in self.budgets for key, _ in filter(None, led.leaders)}

    def to_json(self) -> dict[str, Any]:
        """Return it as values that `of_json` reads."""
        budgets = [[_text(each.budget), each.entries, each.leaders] for each in self.budgets]
        return {"columns": self.columns, "budgets": budgets, "unknown": self.unknown}

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> "Leading":
        budgets = tuple(
            Led(_read(budget), entries, tuple(each and (each[0], each[1]) for each in leaders))
            for budget, entries, leaders in kept["budgets"]
        )
        return cls(tuple(kept["columns"]), budgets, kept["unknown"])


def _text(budget: Budget | Range) -> str | list[float]:
    return budget.key if isinstance(budget, Budget) else [budget.low, budget.high]


def _read(kept: str | list[float]) -> Budget | Range:
    return Budget.of_key(kept) if isinstance(kept, str) else Range(*kept)


def images(contender: Contender) -> Budget | None:
    """Return the images that its trainings might see."""
    return contender.budget if contender.budget.images else None


def seconds(contender: Contender) -> Budget | None:
    """Return the device-seconds that its trainings might take."""
    return contender.budget if contender.budget.seconds else None


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


def compared(protocol: Protocol) -> tuple[Column, ...]:
    """Return the first metric of quality and of coverage, and speed."""
    known = columns_of(protocol)
    first = (next((c for c in known if c.corner == each), None) for each in ("quality", "coverage"))
    speed = next(column for column in known if column.key == SPEED)
    return tuple(column for column in (*first, speed) if column is not None)


def leading(contenders: Sequence[Contender], columns: Sequence[Column], by: str) -> Leading:
    """Return who leads at each budget of a kind, the budgets in their order.

    Raises:
        KeyError: if there is no such kind.
    """
    _, budget_of = WAYS[by]
    of_budgets: dict[Budget | Range, list[Contender]] = defaultdict(list)
    for each in contenders:
        budget = budget_of(each)
        if budget is not None:
            of_budgets[budget].append(each)
    budgets = tuple(
        Led(budget, len(found), tuple(best(found, column) for column in columns))
        for budget, found in sorted(of_budgets.items(), key=lambda item: _place(item[0]))
    )
    unknown = len(contenders) - sum(each.entries for each in budgets)
    return Leading(tuple(column.key for column in columns), budgets, unknown)


def _place(budget: Budget | Range) -> tuple[float, float]:
    if isinstance(budget, Range):
        return budget.low, budget.high
    return float(budget.images or 0), budget.seconds or 0.0


def best(contenders: Iterable[Contender], column: Column) -> tuple[int, int] | None:
    """Return who has the best mean, of those all of whose seeds have one, and how many are alike.

    None where nobody has. Survivors are not the sample: who lost a seed, or waits for one, leads
    nothing, as on boards.
    """
    whole = list(_whole(contenders, column))
    if not whole:
        return None
    first, cell = min(whole, key=lambda pair: badness(column, pair[1]))
    low, high = _ends(cell)
    alike = sum(begin <= high and low <= end for begin, end in (_ends(each) for _, each in whole))
    return first, alike - 1  # it is like itself


def _whole(contenders: Iterable[Contender], column: Column) -> Iterator[tuple[int, Cell]]:
    """Yield those whose seeds have all a value, with their means."""
    for each in contenders:
        cell = each.cells.get(column.key)
        lacks_seeds = each.seeds_failed or each.seeds_pending
        if cell is not None and cell.value is not None and not (lacks_seeds or cell.seeds_lost):
            yield each.key, cell


def badness(column: Column, cell: Cell) -> float:
    """Return a number that is smaller for the better of two values."""
    assert cell.value is not None, "only values are compared"
    if column.ideal is not None:
        return abs(cell.value - column.ideal)
    return -cell.value if column.higher_is_better else cell.value


def _ends(cell: Cell) -> tuple[float, float]:
    """Return where an interval begins and ends; a cost without one is its own."""
    assert cell.value is not None, "only values are compared"
    low, high = cell.low, cell.high
    return cell.value if low is None else low, cell.value if high is None else high
