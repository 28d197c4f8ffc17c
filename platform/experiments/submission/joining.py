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


def read_joining(data: Mapping[str, Any], *, again: bool = False) -> JoiningSpec:
    """Return what is to join: `{"experiment": a name or a number, "entries": [{"pipeline", …}]}`.

    With `again`, what has joined already, as it is described, is left out.

    Raises:
        SpecificationError: with every wrong field.
    """
    reader = Reader()
    reader.unknown("", data, {"experiment", "entries"})
    experiment = reader.experiment(data["experiment"])
    entries = read_entries(reader, data.get("entries"))
    entries = [replace(entry, config={**entry.config, JOINED: True}) for entry in entries]
    there = []
    if experiment is not None:
        there = [entry for entry in entries if again and _is_there(experiment, entry)]
        _check(reader, experiment, entries, there)
    reader.finish()
    assert experiment is not None, "a missing one is an error above"
    return JoiningSpec(experiment, [entry for entry in entries if entry not in there])


def _is_there(experiment: Experiment, entry: EntrySpec) -> bool:
    """Return whether an entry has joined as it is described; a hub's card may have come since."""
    found = experiment.entries.filter(kind=Entry.Kind.PIPELINE, label=entry.label).first()
    if found is None or found.config.keys() - entry.config.keys():
        return False
    told = {name: entry.config[name] for name in found.config}
    samplers = pipelines.as_known_now(found.config, found.samplers)
    return bool(found.config == told and samplers == entry.samplers)


def _check(
    reader: Reader, experiment: Experiment, entries: list[EntrySpec], there: list[EntrySpec]
) -> None:
    labels = set(experiment.entries.values_list("label", flat=True))
    protocols = list(experiment.protocols.select_related("dataset", "prompt_set"))
    for entry in entries:
        path = entry.path
        if entry.kind != Entry.Kind.PIPELINE:
            reader.wrong(f"{path}.algorithm", TRAINED)
            continue
        if entry.label in labels and entry not in there:
            reader.wrong(f"{path}.label", f"{entry.label!r} is taken, expected another")
        pipelines.check_fit(reader, path, experiment.dataset, protocols, entry)
