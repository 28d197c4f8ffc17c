"""One column of a board for many rows: what its cells say, as lists, and how exports write it."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from leaderboards.board import Cell, Column
from leaderboards.formats.rows import each_once
from leaderboards.marks import NEAR_TRAINING, NEARER

UNKNOWN = ("unknown", "declared")  # what is known of a cost that was not measured here


class Numbers(NamedTuple):
    """The cells of one column, in the order of rows; names are those of `Cell`."""

    value: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    interval_of: Sequence[str]
    plug_in: Sequence[float | None]
    declared: Sequence[float | None]
    unknown: Sequence[bool]
    seeds: Sequence[int]  # how many have a value
    seeds_lost: Sequence[int]
    provisional: Sequence[bool]
    rank: Sequence[int | None]
    rank_low: Sequence[int | None]
    rank_high: Sequence[int | None]
    leads: Sequence[bool]
    beats_control: Sequence[bool]
    near_training: Sequence[bool]
    no_merit: Sequence[str]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "Numbers":
        """Return the numbers of one cell or more."""
        found: dict[str, Any] = dict(zip(Cell._fields, zip(*cells, strict=True), strict=True))
        found["seeds"] = list(map(len, found["seeds"]))
        return cls(**{name: found[name] for name in cls._fields})

    def columns(
        self, column: Column, are_controls: Sequence[bool], totals: Sequence[int]
    ) -> list[Sequence[object]]:
        """Return what is exported of the column: a list for each of its fields.

        `totals` are the seeds of the rows, with or without a value.
        """
        if column.corner == "cost":
            return [self.value, self._known(are_controls), self.declared]
        counted = each_once(_seeds, list(zip(self.seeds, totals, strict=True)))
        told = (self.low, self.high, self.interval_of, self.plug_in, counted)
        return [self.value, *told, self.joined_remarks()]

    def _known(self, are_controls: Sequence[bool]) -> list[str]:
        known = [
            (control, bool(unknown), declared is None, value is None)
            for control, unknown, declared, value in zip(
                are_controls, self.unknown, self.declared, self.value, strict=True
            )
        ]
        return each_once(_basis, known)

    def joined_remarks(self) -> list[str]:
        """Return in words what is marked in each cell."""
        marks = zip(self.beats_control, self.near_training, self.no_merit, strict=True)
        return each_once(lambda found: "; ".join(remarks_of(*found)), list(marks))


def _seeds(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _basis(known: tuple[bool, bool, bool, bool]) -> str:
    """Return what is known of a cost: "measured", "unknown", "declared", "to come" or "none"."""
    is_control, is_unknown, undeclared, is_absent = known
    if is_control:
        return "none"
    if is_unknown:
        return "unknown" if undeclared else "declared"
    return "to come" if is_absent else "measured"


def remarks_of(beats_control: bool, near_training: bool, no_merit: str) -> list[str]:
    """Return in words what is marked in a cell."""
    words: Iterable[str] = (NEARER * beats_control, NEAR_TRAINING * near_training, no_merit)
    return [word for word in words if word]
