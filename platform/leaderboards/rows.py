"""The rows of a board, read from the database: an entry with a sampler, a cell per metric and cost."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, TypeVar

from catalog.models import Protocol
from experiments.models import Entry, Evaluation, Experiment, MetricValue, Run, SampleSet
from jobs.models import Status
from leaderboards.board import Cell, Column, Row, kind_of
from leaderboards.intervals import mean_interval

T = TypeVar("T", Run, SampleSet)
Values = dict[int, dict[str, MetricValue]]


def rows_of(
    protocol: Protocol, columns: tuple[Column, ...], experiment: Experiment | None
) -> list[Row]:
    """Return the rows of a protocol's board, not yet ranked: of one experiment, or of all."""
    entries = Entry.objects.filter(experiment__protocols=protocol).select_related("experiment")
    if experiment is not None:
        entries = entries.filter(experiment=experiment)
    runs = _by_entry(Run.objects.filter(entry__in=entries))
    sets = _by_entry(SampleSet.objects.filter(entry__in=entries).select_related("run"))
    values = _values(protocol, entries)
    unscored = _failed(protocol, entries)
    rows = []
    for entry in _once(entries, protocol):
        for label in _sampler_labels(entry, sets[entry.pk]):
            drawn = [s for s in sets[entry.pk] if s.sampler_label == label]
            failed = _seeds_failed(runs[entry.pk], drawn, unscored)
            rows.append(_row(entry, label, columns, runs[entry.pk], drawn, values, failed))
    return rows


def _once(entries: Iterable[Entry], protocol: Protocol) -> list[Entry]:
    """Return the entries with each control once: the first that was scored, else the oldest."""
    scored = Evaluation.objects.filter(
        protocol=protocol,
        status=Status.COMPLETED,
        sample_set__entry__kind=Entry.Kind.CONTROL,
        sample_set__entry__in=entries,
    )
    order = scored.order_by("finished_at", "pk").values_list("sample_set__entry_id", flat=True)
    places = {pk: place for place, pk in enumerate(order)}
    first: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: (places.get(e.pk, len(places)), e.pk)):
        first.setdefault(kind_of(entry), entry)
    return [entry for entry in entries if not kind_of(entry) or first[kind_of(entry)] == entry]


def _by_entry(items: Iterable[T]) -> dict[int, list[T]]:
    found: dict[int, list[T]] = defaultdict(list)
    for item in items:
        found[item.entry_id].append(item)
    return found


def _values(protocol: Protocol, entries: Iterable[Entry]) -> Values:
    """Return the metric values of completed evaluations, by sample set and metric."""
    found: Values = defaultdict(dict)
    chosen = (
        MetricValue.objects.filter(
            evaluation__protocol=protocol,
            evaluation__status=Status.COMPLETED,
            evaluation__sample_set__entry__in=entries,
        )
        .select_related("evaluation")
        .order_by("pk")
    )
    for value in chosen:
        found[value.evaluation.sample_set_id][value.metric] = value
    return found


def _failed(protocol: Protocol, entries: Iterable[Entry]) -> set[int]:
    """Return the sample sets whose evaluation under the protocol failed."""
    failed = Evaluation.objects.filter(
        protocol=protocol, sample_set__entry__in=entries, status=Status.FAILED
    )
    return set(failed.order_by("pk").values_list("sample_set_id", flat=True))


def _seeds_failed(runs: list[Run], sets: list[SampleSet], unscored: set[int]) -> int:
    """Return how many seeds will have no value: their run, samples or evaluation failed."""
    lost = [s for s in sets if s.status == Status.FAILED or s.pk in unscored]
    without_values = {s.run_id for s in lost}
    without_values |= {run.pk for run in runs if run.status == Status.FAILED}
    return len(without_values)


def _sampler_labels(entry: Entry, drawn: list[SampleSet]) -> list[str]:
    if entry.spec is not None:
        return entry.sampler_labels
    labels = sorted({sample_set.sampler_label for sample_set in drawn})
    is_missing = entry.kind != Entry.Kind.CONTROL  # its package is not installed any more
    return labels or ["not sampled"] * is_missing


def _row(
    entry: Entry,
    label: str,
    columns: tuple[Column, ...],
    runs: list[Run],
    sets: list[SampleSet],
    values: Values,
    seeds_failed: int,
) -> Row:
    scored = [s for s in sets if s.pk in values]
    cells = {}
    for column in columns:
        if column.corner == "cost" and entry.kind == Entry.Kind.CONTROL:
            cells[column.key] = Cell(None, reason="no model draws these images")
        elif column.corner == "cost":
            cells[column.key] = _cost_cell(column.key, runs, sets)
        else:
            cells[column.key] = _metric_cell(column, [values[s.pk] for s in scored])
    return Row(
        entry=entry,
        sampler_label=label,
        seeds_scored=len(scored),
        seeds_total=len(runs) or len(sets),
        seeds_failed=seeds_failed,
        cells=cells,
        sample_sets=tuple(sets),
    )


def _cost_cell(key: str, runs: list[Run], sets: list[SampleSet]) -> Cell:
    jobs = runs if key in ("parameters", "device_seconds") else sets
    numbers = [getattr(job, key) for job in jobs if job.status == Status.COMPLETED]
    numbers = [number for number in numbers if number is not None]
    if not numbers:
        return Cell(None, reason="not measured yet")
    return Cell(sum(numbers) / len(numbers))


def _metric_cell(column: Column, scored: list[dict[str, MetricValue]]) -> Cell:
    """Return the mean over seeds; with one seed, its value and the interval over its images."""
    found = [values[column.key] for values in scored if column.key in values]
    known = [v for v in found if v.value is not None and math.isfinite(estimate(v))]
    absent = _why_absent(found, known)
    if not known:
        return Cell(None, reason=absent or "not scored yet")
    estimates = [estimate(v) for v in known]
    plug_in = sum(v.value or 0.0 for v in known) / len(known)
    details = tuple(v.details for v in known)
    if len(known) == 1:
        only = known[0]
        interval: Literal["images", ""] = "images" if only.low is not None else ""
        reason = absent or only.reason
        return Cell(
            estimates[0], only.low, only.high, interval, plug_in, reason=reason, details=details
        )
    mean, low, high = mean_interval(estimates, minimum=column.minimum, maximum=column.maximum)
    return Cell(mean, low, high, "seeds", plug_in, reason=absent, details=details)


def _why_absent(found: list[MetricValue], known: list[MetricValue]) -> str:
    """Return why some of the scored seeds have no value; empty when all have one."""
    absent = [v for v in found if v not in known]
    if not absent:
        return ""
    reason = absent[0].reason or "not finite"
    return reason if len(found) == 1 else f"{len(absent)} of {len(found)} seeds: {reason}"


def estimate(value: MetricValue) -> float:
    """Return the number a board shows: the bias-corrected one where there is one."""
    assert value.value is not None, "an absent value has no estimate"
    return value.value if value.bias_corrected is None else value.bias_corrected
