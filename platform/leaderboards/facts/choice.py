"""Which columns of a board are asked for: of its numbers, and of what else is said of a row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboards.board import Board, Column
from leaderboards.facts.columns import FACTS, NAME, Fact

EVERY = "all"  # in an address: every column that there is


@dataclass(frozen=True)
class Choice:
    """Keys of columns that an address names; none where it leaves the choice to the board."""

    keys: tuple[str, ...] = ()
    every: bool = False

    @classmethod
    def read(cls, text: str, columns: Iterable[Column]) -> "Choice":
        """Return what "fd,recall,device" chooses, or "all", or "".

        Raises:
            ValueError: if there is no such column.
        """
        if text in ("", EVERY):
            return cls(every=text == EVERY)
        known = [*(column.key for column in columns), *(key for key in FACTS if key != NAME)]
        keys = tuple(dict.fromkeys(text.split(",")))
        if unknown := [key[:50] for key in keys if key not in known]:
            raise ValueError(f"expected {EVERY} or some of {', '.join(known)}, got {unknown[0]!r}")
        return cls(keys)

    @property
    def is_own(self) -> bool:
        """Whether columns are named one by one."""
        return bool(self.keys)

    def shown(self, board: Board) -> list[Column]:
        """Return the columns of a page: that by which rows stand is always among them."""
        sorted_by = board.ranked_by.key
        if self.is_own:
            return [c for c in board.columns if c.key in (*self.keys, sorted_by)]
        return [c for c in board.columns if self.every or c.headline or c.key == sorted_by]

    def exported(self, board: Board) -> Sequence[Column]:
        """Return the columns of an export: all, unless they are named."""
        return self.shown(board) if self.is_own else board.columns

    def facts(self, board: Board) -> list[Fact]:
        """Return what else is said of rows, the name apart; by default of all experiments' board."""
        others = [fact for key, fact in FACTS.items() if key != NAME]
        if self.is_own:
            return [fact for fact in others if fact.key in (*self.keys, board.sort_key)]
        return others if self.every or not board.experiment else []
