"""The rows of a board, read from the database: an entry with a sampler, a cell per metric and cost."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from statistics import fmean
from typing import Any, Literal, TypeVar

from django.db.models import F, QuerySet

from catalog.models import Protocol
from evaluation.protocols.metric_specs import MetricSpec
from experiments.models import Entry, Evaluation, Experiment, MetricValue, Run, SampleSet
from jobs.models import Status
from leaderboards.board import Cell, Column, Row, kind_of, shown
from leaderboards.origins.sources import configuration_of, device_of
from leaderboards.statistics.spread import LARGEST, Seed, mean_interval

T = TypeVar("T", Run, SampleSet)
Values = dict[int, dict[str, MetricValue]]
LOST = (Status.FAILED, Status.CANCELLED)
SAME = "no interval: all seeds have one value, so their spread is unknown"
LACK_IMAGES = ("fd_population",)  # an absent value says that images are too few, not that it is bad


def rows_of(
    protocol: Protocol,
    columns: tuple[Column, ...],
    experiment: Experiment | None,
    until: date | None = None,
) -> list[Row]:
    """Return the rows of a protocol's board, not yet ranked: of one experiment, or of all.

    With `until` as they stood at the end of that day, but for what was deleted since.
    """
    entries = Entry.objects.filter(experiment__protocols=protocol).select_related("experiment")
    if experiment is not None:
        entries = entries.filter(experiment=experiment)
    else:
        entries = entries.exclude(trial__gte=1)  # of searches: on their experiment's board alone
    if until is not None:
        entries = entries.filter(experiment__created_at__date__lte=until)
    trained = Run.objects.filter(entry__in=entries)
    rows = _rows(protocol, columns, entries, _once(entries, protocol, until), trained, until)
    return rows if experiment is not None else [row for row in rows if not row.is_trial]


def rows_among(
    protocol: Protocol, columns: tuple[Column, ...], entries: Sequence[Entry]
) -> list[Row]:
    """Return the rows of these entries, not yet ranked, controls of every experiment among them."""
    trained = Run.objects.filter(entry__in={entry.source or entry.pk for entry in entries})
    return _rows(protocol, columns, entries, entries, trained)


def _rows(
    protocol: Protocol,
    columns: tuple[Column, ...],
    entries: Iterable[Entry],
    shown: Iterable[Entry],
    trained: Iterable[Run],
    until: date | None = None,
) -> list[Row]:
    drawn_of = SampleSet.objects.filter(entry__in=entries).select_related("run")
    runs, sets = _by_entry(_as_of(trained, until)), _by_entry(_as_of(drawn_of, until))
    evaluations, shown = _evaluations(protocol, entries, until), list(shown)
    values, trials = _values(evaluations), _trials_among(shown)
    unscored = _failed(evaluations)
    scored = _last_scored(evaluations)
    rows = []
    for entry in shown:
        own = runs[entry.source or entry.pk]
        for label in _sampler_labels(entry, sets[entry.pk]):
            drawn = [s for s in sets[entry.pk] if s.sampler_label == label]
            failed = _seeds_failed(own, drawn, unscored)
            row = _row(entry, label, columns, own, drawn, values, failed)
            told = {
                "device": device_of(entry, own, drawn),
                "configuration": configuration_of(entry, label),
                "of_trial": entry.source in trials,
                **scored.get(entry.pk, {}),
            }
            rows.append(replace(row, **told))
    return rows


def _trials_among(entries: Iterable[Entry]) -> set[int]:
    """Return the keys of the trials of searches whose autoencoders controls show."""
    sources = {pk for entry in entries if (pk := entry.source) is not None}
    found = Entry.objects.filter(pk__in=sources, trial__gte=1).order_by() if sources else ()
    return {entry.pk for entry in found}


def _as_of(jobs: Iterable[T], until: date | None) -> Iterator[T]:
    """Yield jobs as they stood at the end of a day: what ended later had not ended."""
    for job in jobs:
        if until and job.finished_at and job.finished_at.date() > until:
            job.status = Status.QUEUED  # of this object alone, which nobody saves
        yield job


def _evaluations(
    protocol: Protocol, entries: Iterable[Entry], until: date | None
) -> QuerySet[Evaluation]:
    """Return the evaluations of entries that have ended, on that day at the latest."""
    found = Evaluation.objects.filter(protocol=protocol, sample_set__entry__in=entries)
    found = found.filter(finished_at__isnull=False)
    return found if until is None else found.filter(finished_at__date__lte=until)


def _last_scored(evaluations: QuerySet[Evaluation]) -> dict[int, dict[str, Any]]:
    """Return when an evaluation of each entry was completed last, and its key."""
    times = evaluations.filter(status=Status.COMPLETED).order_by("finished_at", "pk")
    return {
        entry: {"scored_at": at, "scored_by": pk}
        for entry, at, pk in times.values_list("sample_set__entry_id", "finished_at", "pk")
    }


def _once(entries: Iterable[Entry], protocol: Protocol, until: date | None) -> list[Entry]:
    """Return the entries with each control once: the first that was scored, else the oldest.

    Those of an entry's autoencoder are all different. One whose samples were deleted has no row.
    """
    drawn = SampleSet.objects.filter(entry__in=entries, entry__kind=Entry.Kind.CONTROL)
    have_rows = set(drawn.order_by().values_list("entry_id", flat=True))
    scored = _evaluations(protocol, entries, until).filter(
        status=Status.COMPLETED, sample_set__entry__kind=Entry.Kind.CONTROL
    )
    order = scored.order_by("finished_at", "pk").values_list("sample_set__entry_id", flat=True)
    places = {pk: place for place, pk in enumerate(order)}
    first: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: (places.get(e.pk, len(places)), e.pk)):
        if entry.pk in have_rows:
            first.setdefault(kind_of(entry), entry)
    return [
        entry
        for entry in entries
        if not kind_of(entry) or entry.source or first.get(kind_of(entry)) == entry
    ]


def _by_entry(items: Iterable[T]) -> dict[int, list[T]]:
    found: dict[int, list[T]] = defaultdict(list)
    for item in items:
        found[item.entry_id].append(item)
    return found


def _values(evaluations: QuerySet[Evaluation]) -> Values:
    """Return the metric values of completed evaluations, by sample set and metric."""
    found: Values = defaultdict(dict)
    completed = evaluations.filter(status=Status.COMPLETED).order_by()
    chosen = MetricValue.objects.filter(evaluation__in=completed)
    for value in chosen.annotate(sample_set=F("evaluation__sample_set")).order_by("pk"):
        found[value.sample_set][value.metric] = value  # of which no evaluation is loaded
    return found


def _failed(evaluations: QuerySet[Evaluation]) -> set[int]:
    """Return the sample sets whose evaluation under the protocol failed or was cancelled."""
    failed = evaluations.filter(status__in=LOST)
    return set(failed.order_by("pk").values_list("sample_set_id", flat=True))


def _seeds_failed(runs: list[Run], sets: list[SampleSet], unscored: set[int]) -> int:
    """Return how many seeds will have no value: their run, samples or evaluation is lost.

    A cancelled seed is lost as a failed one is: else whoever cancels what goes badly would lead.
    """
    lost = [s for s in sets if s.status in LOST or s.pk in unscored]
    without_values = {s.run_id for s in lost if s.run_id}
    without_values |= {run.pk for run in runs if run.status in LOST}
    return len(without_values) + sum(s.run_id is None for s in lost)


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
    row = Row(
        entry=entry,
        sampler_label=label,
        seeds_scored=len(scored),
        seeds_total=len(runs) or len(sets),
        seeds_failed=seeds_failed,
        cells={},
        sample_sets=tuple(sets),
    )
    for column in columns:
        if column.corner == "cost" and entry.kind == Entry.Kind.CONTROL:
            cell = Cell(None, reason="no model draws these images")
        elif column.corner == "cost" and (manifest := entry.manifest):
            cell = _unmeasured(manifest.costs.get(column.key))
        elif entry.kind == Entry.Kind.PIPELINE and column.key in ("parameters", "device_seconds"):
            cell = _pipeline_cell(column.key, sets)
        elif column.key == "device_seconds":
            cell = _training_cell(entry, runs)
        elif column.corner == "cost":
            cell = _cost_cell(column.key, runs, sets)
        else:
            cell = _metric_cell(column, [values[s.pk] for s in scored], seeds_failed)
        row.cells[column.key] = cell._replace(provisional=row.seeds_pending > 0)
    return row


def _unmeasured(declared: float | None) -> Cell:
    """Return the cost of what was made elsewhere: without a value, so that it has no rank."""
    said = "nobody declared it" if declared is None else "it was declared by who handed it in"
    return Cell(None, reason=f"unknown: not measured here, {said}", unknown=True, declared=declared)


def _pipeline_cell(key: str, sets: list[SampleSet]) -> Cell:
    """Return the weights that a pipeline's files hold; what its training cost nobody here knows."""
    if key == "device_seconds":
        return _unmeasured(None)
    cards = [s.provenance["card"] for s in sets if s.provenance]
    return _exact_cell([sum(part["parameters"] or 0 for part in c["components"]) for c in cards])


