"""One board: a protocol, a row per entry and sampler, a cell per metric and cost.

Rules: only values of one fingerprint stand together; a cell is the mean over the seeds that were
scored, and `seeds k/n` says how many were not; ties share a rank (1, 2, 2, 4); what is missing is
last. Controls have no rank: real test images stand first, the others after everything else. They
are the same images in every experiment, so each stands once.

A rank is a range: which ranks a row may have, given the errors of all (see `spread` and
`separation`). Who may be first leads. One seed has the error of its images; where no error is
known, nothing leads.

Survivors are not the sample: the seeds that failed, were cancelled or have no finite value may be
those with the worst values, and count as worst. So under a metric, rows with lost seeds are ranked
behind all rows without, whatever their mean over the survivors, and never lead. Rows whose seeds
are still to come have a provisional rank and lead nothing. Costs do not depend on who survives.

Better than real is not better: a value beyond the interval of the real control is no merit, nor is
sharpness without coverage. Such rows lead nobody and are in nobody's way. Nobody leads a metric of
memorisation: noise is furthest from copies.

Entries of different budgets are no fair comparison: each is ranked among those of its own (see
`origins.budgets`), whatever the order in which rows stand.

Trials of a search have no rank either: the best of many by one number is lucky, too. What is ranked
is the best, run again with seeds of its own.

A protocol that failed its admission test ranks nothing; one that has too few images for some of
its metrics ranks by the others.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import Any

from catalog.models import Protocol
from evaluation.protocols.metrics import is_of_prompts
from experiments import controls
from experiments.models import Experiment
from leaderboards.admission_box import admission_of
from leaderboards.board import Board, Cell, Column, Row, Verdict, columns_of
from leaderboards.facts.columns import FACTS
from leaderboards.facts.repeats import with_repeats
from leaderboards.marks import DISTANCES, Place, p_values, rejected
from leaderboards.origins import budgets
from leaderboards.rows import rows_of
from leaderboards.statistics.separation import Ranks, rank_ranges
from leaderboards.statistics.spread import Rows, estimates

SHARPNESS = ("precision", "density", "is", "is_splits")  # of single images: one good one will do
COVERAGE = ("recall", "coverage")
FAILED_COVERAGE = 0.1  # of what the real control covers
BEYOND = "no merit: beyond what unseen real images reach"

Placed = tuple[int, int | None, int | None, bool]  # rank, the least and largest it may be, leads


def rank(protocol: Protocol, *, sort: str = "", experiment: Experiment | None = None) -> Board:
    """Return the board of a protocol, of one experiment or of all.

    `sort` is a column's key, "-key" for worst first; by default the first metric with ranks. Or it
    is that of a fact, "-key" for Z to A, or the latest first.

    Raises:
        ValueError: if there is no such column.
    """
    empty = board_of(protocol, sort, experiment)
    rows = judged(rows_of(protocol, empty.columns, experiment), empty.columns, empty.ranked)
    return of_rows(empty, rows)


def of_rows(empty: Board, rows: Iterable[Row]) -> Board:
    """Return a board with all its rows, in its order."""
    return ordered(empty, with_repeats(list(rows)))


def ordered(empty: Board, rows: Sequence[Row]) -> Board:
    """Return a board with all its rows, in its order, without the names of what they repeat."""
    held = budgets.in_order({row.budget for row in rows if not row.is_control})
    board = replace(empty, budgets=held)
    return replace(board, rows=in_order(rows, board))


def board_of(protocol: Protocol, sort: str, experiment: Experiment | None) -> Board:
    """Return a board without its rows.

    Raises:
        ValueError: if there is no column to sort by of this name.
    """
    columns = columns_of(protocol)
    keys = [column.key for column in columns]
    unranked = _unranked(protocol, columns)
    sort = sort or next((key for key in keys if key not in unranked), keys[0])
    if sort.removeprefix("-") not in (*keys, *FACTS):
        known = ", ".join((*keys, *FACTS))
        raise ValueError(f"expected a column to sort by ({known}), got {sort!r}")
    return Board(protocol, experiment, columns, (), sort, unranked)


def _unranked(protocol: Protocol, columns: tuple[Column, ...]) -> dict[str, str]:
    """Return the keys of the columns without ranks, with the reason.

    Where no metric has ranks, costs have none: nothing is compared.
    """
    reasons = dict(admission_of(protocol).unranked)
    metrics = [column.key for column in columns if column.corner != "cost"]
    if set(metrics) <= reasons.keys():
        reasons |= {c.key: reasons[metrics[0]] for c in columns if c.corner == "cost"}
    return reasons


def judged(
    rows: Sequence[Row], columns: Sequence[Column], ranked: Iterable[Column] | None = None
) -> list[Row]:
    """Return the rows with marks, and with ranks and leads in every column, or those to rank."""
    said = verdicts(rows, columns, ranked)
    return [judged_as(row, found) for row, found in zip(rows, said, strict=True)]


def judged_as(row: Row, said: Mapping[str, Sequence[Any]]) -> Row:
    """Return a row with the verdicts on its columns."""
    cells = {key: row.cells[key]._replace(**dict(zip(Verdict._fields, values, strict=True)))
             for key, values in said.items() if key in row.cells}  # fmt: skip
    return replace(row, cells={**row.cells, **cells})


def verdicts(
    rows: Sequence[Row],
    columns: Sequence[Column],
    ranked: Iterable[Column] | None = None,
    read: Callable[[Column], Sequence[Cell]] | None = None,
) -> list[dict[str, Verdict]]:
    """Return what is said of the cells of each row, in every column, of which something is.

    ``read`` returns the rows' cells of one column, where the rows have none.
    """
    read = read or partial(_column, rows)
    to_rank = {column.key for column in (columns if ranked is None else ranked)}
    groups, merit = list(_compared(rows)), Merit(rows, columns, read)
    control = next((at for at, row in enumerate(rows) if row.is_real), None)
    tests: dict[Place, float] = {}
    found: list[dict[str, Verdict]] = [{} for _ in rows]
    for column in columns:
        cells = read(column)
        why = merit.lacking(column, cells)
        placed = _placed(cells, groups, why, column) if column.key in to_rank else {}
        for at, ranks in placed.items():
            found[at][column.key] = Verdict._make((*ranks, False, False, why.get(at, "")))
        for at in why.keys() - placed.keys():
            found[at][column.key] = Verdict(no_merit=why[at])
        if control is not None:
            tests |= p_values(column, cells, control)
    for at, key in rejected(tests):
        said = found[at].get(key, Verdict())
        near = key not in DISTANCES
        found[at][key] = said._replace(beats_control=not near, near_training=near)
    return found


def _column(rows: Sequence[Row], column: Column) -> list[Cell]:
    return [row.cells[column.key] for row in rows]


def _compared(rows: Sequence[Row]) -> Iterable[list[int]]:
    """Return the places of contenders that are ranked among themselves: those of one budget."""
    ranked = (pair for pair in enumerate(rows) if not (pair[1].is_control or pair[1].is_trial))
    contenders = {at: row.budget for at, row in ranked}
    if not budgets.are_several(contenders.values()):
        return [list(contenders)]
    found: dict[budgets.Budget, list[int]] = defaultdict(list)
    for at, budget in contenders.items():
        found[budget].append(at)
    return found.values()


def _placed(
    cells: Sequence[Cell], groups: Iterable[list[int]], no_merit: Container[int], column: Column
) -> dict[int, Placed]:
    """Return rank and lead of the contenders of one column, each ranked among those of its group."""
    found: dict[int, Placed] = {}
    for group in groups:
        present = [at for at in group if cells[at].value is not None]
        able = [at not in no_merit for at in present]
        found.update(
            zip(present, _ranked([cells[at] for at in present], able, column), strict=True)
        )
    return found


def _ranked(cells: Sequence[Cell], merits: Sequence[bool], column: Column) -> Iterator[Placed]:
    """Yield ranks and leads of cells of one column, which have values, and perhaps no merit."""
    badness = [_badness(cell, column) for cell in cells]
    lost = [of_survivors(cell, column) for cell in cells]
    complete = [not (cell.provisional or gone) for cell, gone in zip(cells, lost, strict=True)]
    able = [at for at, is_merit in enumerate(merits) if is_merit and complete[at]]
    order = sorted([badness[at] for at in able])
    survivors = sorted(compress(badness, lost))
    ranges = dict(zip(able, _ranges([cells[at].seeds for at in able], column), strict=True))
    behind = Ranks(sum(complete) + 1, sum(complete) + len(survivors))
    may_lead = has_leader(column)
    for at, bad in enumerate(badness):
        if lost[at]:
            yield bisect_left(survivors, bad) + behind.low, behind.low, behind.high, False
        elif ranks := ranges.get(at):
            low, high = ranks
            yield bisect_left(order, bad) + 1, low, high, low == 1 and may_lead
        else:
            yield bisect_left(order, bad) + 1, None, None, False


def _ranges(rows: Rows, column: Column) -> list[Ranks | None]:
    """Return the range of each row's ranks, None where its error is not known."""
    if not rows:
        return []
    found = estimates(rows, None if column.ideal is None else float)
    if column.ideal is not None:
        found = [one._replace(mean=abs(one.mean - column.ideal)) for one in found]
    ranges = rank_ranges(found, higher_is_better=column.ideal is None and column.higher_is_better)
    return [r if math.isfinite(one.error) else None for one, r in zip(found, ranges, strict=True)]


