"""What readers of submissions share: entries as they will be written, and what is wrong by its field."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.names import name_problem
from experiments.models import Entry, Experiment
from generators.specs.options import ConfigError, Value, unknown_fields


class SpecificationError(ValueError):
    """Wrong values; `errors` maps "entries.0.config.beta" to what was expected there."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{path}: {text}" for path, text in errors.items()))


@dataclass(frozen=True)
class SearchSpec:
    """A search as it will be written, with the key of the protocol that measures its objective."""

    label: str
    objective: str
    method: str
    options: dict[str, dict[str, Any]]
    given: dict[str, Any]
    trials: int
    runs: int
    seed: int
    protocol: int | None = None  # known when protocols are read
    path: str = ""  # where it was given: "entries.0.search"


@dataclass(frozen=True)
class EntrySpec:
    """A generator or a pipeline that takes part: complete config, at least one sampler."""

    label: str
    algorithm: str
    config: dict[str, Any]
    samplers: list[dict[str, Value]]
    places: list[int]  # of each sampler, among those that were given: one may stand for several
    kind: str = Entry.Kind.GENERATOR
    path: str = ""  # where it was given: "entries.0"
    search: SearchSpec | None = None  # that tries it
    trial: int | None = None  # from 1


class Reader:
    """Collects what is wrong while a mapping is read."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}
        self.moved: dict[str, str] = {}  # paths of values to where these were given

    def wrong(self, path: str, message: str) -> None:
        self.errors.setdefault(self.moved.get(path, path), message)

    def unknown(self, path: str, found: Mapping[str, Any], known: Collection[str]) -> None:
        for name, message in sorted(unknown_fields(found, sorted(known)).items()):
            self.wrong(path + name, message)

    def take(self, path: str, error: ConfigError) -> None:
        for name, message in error.errors.items():
            self.wrong(f"{path}.{name}", message)

    def label(self, path: str, given: object, default: str, varied: str = "") -> str:
        """Return an entry's label, by default what it is called anyway; with what a grid varies."""
        label = default if given is None or given == "" else given
        label = f"{label} {varied}" if varied and isinstance(label, str) else label
        if problem := name_problem(label, 100):
            self.wrong(f"{path}.label", problem)
        return str(label).strip()

    def experiment(self, given: object) -> Experiment | None:
        """Return the experiment of a name or a number; None, and wrong, where there is none."""
        text = str(given)
        found = Experiment.objects.filter(name=text).first()
        if found is None and re.fullmatch(r"[0-9]{1,18}", text):
            found = Experiment.objects.filter(pk=int(text)).first()
        if found is None:
            self.wrong("experiment", f"expected the name or number of one, got {given!r}"[:300])
        return found

    def finish(self) -> None:
        if self.errors:
            raise SpecificationError(self.errors)
