"""Pipelines that join an experiment which is there, read from plain data.

They are sampled for its seeds and scored under its protocols. What is trained here does not join: its
budget and its seeds are chosen with those of the others, before anybody has seen a result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.models import Entry, Experiment
from experiments.submission import pipelines
from experiments.submission.reading import EntrySpec, Reader
from experiments.submission.specification import read_entries

JOINED = "joined"  # of an entry's configuration: it was not submitted with its experiment
TRAINED = "expected a pipeline: what is trained here is submitted with its experiment"


@dataclass(frozen=True)
class JoiningSpec:
    """Entries, ready to be written."""

    experiment: Experiment
    entries: list[EntrySpec]


def is_joining(data: Mapping[str, Any]) -> bool:
    """Return whether plain data names an experiment that is there."""
    return data.get("experiment") not in (None, "")


def read_joining(data: Mapping[str, Any]) -> JoiningSpec:
    """Return what is to join: `{"experiment": a name or a number, "entries": [{"pipeline", …}]}`.

    Raises:
        SpecificationError: with every wrong field.
    """
    reader = Reader()
    reader.unknown("", data, {"experiment", "entries"})
    experiment = reader.experiment(data["experiment"])
    entries = read_entries(reader, data.get("entries"))
    if experiment is not None:
        _check(reader, experiment, entries)
    reader.finish()
    assert experiment is not None, "a missing one is an error above"
    joined = [replace(entry, config={**entry.config, JOINED: True}) for entry in entries]
    return JoiningSpec(experiment, joined)


def _check(reader: Reader, experiment: Experiment, entries: list[EntrySpec]) -> None:
    labels = set(experiment.entries.values_list("label", flat=True))
    protocols = list(experiment.protocols.select_related("dataset", "prompt_set"))
    for entry in entries:
        path = entry.path
        if entry.kind != Entry.Kind.PIPELINE:
            reader.wrong(f"{path}.algorithm", TRAINED)
            continue
        if entry.label in labels:
            reader.wrong(f"{path}.label", f"{entry.label!r} is taken, expected another")
        pipelines.check_fit(reader, path, experiment.dataset, protocols, entry)
