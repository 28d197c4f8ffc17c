"""The exports: runs, sample sets, metric values, loss curves, and the lines of timelines."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from api.exports.tables import JOB, Column, Found, Table, added, durations, of_entry
from catalog.models import Protocol
from experiments.models import Evaluation, Experiment, Run, SampleSet
from experiments.questions.models import Question, Viewing

SUBMITTED = (
    Column("budget_images", "whole", "entry__experiment__budget_images"),
    Column("budget_seconds", "number", "entry__experiment__budget_seconds"),
    Column("submitter", path="entry__experiment__created_by__username"),
    added("protocols"),
)


def with_protocols(found: Found) -> Found:
    """Add the fingerprints by which an experiment is measured, with spaces between."""
    through = Experiment.protocols.through.objects
    experiments = found["entry__experiment_id"]
    pairs = through.filter(experiment__in=set(experiments)).order_by("protocol_id")
    measured: dict[int, list[str]] = defaultdict(list)
    for experiment, fingerprint in pairs.values_list("experiment_id", "protocol__fingerprint"):
        measured[experiment].append(fingerprint)
    return {**found, "protocols": [" ".join(measured[each]) for each in experiments]}


RUNS = Table(
    "runs",
    (
        Column("id", "whole"),
        *of_entry("entry"),
        Column("seed", "whole"),
        *JOB,
        *SUBMITTED,
        Column("images_seen", "whole"),
        Column("budget_fraction", "number"),
        Column("device_seconds", "number"),
        Column("autoencoder_seconds", "number"),
        Column("images_per_second", "number"),
        Column("skipped_steps", "whole"),
        Column("parameters", "whole"),
        Column("losses", "json"),
        Column("config", "json", "entry__config"),
        Column("environment", "json"),
        Column("reconstruction", "json"),
    ),
    complete=with_protocols,
)


SAMPLE_SETS = Table(
    "samplesets",
    (
        Column("id", "whole"),
        *of_entry("entry"),
        Column("run", "whole", "run_id"),
        Column("run_seed", "whole", "run__seed"),
        Column("seed", "whole"),  # of an entry without runs: which of its sets
        *JOB,
        *SUBMITTED,
        Column("sampler_label"),
        Column("sampler", "json"),
        Column("count", "whole"),
        Column("first_seed", "whole"),
        Column("drawn", "whole"),
        Column("nfe", "whole"),
        Column("images_per_second", "number"),
        Column("latency_seconds", "number"),
        Column("latency_p95_seconds", "number"),
        Column("batch_size", "whole"),
        Column("peak_memory_bytes", "whole"),
        Column("stand_ins", "whole"),
        Column("sha256"),
        Column("reconstruction", "json"),
        Column("findings", "json"),
        Column("provenance", "json"),
    ),
    complete=with_protocols,
)


def _seeds(found: Found, run: str, own: str) -> list[int | None]:
    """Return the training seeds; where nothing was trained here, which of the entry's sets it is."""
    pairs = zip(found[run], found[own], strict=True)
    return [mine if seed is None else seed for seed, mine in pairs]


def with_labels(found: Found) -> Found:
    """Add how boards name the metric, which its protocol decides."""
    protocols = Protocol.objects.in_bulk(set(found["protocol_id"]))
    pairs = list(zip(found["protocol_id"], found["values__metric"], strict=True))
    labels = {(key, name): protocols[key].metric_label(name) for key, name in set(pairs) if name}
    return {**found, "metric_label": [labels.get(pair) for pair in pairs]}


def _interval_of(found: Found) -> list[str | None]:
    return [None if low is None else "images" for low in found["values__low"]]


SET = "sample_set__run__seed", "sample_set__seed"
VALUES = Table(
    "evaluations",
    (
        Column("id", "whole"),
        *of_entry("sample_set__entry"),
        Column("run", "whole", "sample_set__run_id"),
        Column("seed", "whole", of=lambda found: _seeds(found, *SET)),
        Column("sample_set", "whole", "sample_set_id"),
        Column("sampler_label", path="sample_set__sampler_label"),
        *JOB,
        Column("protocol", path="protocol__fingerprint"),
        Column("protocol_name", path="protocol__name"),
        Column("num_images", "whole", "protocol__num_images"),
        Column("metric", path="values__metric"),
        added("metric_label"),
        Column("value", "number", "values__value"),
        Column("bias_corrected", "number", "values__bias_corrected"),
        Column("standard_error", "number", "values__standard_error"),
        Column("low", "number", "values__low"),
        Column("high", "number", "values__high"),
        Column("interval_of", of=_interval_of),
        Column("value_reason", path="values__reason"),
        Column("details", "json", "values__details"),
    ),
    also=(*SET, "protocol_id"),
    then_by=("values__metric",),
    complete=with_labels,
)