def has_leader(column: Column) -> bool:
    """Return whether being first is a merit: to be further from copies than real images is none."""
    return column.corner != "memorisation"


def of_survivors(cell: Cell, column: Column) -> bool:
    """Return whether the cell is a metric's mean over what was left when other seeds were lost."""
    return column.corner != "cost" and cell.seeds_lost > 0


def _badness(cell: Cell, column: Column) -> float:
    assert cell.value is not None, "only present values are compared"
    return badness_of(cell.value, column)


def badness_of(value: float, column: Column) -> float:
    """Return a number that is the less the better a value is."""
    if column.ideal is not None:
        return abs(value - column.ideal)
    return -value if column.higher_is_better else value


class Merit:
    """Which values of a board are no merit: beyond real, or sharp without coverage."""

    def __init__(
        self,
        rows: Sequence[Row],
        columns: Sequence[Column],
        read: Callable[[Column], Sequence[Cell]],
    ) -> None:
        self.contenders = [at for at, row in enumerate(rows) if not row.is_control]
        aside = [(at, row.control) for at, row in enumerate(rows) if row.is_control]
        self.real = {kind: at for at, kind in reversed(aside)}  # the first of each
        coverage = next((c for key in COVERAGE for c in columns if c.key == key), None)
        self.uncovered = self._uncovered(coverage, read(coverage)) if coverage else {}

    def _uncovered(self, coverage: Column, cells: Sequence[Cell]) -> dict[int, str]:
        control = self.real.get(controls.TEST)
        real = cells[control].value if control is not None else None
        least = FAILED_COVERAGE * (1.0 if real is None else real)
        reasons = ((at, _why_uncovered(cells[at], least, coverage)) for at in self.contenders)
        return {at: reason for at, reason in reasons if reason}

    def lacking(self, column: Column, cells: Sequence[Cell]) -> dict[int, str]:
        """Return the places of a column's values that are no merit, with the reason."""
        uncovered = self.uncovered if column.key in SHARPNESS else {}
        found = {at: why for at, why in uncovered.items() if cells[at].value is not None}
        bound = self._bound(column, cells)
        if bound > -math.inf:
            for at in self.contenders:
                cell = cells[at]
                if cell.value is not None and _badness(cell, column) < bound:
                    found.setdefault(at, BEYOND)
        return found

    def _bound(self, column: Column, cells: Sequence[Cell]) -> float:
        """Return the badness of the best value that unseen real images may have.

        Of what prompts ask, these are the scenes that were drawn for them: test images were asked
        nothing.
        """
        at = self.real.get(controls.ASKED if is_of_prompts(column.key) else controls.TEST)
        end = None
        if at is not None and column.corner in ("quality", "coverage") and column.ideal is None:
            end = cells[at].high if column.higher_is_better else cells[at].low
        return -math.inf if end is None else badness_of(end, column)


