"""One board: a protocol, a row per entry and sampler, a cell per metric and cost.

Rules: only values of one fingerprint stand together; a cell is the mean over the seeds that were
scored, and `seeds k/n` says how many were not; ties share a rank (1, 2, 2, 4); what is missing is
last. Controls have no rank: real test images stand first, the others after everything else. They
are the same images in every experiment, so each stands once.

Survivors are not the sample: the seeds that failed may be those with the worst values. So under a
metric, rows with failed seeds are ranked behind all rows without, whatever their mean over the
survivors, and never lead; worst first, too, they stand between the others and what is missing.
Costs do not depend on who survives and are ranked by value alone. Nobody leads a metric of
memorisation: noise is furthest from copies.

A distance to the reference below that of the real control, which no model has seen, is no better
quality: the model may have copied training images. Neither is an authenticity below the control's
beyond their intervals: its images are nearer to single training images. Such cells are marked.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from catalog.models import Protocol
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import METRICS
from experiments import controls
from experiments.models import Entry, Evaluation, Experiment, MetricValue, Run, SampleSet
from jobs.models import Status
from leaderboards.intervals import mean_interval

T = TypeVar("T", Run, SampleSet)
Values = dict[int, dict[str, MetricValue]]
Corner = Literal["quality", "coverage", "memorisation", "cost"]
CORNERS: tuple[Corner, ...] = ("quality", "coverage", "memorisation", "cost")  # in a board's order
DISTANCES = ("fd", "kd")  # metrics that say how far from the reference a sample set is
AUTHENTICITY = "authenticity"  # share of images that are no nearer to a training image than usual


@dataclass(frozen=True)
class Column:
    """What stands in one column of a board."""

    key: str
    label: str  # "FD[classifier]", never FID for anything else
    unit: str
    higher_is_better: bool
    corner: Corner
    help: str
    headline: bool = True  # shown at first; the others on request
    ideal: float | None = None  # the best value, where that is neither the highest nor the lowest
    minimum: float | None = None  # of the quantity that is estimated, None = unbounded
    maximum: float | None = None
    counts: bool = False  # a number of things, shown whole

    @property
    def arrow(self) -> str:
        if self.ideal is not None:
            return f"→ {self.ideal:g}"
        return "↑" if self.higher_is_better else "↓"

    @property
    def direction(self) -> str:
        """Return in words which values are better."""
        if self.ideal is not None:
            return f"Nearer to {self.ideal:g} is better."
        return "Higher is better." if self.higher_is_better else "Lower is better."


@dataclass(frozen=True)
class Cell:
    """One number: mean over the scored seeds with a 95 % interval; or absent with a reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    interval_of: Literal["seeds", "images", ""] = ""  # what the interval is over
    plug_in: float | None = None  # the published, biased estimate, where `value` is corrected
    rank: int | None = None
    leads: bool = False  # best, or not separable from the best by their intervals
    beats_control: bool = False  # nearer to the reference than unseen real images are
    near_training: bool = False  # nearer to single training images than unseen real images are
    reason: str = ""  # why the value or the interval is absent
    details: tuple[dict[str, Any], ...] = ()  # what else is known, for each seed with a value


@dataclass(frozen=True)
class Row:
    """One entry with one sampler."""

    entry: Entry
    sampler_label: str
    seeds_scored: int  # k of "seeds k/n"
    seeds_total: int  # n: every seed that was submitted, failed ones too
    seeds_failed: int  # seeds whose training, sampling or evaluation failed
    cells: dict[str, Cell]
    sample_sets: tuple[SampleSet, ...]

    @property
    def is_control(self) -> bool:
        return self.entry.kind == Entry.Kind.CONTROL

    @property
    def is_real(self) -> bool:
        """Whether it is the control that models are compared with: real test images."""
        return self.control == controls.TEST

    @property
    def is_aside(self) -> bool:
        """Whether it is there for scale alone: a control that is not real test images."""
        return self.is_control and not self.is_real

    @property
    def control(self) -> str:
        """Return which control it is, "" for a contender."""
        return kind_of(self.entry)

    @property
    def experiment(self) -> Experiment:
        return self.entry.experiment


@dataclass(frozen=True)
class Board:
    """A ranked board of one protocol; `experiment` is None when it holds all experiments."""

    protocol: Protocol
    experiment: Experiment | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sort: str  # key of a column, with a leading "-" for worst first

    @property
    def sort_key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def control(self) -> Row | None:
        """Return the row of real test images."""
        return next((row for row in self.rows if row.is_real), None)


COSTS = (
    Column("images_per_second", "Sampling", "images/s", True, "cost", "Images drawn per second."),
    Column("nfe", "NFE", "per image", False, "cost", "Network evaluations per image."),
    Column("parameters", "Parameters", "", False, "cost", "Weights needed to draw samples."),
    Column("device_seconds", "Training", "device-s", False, "cost", "Seconds of device time."),
)


def columns_of(protocol: Protocol) -> tuple[Column, ...]:
    """Return the metric columns of a protocol by their corners, then the costs."""
    order = {name: place for place, name in enumerate(METRICS)}
    names = sorted(protocol.metrics, key=lambda name: (order.get(name, len(order)), name))
    found = sorted(map(protocol.metric, names), key=lambda spec: CORNERS.index(spec.corner))
    metrics = tuple(
        Column(
            key=spec.name,
            label=protocol.metric_label(spec.name),
            unit="",
            higher_is_better=spec.higher_is_better,
            corner=spec.corner,
            help=spec.help,
            headline=spec.headline,
            ideal=spec.ideal,
            minimum=spec.minimum,
            maximum=spec.maximum,
            counts=spec.counts,
        )
        for spec in found
    )
    return (*metrics, *COSTS)


