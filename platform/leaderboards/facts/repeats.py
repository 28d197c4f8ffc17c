"""Which rows of a board are the same: one configuration that was submitted more than once.

They are no independent evidence: their seeds in common give the same numbers, but for what the
device does differently.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from experiments.models import Entry
from experiments.searches.models import fresh
from leaderboards.board import MOST_SAME, Row


class Submitted(NamedTuple):
    """One row of a board, as far as others may be the same."""

    entry: int
    sampler_label: str
    name: str
    seeds: frozenset[int]

    @classmethod
    def of(cls, entry: Entry, sampler_label: str) -> "Submitted":
        experiment = entry.experiment
        told = entry.label, entry.kind, experiment.name, experiment.seeds, entry.trial
        return cls.told(entry.pk, sampler_label, *told)

    @classmethod
    def told(
        cls,
        entry: int,
        sampler_label: str,
        label: str,
        kind: str,
        experiment: str,
        seeds: list[int],
        trial: int | None,
    ) -> "Submitted":
        """Return it from an entry's key, label, kind and trial, its experiment's name and seeds."""
        has_seeds = kind != Entry.Kind.EXTERNAL
        name = f"{label} in {experiment}"
        mine = fresh(seeds) if trial == 0 else seeds  # 0: what a search runs again
        return cls(entry, sampler_label, name, frozenset(mine if has_seeds else (0,)))

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