def _cost_cell(key: str, runs: list[Run], sets: list[SampleSet]) -> Cell:
    jobs = runs if key == "parameters" else sets
    numbers = [getattr(job, key) for job in jobs if job.status == Status.COMPLETED]
    return _exact_cell([number for number in numbers if number is not None])


def _training_cell(entry: Entry, runs: list[Run]) -> Cell:
    """Return the device-seconds of a training with those of the autoencoder, wherever trained."""
    done = [run for run in runs if run.status == Status.COMPLETED]
    is_shared = bool(entry.config.get("autoencoder"))
    cell = _exact_cell(
        [run.device_seconds + is_shared * (run.autoencoder_seconds or 0) for run in done]
    )
    if any(run.autoencoder_seconds is None for run in done):
        return cell
    return cell._replace(
        details=tuple(
            {"autoencoder_seconds": run.autoencoder_seconds, "shared": is_shared} for run in done
        )
    )


def _exact_cell(numbers: list[float]) -> Cell:
    """Return the mean of costs, which have no error where there is one."""
    if not numbers:
        return Cell(None, reason="not measured yet")
    seeds = tuple(Seed(float(number), error=0.0) for number in numbers)
    return Cell(sum(numbers) / len(numbers), seeds=seeds)


def _metric_cell(column: Column, scored: list[dict[str, MetricValue]], failed: int) -> Cell:
    """Return the mean over seeds; with one seed, its value and the interval over its images."""
    found = [values[column.key] for values in scored if column.key in values]
    known = [v for v in found if v.value is not None and abs(estimate(v)) <= LARGEST]
    absent = _why_absent(found, known)
    lost = failed + (0 if column.key in LACK_IMAGES else len(found) - len(known))
    if not known:
        return Cell(None, reason=absent or "not scored yet", seeds_lost=lost)
    seeds = tuple(Seed(estimate(v), _error(v)) for v in known)
    low, high, interval = _interval(known, seeds)
    mean, low, high = in_range(column, fmean(seed.value for seed in seeds), low, high)
    return Cell(
        value=mean,
        low=low,
        high=high,
        interval_of="" if low is None else interval,
        plug_in=sum(v.value or 0.0 for v in known) / len(known),
        reason=absent or _why_no_interval(known, low),
        details=tuple(v.details for v in known),
        seeds=seeds,
        seeds_lost=lost,
    )


