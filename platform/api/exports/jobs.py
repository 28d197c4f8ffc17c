"""The exports: runs, sample sets, metric values, loss curves, and the lines of timelines."""

from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from api.exports.tables import JOB, Column, Record, Records, Table, of_entry
from catalog.models import Protocol
from experiments.models import Evaluation, Experiment, Run, SampleSet

SUBMITTED = (
    Column("budget_images", "whole", "entry__experiment__budget_images"),
    Column("budget_seconds", "number", "entry__experiment__budget_seconds"),
    Column("submitter", path="entry__experiment__created_by__username"),
    Column("protocols", of=itemgetter("protocols")),
)


def with_protocols(records: Records) -> Records:
    """Add the fingerprints by which an experiment is measured, with spaces between."""
    through = Experiment.protocols.through.objects
    asked = {record["entry__experiment_id"] for record in records}
    pairs = through.filter(experiment__in=asked).order_by("protocol_id")
    found: dict[int, list[str]] = defaultdict(list)
    for experiment, fingerprint in pairs.values_list("experiment_id", "protocol__fingerprint"):
        found[experiment].append(fingerprint)
    return [r | {"protocols": " ".join(found[r["entry__experiment_id"]])} for r in records]


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


def _seed(record: Record, run: str, own: str) -> int | None:
    """Return the training seed; where nothing was trained here, which of the entry's sets it is."""
    found: int | None = record[own] if record[run] is None else record[run]
    return found


def with_labels(records: Records) -> Records:
    """Add how boards name the metric, which its protocol decides."""
    protocols = Protocol.objects.in_bulk({record["protocol_id"] for record in records})
    asked = {(r["protocol_id"], r["values__metric"]) for r in records if r["values__metric"]}
    labels = {(key, metric): protocols[key].metric_label(metric) for key, metric in asked}
    return [
        r | {"metric_label": labels.get((r["protocol_id"], r["values__metric"]))} for r in records
    ]


SET = "sample_set__run__seed", "sample_set__seed"
VALUES = Table(
    "evaluations",
    (
        Column("id", "whole"),
        *of_entry("sample_set__entry"),
        Column("run", "whole", "sample_set__run_id"),
        Column("seed", "whole", of=lambda r: _seed(r, *SET)),
        Column("sample_set", "whole", "sample_set_id"),
        Column("sampler_label", path="sample_set__sampler_label"),
        *JOB,
        Column("protocol", path="protocol__fingerprint"),
        Column("protocol_name", path="protocol__name"),
        Column("num_images", "whole", "protocol__num_images"),
        Column("metric", path="values__metric"),
        Column("metric_label", of=itemgetter("metric_label")),
        Column("value", "number", "values__value"),
        Column("bias_corrected", "number", "values__bias_corrected"),
        Column("standard_error", "number", "values__standard_error"),
        Column("low", "number", "values__low"),
        Column("high", "number", "values__high"),
        Column("interval_of", of=lambda r: None if r["values__low"] is None else "images"),
        Column("value_reason", path="values__reason"),
        Column("details", "json", "values__details"),
    ),
    also=(*SET, "protocol_id"),
    then_by=("values__metric",),
    complete=with_labels,
)


def each_loss(records: Records) -> Records:
    """Return a record for each of the losses that a point of a curve has, by their names."""
    return [
        record | {"loss": name, "value": value}
        for record in records
        for name, value in sorted(record["losses"].items())
    ]


LOSSES = Table(
    "losses",
    (
        Column("run", "whole", "run_id"),
        *of_entry("run__entry"),
        Column("seed", "whole", "run__seed"),
        Column("status", path="run__status"),
        Column("started_at", "time", "run__started_at"),
        Column("images_seen", "whole"),
        Column("wall_seconds", "number"),
        Column("loss", of=itemgetter("loss")),
        Column("value", "number", of=itemgetter("value")),
    ),
    also=("losses",),
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
}
SAID = ("experiment", "experiment_name", "entry", "label", "sampler_label", "protocol")


def with_jobs(records: Records) -> Records:
    """Add what the job of each line is of; nothing where it was deleted since."""
    found = {(kind.type_name(), pk): said for kind in OF_JOB for pk, said in _said(kind, records)}
    absent = dict.fromkeys((*SAID, "seed", "own_seed"))
    return [r | absent | found.get((r["job_type"], r["job_id"]), {}) for r in records]


def _said(kind: type[Any], records: Records) -> Iterable[tuple[int, Record]]:
    asked = {r["job_id"] for r in records if r["job_type"] == kind.type_name()}
    jobs = kind.objects.filter(pk__in=asked).order_by() if asked else kind.objects.none()
    paths = OF_JOB[kind]
    for pk, *values in jobs.values_list("pk", *paths.values()):
        yield pk, dict(zip(paths, values, strict=True))


EVENTS = Table(
    "events",
    (
        Column("id", "whole"),
        Column("job_type"),
        Column("job_id", "whole"),
        *(Column(name, "whole", of=itemgetter(name)) for name in ("experiment", "entry")),
        *(Column(name, of=itemgetter(name)) for name in ("experiment_name", "label")),
        Column("seed", "whole", of=lambda r: _seed(r, "seed", "own_seed")),
        *(Column(name, of=itemgetter(name)) for name in ("sampler_label", "protocol")),
        Column("at", "time"),
        Column("kind"),
        Column("attempt", "whole"),
        Column("worker"),
        Column("message"),
    ),
    complete=with_jobs,
)
