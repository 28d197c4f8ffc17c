"""Whether an experiment is the one that a specification describes, and what differs if not."""

from typing import Any

from experiments.models import Entry, Experiment, Search
from experiments.submission import pipelines
from experiments.submission.joining import JOINED
from experiments.submission.reading import SearchSpec
from experiments.submission.specification import EntrySpec, ExperimentSpec

ABSENT = "nothing"
SPECIFIED = (Entry.Kind.GENERATOR, Entry.Kind.PIPELINE)  # kinds that specifications name


def differences(experiment: Experiment, spec: ExperimentSpec) -> dict[str, str]:
    """Return each dotted path at which they differ with both values; empty if they are the same."""
    before, after = _described(experiment), _specified(spec)
    if before["entries"] == after["entries"]:
        pairs = zip(_submitted(experiment), spec.entries, strict=True)
        for index, (submitted, specified) in enumerate(pairs):
            before |= _entry(f"entries.{index}", _as_known_now(submitted, specified))
            after |= _entry(f"entries.{index}", specified)
    return {
        path: f"{before.get(path, ABSENT)} when it was submitted, {after.get(path, ABSENT)} now"
        for path in before | after
        if before.get(path, ABSENT) != after.get(path, ABSENT)
    }


def _as_known_now(entry: Entry, spec: EntrySpec) -> Entry:
    """Return an entry with what is known of a hub's pipeline since a worker has fetched it."""
    if entry.kind == Entry.Kind.PIPELINE and "card" in spec.config and "card" not in entry.config:
        entry.samplers = pipelines.as_known_now(entry.config, entry.samplers)
        entry.config = {**entry.config, "card": spec.config["card"]}
    return entry


def _submitted(experiment: Experiment) -> list[Entry]:
    """Return the entries that were submitted with the experiment, not those that joined later."""
    found = experiment.entries.filter(kind__in=SPECIFIED).select_related("search")
    return [each for each in found if JOINED not in each.config and _was_there(each)]


def _was_there(entry: Entry) -> bool:
    """Whether an entry was there from the beginning, as what a search found later was not."""
    if entry.search is None or entry.trial is None:
        return True
    return 1 <= entry.trial <= entry.search.laid_out


def _described(experiment: Experiment) -> dict[str, Any]:
    return {
        "dataset": experiment.dataset.slug,
        "protocols": sorted(protocol.label for protocol in experiment.protocols.all()),
        "budget": experiment.budget,
        "seeds": experiment.seeds,
        "memory_gb": experiment.memory_gb,
        "entries": [entry.label for entry in _submitted(experiment)],
    }


def _specified(spec: ExperimentSpec) -> dict[str, Any]:
    budget = Experiment(budget_images=spec.budget_images, budget_seconds=spec.budget_seconds).budget
    return {
        "dataset": spec.dataset.slug,
        "protocols": sorted(protocol.label for protocol in spec.protocols),
        "budget": budget,
        "seeds": spec.seeds,
        "memory_gb": spec.memory_gb,
        "entries": [entry.label for entry in spec.entries],
    }


def _entry(path: str, entry: Entry | EntrySpec) -> dict[str, Any]:
    config = {f"{path}.config.{name}": value for name, value in entry.config.items()}
    searched = {} if entry.search is None else {f"{path}.search": _told(entry.search)}
    return {
        f"{path}.algorithm": entry.algorithm,
        **searched,
        **config,
        f"{path}.samplers": entry.samplers,
    }


def _told(search: Search | SearchSpec) -> str:
    told = (
        f"{name} {getattr(search, name)}"
        for name in ("objective", "trials", "method", "runs", "seed")
    )
    return ", ".join(told)
