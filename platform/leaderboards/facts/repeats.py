"""Which rows of a board are the same: one configuration that was submitted more than once.

They are no independent evidence: their seeds in common give the same numbers, but for what the
device does differently.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from experiments.models import Entry
from leaderboards.board import MOST_SAME, Row


class Submitted(NamedTuple):
    """One row of a board, as far as others may be the same."""

    entry: int
    sampler_label: str
    name: str
    seeds: frozenset[int]

    @classmethod
    def of(cls, entry: Entry, sampler_label: str) -> "Submitted":
        has_seeds = entry.kind != Entry.Kind.EXTERNAL
        seeds = frozenset(entry.experiment.seeds if has_seeds else (0,))
        if entry.trial == 0 and entry.search is not None:  # what a search runs again
            seeds = frozenset(entry.search.fresh_seeds)
        return cls(entry.pk, sampler_label, f"{entry.label} in {entry.experiment.name}", seeds)

    def is_repeated_by(self, other: "Submitted") -> bool:
        """Whether another of its configuration has seeds in common."""
        return self[:2] != other[:2] and bool(self.seeds & other.seeds)


def with_repeats(
    rows: list[Row], board: Iterable[tuple[str, Submitted]] | None = None
) -> list[Row]:
    """Return the rows with the names of what each of them repeats, or is repeated by.

    `board` are the configurations of the whole board, each with what was submitted of it first;
    None: these rows are the whole.
    """
    if board is None:
        board = ((row.configuration, Submitted.of(row.entry, row.sampler_label)) for row in rows)
    same: dict[str, list[Submitted]] = defaultdict(list)
    for configuration, submitted in board:
        same[configuration].append(submitted)
    first = {key: sorted(each)[:MOST_SAME] for key, each in same.items() if key and len(each) > 1}
    return [_with(row, first.get(row.configuration, [])) for row in rows]


def _with(row: Row, same: list[Submitted]) -> Row:
    if not same:
        return row
    mine = Submitted.of(row.entry, row.sampler_label)
    return replace(row, same_as=tuple(each.name for each in same if mine.is_repeated_by(each)))