def _why_uncovered(cell: Cell, least: float, column: Column) -> str:
    """Return why a row fails coverage outright; "" if it does not, or nobody knows."""
    if cell.value is None or (cell.value if cell.high is None else cell.high) >= least:
        return ""
    return f"no merit without coverage: {column.label} {cell.value:.2g}"


def place_of(row: Row, column: Column) -> tuple[int, float]:
    """Return where a row stands by a column: its group, of 0 to 4, and how bad it is there.

    Groups are real images, values, survivors' values, what is missing, and other controls.
    """
    cell = row.cells[column.key]
    if row.is_control:
        return 4 * (not row.is_real), controls.KINDS.index(row.control)
    if cell.value is None:
        return 3, 0.0
    return 2 if of_survivors(cell, column) else 1, _badness(cell, column)


def in_order(rows: Iterable[Row], board: Board) -> tuple[Row, ...]:
    """Return a board's rows by budgets where it has several, by their groups, and in its order.

    By a column, in each group the best first, or the worst; controls as ever.
    """
    worst, fact = board.sort.startswith("-"), FACTS.get(board.sort_key)
    found = sorted(rows, key=lambda row: (row.entry.label, row.sampler_label, row.entry.pk))
    if fact is not None:
        known = [row for row in found if fact.value(row) is not None]
        known.sort(key=fact.value, reverse=worst)
        found = known + [row for row in found if fact.value(row) is None]
    sign = -1.0 if worst else 1.0

    def place(row: Row) -> tuple[str, int, float]:
        budget = budgets.key_of(row.entry) if board.is_grouped else ""
        group, badness = (1, 0.0) if fact and not row.is_control else place_of(row, board.ranked_by)
        return budget, group, badness if row.is_control else sign * badness

    return tuple(sorted(found, key=place))