def rank(protocol: Protocol, *, sort: str = "", experiment: Experiment | None = None) -> Board:
    """Return the board of a protocol, of one experiment or of all.

    `sort` is a column's key, "-key" for worst first; by default the first metric.

    Raises:
        ValueError: if there is no such column.
    """
    columns = columns_of(protocol)
    keys = [column.key for column in columns]
    sort = sort or keys[0]
    if sort.removeprefix("-") not in keys:
        raise ValueError(f"expected a column to sort by ({', '.join(keys)}), got {sort!r}")
    rows = _rows(protocol, columns, experiment)
    for column in columns:
        rows = _ranked(rows, column)
    rows = _marked(rows, columns)
    return Board(protocol, experiment, columns, _sorted(rows, columns, sort), sort)


def _rows(
    protocol: Protocol, columns: tuple[Column, ...], experiment: Experiment | None
) -> list[Row]:
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


def kind_of(entry: Entry) -> str:
    """Return which control an entry is, "" for a contender."""
    return entry.control.kind if entry.control else ""


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


def shown(quantity: Column | MetricSpec, value: float) -> float:
    """Return the number that people are shown: an estimate clipped to its quantity's range.

    A bias-corrected distance of two equal sets may come out below 0. Exports keep it.
    """
    low = value if quantity.minimum is None else max(value, quantity.minimum)
    return low if quantity.maximum is None else min(low, quantity.maximum)


def _ranked(rows: list[Row], column: Column) -> list[Row]:
    """Return the rows with rank and lead filled in for one column."""
    key = column.key
    contenders = [r for r in rows if not r.is_control and r.cells[key].value is not None]
    if not contenders:
        return rows
    best = min(contenders, key=lambda row: _place(row, column)).cells[key]
    ranked = []
    for row in rows:
        cell = row.cells[key]
        if cell.value is not None and not row.is_control:
            ahead = sum(_place(other, column) < _place(row, column) for other in contenders)
            near = ahead == 0 or _overlap(cell, best)
            leads = near and has_leader(column) and not of_survivors(row, column)
            cell = replace(cell, rank=ahead + 1, leads=leads)
        ranked.append(replace(row, cells={**row.cells, key: cell}))
    return ranked


def _place(row: Row, column: Column) -> tuple[bool, float]:
    """Return what orders present values, best first: rows without failed seeds, then the others."""
    return of_survivors(row, column), _badness(row.cells[column.key], column)


def has_leader(column: Column) -> bool:
    """Return whether being first is a merit: to be further from copies than real images is none."""
    return column.corner != "memorisation"


def of_survivors(row: Row, column: Column) -> bool:
    """Return whether the cell is a metric's mean over what was left when other seeds failed."""
    return column.corner != "cost" and row.seeds_failed > 0


def _badness(cell: Cell, column: Column) -> float:
    assert cell.value is not None, "only present values are compared"
    if column.ideal is not None:
        return abs(cell.value - column.ideal)
    return -cell.value if column.higher_is_better else cell.value


def _marked(rows: list[Row], columns: tuple[Column, ...]) -> list[Row]:
    """Return the rows with the cells marked that speak of copies, beside the real control."""
    control = next((row for row in rows if row.is_real), None)
    if control is None:
        return rows
    return [
        replace(
            row, cells={c.key: _mark(c, row.cells[c.key], control.cells[c.key]) for c in columns}
        )
        for row in rows
    ]


def _mark(column: Column, cell: Cell, control: Cell) -> Cell:
    if column.key in DISTANCES:
        return replace(cell, beats_control=_nearer(column, cell, control))
    if column.key == AUTHENTICITY:
        return replace(cell, near_training=_wholly_below(cell, control))
    return cell


def _nearer(column: Column, cell: Cell, control: Cell) -> bool:
    """Return whether the shown distance is below the control's, whatever their intervals."""
    if cell.value is None or control.value is None:
        return False
    return shown(column, cell.value) < shown(column, control.value)


def _wholly_below(cell: Cell, control: Cell) -> bool:
    """Return whether the whole interval lies below the control's; without one, nothing does."""
    return cell.high is not None and control.low is not None and cell.high < control.low


def _overlap(a: Cell, b: Cell) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _sorted(rows: list[Row], columns: tuple[Column, ...], sort: str) -> tuple[Row, ...]:
    """Return real images, values in order, survivors' values, what is missing, other controls."""
    column = next(c for c in columns if c.key == sort.removeprefix("-"))
    sign = -1.0 if sort.startswith("-") else 1.0

    def place(row: Row) -> tuple[int, float, str, str, int]:
        cell = row.cells[column.key]
        name = (row.entry.label, row.sampler_label, row.entry.pk)
        if row.is_control:
            return (4 * (not row.is_real), controls.KINDS.index(row.control), *name)
        if cell.value is None:
            return (3, 0.0, *name)
        survivors, badness = _place(row, column)
        return (2 if survivors else 1, sign * badness, *name)

    return tuple(sorted(rows, key=place))
