"""A board beside one of its rows: by how much each number differs from that row's, and if surely."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from leaderboards.board import Cell, Column, Row
from leaderboards.ranking import badness_of, has_leader, of_survivors
from leaderboards.scores.refusal import QueryError
from leaderboards.statistics.differences import Difference, difference

NAME = "baseline"  # of the parameter
FORM = "[0-9]{1,18}(:.+)?"  # key of an entry, and its sampler where it has several
EXACT = ("nfe", "parameters")  # counted, not timed: one seed tells them
Verdict = Literal["better", "worse", "differs", ""]


@dataclass(frozen=True)
class Compared:
    """One number beside the baseline's; a verdict only where the interval excludes 0."""

    difference: Difference
    verdict: Verdict
    note: str  # why there is no verdict, or what else the difference may come from


def check(text: str) -> None:
    """Raise a `QueryError` unless the text can name a row."""
    if text and not re.fullmatch(FORM, text):
        raise QueryError(NAME, f"expected the id of an entry, or id:sampler, got {text[:50]!r}")


def address_of(row: Row) -> str:
    """Return a row as addresses name it."""
    return f"{row.entry.pk}:{row.sampler_label}"


def chosen(rows: Iterable[Row], text: str) -> Row:
    """Return the row that an address names.

    Raises:
        QueryError: if the board has none, or several, of this name.
    """
    key, _, label = text.partition(":")
    mine = [row for row in rows if str(row.entry.pk) == key]
    found = [row for row in mine if label in ("", row.sampler_label)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(map(address_of, mine)) or "the id of an entry on this board"
    raise QueryError(NAME, f"expected one of {known}, got {text[:50]!r}")


def compared(row: Row, baseline: Row, column: Column) -> Compared | None:
    """Return a row's number beside the baseline's; None where either is missing, or it is its own."""
    ours, theirs = row.cells[column.key], baseline.cells[column.key]
    is_own = address_of(row) == address_of(baseline)
    if is_own or ours.value is None or theirs.value is None or not (ours.seeds and theirs.seeds):
        return None
    found = beside(ours, theirs, column)
    notes = filter(None, (found.note, _of_budgets(row, baseline)))
    return replace(found, note="; ".join(notes))


def beside(ours: Cell, theirs: Cell, column: Column) -> Compared:
    """Return a number beside another; both have a value and seeds."""
    assert ours.value is not None, "what is absent has no difference"
    assert theirs.value is not None, "what is absent has no difference"
    found = difference(ours.seeds, theirs.seeds)
    timed_once = len(ours.seeds) == len(theirs.seeds) == 1 and column.corner == "cost"
    if timed_once and column.key not in EXACT:
        found = Difference(found.value)
    unsure = _why_unsure(ours, theirs, column)
    if not unsure and found.low is None:
        unsure = "its error is not known"
    worse = badness_of(ours.value, column) - badness_of(theirs.value, column)
    verdict = _verdict(worse, column, no_merit=theirs.no_merit if worse > 0 else ours.no_merit)
    return Compared(found, verdict if found.is_sure and not unsure else "", unsure)


def _why_unsure(ours: Cell, theirs: Cell, column: Column) -> str:
    """Return why a difference tells nothing, whatever its interval."""
    if of_survivors(ours, column) or of_survivors(theirs, column):
        return "seeds were lost: those that are left are not the sample"
    return "seeds are still to come" if ours.provisional or theirs.provisional else ""


def _verdict(worse: float, column: Column, *, no_merit: str) -> Verdict:
    """Return what a sure difference says: by how much ours is worse, and if the better is no merit."""
    if not has_leader(column) or worse == 0 or no_merit:
        return "differs"
    return "worse" if worse > 0 else "better"


def _of_budgets(row: Row, baseline: Row) -> str:
    if row.is_control or baseline.is_control or row.budget == baseline.budget:
        return ""
    return f"budgets differ, too: {row.budget.words} and {baseline.budget.words}"
