"""What was submitted, as it can be submitted again: the other way round than `specification`."""

from dataclasses import fields
from typing import Any

from django.db.models import prefetch_related_objects

from experiments.models import Entry, Experiment, Search
from experiments.tags.asking import words_of
from generators.specs.pipelines.options import PipelineConfig

OF_SEARCH = ("objective", "trials", "method", "runs", "seed")
PARTS = ("entries__search", "protocols", "tags")  # of an experiment that are read
RECORDED = (Entry.Kind.GENERATOR, Entry.Kind.PIPELINE)


def record_of(experiment: Experiment) -> dict[str, Any]:
    """Return plain data that describes the experiment; another name makes another one.

    Configurations and samplers are complete: presets and defaults that change later change nothing.
    Samples that were handed in are left out, and controls, which every experiment gets.

    Raises:
        ValueError: if nothing is trained or drawn in it.
    """
    prefetch_related_objects([experiment], *PARTS)
    mine = [entry for entry in experiment.entries.all() if entry.kind in RECORDED]
    entries = [_entry(entry) for entry in mine if entry.trial in (None, 1)]
    if not entries:
        raise ValueError(f"nothing is trained in {experiment}: its entries were made elsewhere")
    budget, tags = _budget(experiment), words_of(experiment.tags.all())
    return {
        "name": experiment.name,
        "dataset": experiment.dataset.slug,
        "protocols": [protocol.fingerprint for protocol in experiment.protocols.all()],
        **({"budget": budget} if budget else {}),
        "seeds": experiment.seeds,
        "memory_gb": experiment.memory_gb,
        **({"tags": tags} if tags else {}),
        "entries": entries,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    shared = {"label": entry.label, "config": entry.config, "samplers": entry.samplers}
    if entry.search is not None:
        return _searched(entry, entry.search)
    if entry.kind == Entry.Kind.GENERATOR:
        return {"algorithm": entry.algorithm, **shared}
    told = {name: entry.config[name] for name in ("pipeline", "revision") if entry.config[name]}
    loaded = {field.name: entry.config[field.name] for field in fields(PipelineConfig)}
    return {**told, **shared, "config": loaded}


def _searched(entry: Entry, search: Search) -> dict[str, Any]:
    """Return the entry that stands for all trials of a search, by one of them."""
    looked_for = {name: getattr(search, name) for name in OF_SEARCH}
    return {
        "algorithm": entry.algorithm,
        "label": search.label,
        "config": {name: v for name, v in entry.config.items() if name not in search.options},
        "samplers": entry.samplers,
        "search": {"options": search.given, **looked_for},
    }


def _budget(experiment: Experiment) -> dict[str, float] | None:
    """Return the budget, None where nothing is trained."""
    if experiment.budget_images is not None:
        return {"images": experiment.budget_images}
    seconds = experiment.budget_seconds
    return None if seconds is None else {"device_seconds": seconds}
