"""What a row's numbers are of: the device they were made on, the configuration that made them."""

import hashlib
import json
from collections.abc import Iterable

from experiments.models import Entry, Run, SampleSet
from jobs.models import Status
from leaderboards.origins.budgets import Budget

LONGEST = 200  # characters of devices


def device_of(entry: Entry, runs: Iterable[Run], sets: Iterable[SampleSet]) -> str:
    """Return what an entry was trained on, a pipeline what it was drawn on; "" if nobody knows."""
    if entry.kind == Entry.Kind.CONTROL:
        return ""
    told = [run.environment for run in runs if run.status == Status.COMPLETED]
    told += [s.provenance.get("environment", {}) for s in sets if s.status == Status.COMPLETED]
    names = {str(each.get("device", "")) for each in told}
    return ", ".join(sorted(filter(None, names)))[:LONGEST]


def configuration_of(entry: Entry, sampler_label: str) -> str:
    """Return a digest of all that makes an entry's samples but their seeds; "" of a control.

    Two rows of a board that have it in common are the same method: their datasets are that of the
    board's protocol.
    """
    if entry.kind == Entry.Kind.CONTROL:
        return ""
    made_by = entry.config
    if entry.kind == Entry.Kind.EXTERNAL:
        made_by = {"sets": sorted(each["sha256"] for each in entry.config["sets"])}
    facts = [entry.kind, entry.algorithm, made_by, sampler_label, Budget.of(entry).key]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
