"""What trainings may use: an entry is ranked among those of its own budget, and no others.

What was trained elsewhere has no budget that anybody here knows. It is ranked with the entries
trained here where they all have one budget, and apart from them where they have several.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from experiments import controls
from experiments.models import Entry, Experiment

ELSEWHERE = "elsewhere"  # in an address: what was not trained here
REAL, ASIDE = "0", "4"  # keys of controls: before all budgets, and behind them
IMAGES, SECONDS, UNKNOWN = "1", "2", "3"  # what keys of budgets begin with
MICROSECONDS = 1_000_000  # in a second: finer budgets are the same


@dataclass(frozen=True)
class Budget:
    """Images seen, or seconds of a device; neither where nobody knows."""

    images: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, entry: Entry) -> "Budget":
        """Return the budget that an entry was trained with."""
        experiment = entry.experiment
        return cls.told(entry.kind, experiment.budget_images, experiment.budget_seconds)

    @classmethod
    def told(cls, kind: str, images: int | None, seconds: float | None) -> "Budget":
        """Return it from an entry's kind and the budget of its experiment."""
        return cls(images, seconds and round(seconds, 6)) if kind == Entry.Kind.GENERATOR else cls()

    @classmethod
    def read(cls, value: str) -> "Budget":
        """Return the budget that an address names: "1000000" images, "60s" or "elsewhere".

        Raises:
            ValueError: if it names none.
        """
        if value == ELSEWHERE:
            return cls()
        if re.fullmatch("[0-9]{1,18}", value):
            return cls(images=int(value))
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?s", value):
            return cls(seconds=float(value[:-1]))
        raise ValueError(
            f"expected images as 1000000, seconds as 60s or {ELSEWHERE}, got {value!r}"
        )

    @classmethod
    def of_key(cls, key: str) -> "Budget":
        if key.startswith(IMAGES):
            return cls(images=int(key[1:]))
        return cls(seconds=int(key[1:]) / MICROSECONDS) if key.startswith(SECONDS) else cls()

    @property
    def is_known(self) -> bool:
        return self != Budget()

    @property
    def key(self) -> str:
        """Return it as text whose order is that of budgets, in Python and in any database."""
        if self.images is not None:
            return f"{IMAGES}{self.images:019d}"
        return f"{SECONDS}{round(self.seconds * MICROSECONDS):019d}" if self.seconds else UNKNOWN

    @property
    def value(self) -> str:
        """Return it as addresses name it."""
        if self.images is not None:
            return str(self.images)
        return f"{self.seconds:.6f}".rstrip("0").rstrip(".") + "s" if self.seconds else ELSEWHERE

    @property
    def words(self) -> str:
        known = Experiment(budget_images=self.images, budget_seconds=self.seconds).budget
        return known or "trained elsewhere"


def key_of(entry: Entry) -> str:
    """Return the key of an entry's budget, or that of a control."""
    if entry.control:
        return REAL if entry.control.kind == controls.TEST else ASIDE
    return Budget.of(entry).key


def in_order(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """Return each budget once."""
    return tuple(sorted(set(budgets), key=lambda budget: budget.key))


def are_several(budgets: Iterable[Budget]) -> bool:
    """Return whether entries of these budgets are ranked apart."""
    return sum(budget.is_known for budget in set(budgets)) > 1
