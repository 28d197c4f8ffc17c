"""Configurations of the compared entries: what was asked for, side by side."""

from dataclasses import dataclass

from experiments.comparison import ConfigRow, config_rows
from leaderboards.comparing.sides import Comparison, Side

TOLD = ("algorithm", "samplers")  # told as facts of the side, not as options


@dataclass(frozen=True)
class Configuration:
    """Rows of all sides, in their order; None where a side has no such field."""

    facts: tuple[ConfigRow, ...]  # of the experiment and of the run
    shared: tuple[ConfigRow, ...]  # fields that all trained sides have
    own: tuple[ConfigRow, ...]  # fields that only some algorithms have

    @property
    def differing(self) -> tuple[ConfigRow, ...]:
        """Return what differs, without the fields that only some have."""
        return tuple(row for row in (*self.facts, *self.shared) if row.differs)

    @property
    def alike(self) -> int:
        """Return how many rows are equal on all sides."""
        return sum(not row.differs for row in (*self.facts, *self.shared))

    @property
    def rows(self) -> tuple[ConfigRow, ...]:
        return (*self.facts, *self.shared, *self.own)


def configuration(comparison: Comparison) -> Configuration:
    """Return everything that was asked for of each side."""
    fields = [row for row in _fields(comparison) if row.name not in TOLD]
    trained = [bool(side.entry.algorithm) for side in comparison.sides]

    def is_shared(row: ConfigRow) -> bool:
        return all(v is not None for v, t in zip(row.values, trained, strict=True) if t)

    shared = tuple(row for row in fields if is_shared(row))
    own = tuple(row for row in fields if not is_shared(row))
    return Configuration(_facts(comparison.sides), shared, own)


def _fields(comparison: Comparison) -> list[ConfigRow]:
    """Return the options of what was trained here; other sides have none."""
    trained = [side.entry for side in comparison.sides if side.entry.algorithm]
    places = iter(range(len(trained)))
    at = [next(places) if side.entry.algorithm else None for side in comparison.sides]
    return [
        ConfigRow(row.name, row.help, tuple(None if k is None else row.values[k] for k in at))
        for row in config_rows(trained)
    ]


def _facts(sides: tuple[Side, ...]) -> tuple[ConfigRow, ...]:
    rows = {
        "experiment": [side.entry.experiment.name for side in sides],
        "dataset": [side.entry.experiment.dataset.name for side in sides],
        "algorithm": [side.entry.algorithm_label for side in sides],
        "sampler": [side.sampler_label for side in sides],
        "budget": [side.entry.experiment.budget if side.entry.algorithm else "" for side in sides],
        "training seeds": [", ".join(str(run.seed) for run in side.runs) for side in sides],
        "device": [_devices(side) for side in sides],
    }
    return tuple(
        ConfigRow(name, "", tuple(value or None for value in values))
        for name, values in rows.items()
    )


def _devices(side: Side) -> str:
    found = {str(run.environment["device"]) for run in side.runs if run.environment.get("device")}
    return ", ".join(sorted(found))