def _interval(
    known: list[MetricValue], seeds: tuple[Seed, ...]
) -> tuple[float | None, float | None, Literal["seeds", "images"]]:
    """Return the interval of the mean over seeds; of images, the widest, where seeds tell none."""
    if len(seeds) > 1:
        _, low, high = mean_interval([seed.value for seed in seeds])
        if low < high:
            return low, high, "seeds"
    lows = [v.low for v in known if v.low is not None]
    highs = [v.high for v in known if v.high is not None]
    if len(lows) < len(known) or len(highs) < len(known):
        return None, None, "images"
    return min(lows), max(highs), "images"


def _why_no_interval(known: list[MetricValue], low: float | None) -> str:
    if len(known) == 1:
        return known[0].reason
    return "" if low is not None else SAME


def in_range(
    quantity: Column | MetricSpec, value: float, low: float | None, high: float | None
) -> tuple[float, float | None, float | None]:
    """Return an estimate and its interval within the quantity's range, the one in the other."""
    value = shown(quantity, value)
    if low is None or high is None or not math.isfinite(low + high):
        return value, None, None
    return value, min(value, shown(quantity, low)), max(value, shown(quantity, high))


def _why_absent(found: list[MetricValue], known: list[MetricValue]) -> str:
    """Return why some of the scored seeds have no value; empty when all have one."""
    absent = [v for v in found if v not in known]
    if not absent:
        return ""
    is_huge = absent[0].value is not None and math.isfinite(absent[0].value)
    reason = absent[0].reason or (f"beyond {LARGEST:g}" if is_huge else "not finite")
    return reason if len(found) == 1 else f"{len(absent)} of {len(found)} seeds: {reason}"


def _error(value: MetricValue) -> float | None:
    """Return a value's standard error; infinite, which says nothing, where it is huge."""
    error = value.standard_error
    return error if error is None or error <= LARGEST else math.inf


def estimate(value: MetricValue) -> float:
    """Return the number a board shows: the bias-corrected one where there is one."""
    assert value.value is not None, "an absent value has no estimate"
    return value.value if value.bias_corrected is None else value.bias_corrected