def each_loss(found: Found) -> Found:
    """Return a row for each of the losses that a point of a curve has, by their names."""
    points = json.loads(f"[{','.join(found['losses'])}]")
    names = [sorted(losses) for losses in points]
    times = list(map(len, points))
    rows = found if set(times) == {1} else {p: _repeated(v, times) for p, v in found.items()}
    values = [losses[name] for losses, of_it in zip(points, names, strict=True) for name in of_it]
    return {**rows, "loss": list(chain.from_iterable(names)), "value": values}


def _repeated(values: Sequence[Any], times: Sequence[int]) -> list[Any]:
    """Return every value as often as it says."""
    return [value for value, often in zip(values, times, strict=True) for _ in range(often)]


LOSSES = Table(
    "losses",
    (
        Column("run", "whole", "run_id"),
        *of_entry("run__entry"),
        Column("seed", "whole", "run__seed"),
        Column("status", path="run__status"),
        Column("started_at", "time", "run__started_at"),
        Column("finished_at", "time", "run__finished_at"),
        Column("duration_seconds", "number", of=lambda found: durations(found, "run__")),
        Column("images_seen", "whole"),
        Column("wall_seconds", "number"),
        added("loss"),
        added("value", "number"),
    ),
    also_data=("losses",),
    complete=each_loss,
)

OF_SET = {
    "experiment": "entry__experiment_id",
    "experiment_name": "entry__experiment__name",
    "entry": "entry_id",
    "label": "entry__label",
}
OF_JOB: dict[type[Any], dict[str, str]] = {
    Run: {**OF_SET, "seed": "seed"},
    SampleSet: {
        **OF_SET,
        "seed": "run__seed",
        "own_seed": "seed",
        "sampler_label": "sampler_label",
    },
    Evaluation: {
        **{name: f"sample_set__{path}" for name, path in OF_SET.items()},
        "seed": "sample_set__run__seed",
        "own_seed": "sample_set__seed",
        "sampler_label": "sample_set__sampler_label",
        "protocol": "protocol__fingerprint",
    },
    Question: {"experiment": "experiment_id", "experiment_name": "experiment__name"},
    Viewing: {
        **{name: f"run__{path}" for name, path in OF_SET.items()},
        "seed": "run__seed",
        "sampler_label": "sampler_label",
    },
}
SAID = ("experiment", "experiment_name", "entry", "label", "sampler_label", "protocol")
OF_EVENT = (*SAID, "seed", "own_seed")
ABSENT = (None,) * len(OF_EVENT)


def with_jobs(found: Found) -> Found:
    """Add what the job of each line is of; nothing where it was deleted since."""
    keys = list(zip(found["job_type"], found["job_id"], strict=True))
    said = {pair: told for kind in OF_JOB for pair, told in _said(kind, set(keys))}
    columns = zip(*(said.get(key, ABSENT) for key in keys), strict=True)
    return {**found, **dict(zip(OF_EVENT, columns, strict=True))}


def _said(kind: type[Any], keys: set[tuple[str, int]]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    name, paths = kind.type_name(), OF_JOB[kind]
    asked = {pk for job_type, pk in keys if job_type == name}
    jobs = kind.objects.filter(pk__in=asked).order_by() if asked else kind.objects.none()
    for pk, *values in jobs.values_list("pk", *paths.values()):
        told = dict(zip(paths, values, strict=True))
        yield (name, pk), tuple(map(told.get, OF_EVENT))


EVENTS = Table(
    "events",
    (
        Column("id", "whole"),
        Column("job_type"),
        Column("job_id", "whole"),
        *(added(name, "whole") for name in ("experiment", "entry")),
        *(added(name) for name in ("experiment_name", "label")),
        Column("seed", "whole", of=lambda found: _seeds(found, "seed", "own_seed")),
        *(added(name) for name in ("sampler_label", "protocol")),
        Column("at", "time"),
        Column("kind"),
        Column("attempt", "whole"),
        Column("worker"),
        Column("message"),
    ),
    complete=with_jobs,
)
