"""Which rows of a board are the same: one configuration that was submitted more than once.

They are no independent evidence: their seeds in common give the same numbers, but for what the
device does differently.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
        name = f"{label} in {experiment}"
        return cls(entry, sampler_label, name, seeds_of(kind, seeds, trial))

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
    first = first_of_each(board)
    return [_with(row, first.get(row.configuration, [])) for row in rows]


def seeds_of(kind: str, seeds: list[int], trial: int | None) -> frozenset[int]:
    """Return an entry's seeds from its kind, those of its experiment and its trial."""
    if kind == Entry.Kind.EXTERNAL:
        return frozenset((0,))
    return frozenset(fresh(seeds) if trial == 0 else seeds)  # 0: what a search runs again


Mine = tuple[str, int, str, frozenset[int]]  # configuration, entry, sampler's label, seeds


def repeats_of(
    mine: Iterable[Mine], first: Mapping[str, list[Submitted]]
) -> Iterator[tuple[str, ...]]:
    """Yield the names of what each of mine repeats, or is repeated by, of `first_of_each`.

    There may be thousands of a configuration and seeds, most with the same names: none of theirs is
    among the first, of which alone these are.
    """
    known: dict[tuple[str, frozenset[int]], tuple[tuple[str, ...], set[tuple[int, str]]]] = {}
    for configuration, entry, sampler_label, seeds in mine:
        same = first.get(configuration, [])
        if (configuration, seeds) not in known:
            common = [each for each in same if seeds & each.seeds]
            names = tuple(each.name for each in common)
            known[configuration, seeds] = names, {each[:2] for each in common}
        names, keys = known[configuration, seeds]
        if (entry, sampler_label) in keys:
            names = _same_as(Submitted(entry, sampler_label, "", seeds), same)
        yield names


def first_of_each(board: Iterable[tuple[str, Submitted]]) -> dict[str, list[Submitted]]:
    """Return what was submitted first of each configuration that was submitted more than once."""
    same: dict[str, list[Submitted]] = defaultdict(list)
    for configuration, submitted in board:
        same[configuration].append(submitted)
    return {key: sorted(each)[:MOST_SAME] for key, each in same.items() if key and len(each) > 1}


def _with(row: Row, same: list[Submitted]) -> Row:
    if not same:
        return row
    return replace(row, same_as=_same_as(Submitted.of(row.entry, row.sampler_label), same))


def _same_as(mine: Submitted, same: list[Submitted]) -> tuple[str, ...]:
    return tuple(each.name for each in same if mine.is_repeated_by(each))
