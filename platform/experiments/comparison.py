"""An experiment's entries side by side: what each has shown so far, and where configs differ."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q

from experiments.models import Checkpoint, Entry, Evaluation, Experiment, Run, SampleSet
from experiments.overview import Work, describe, turn
from generators.specs.options import FieldSpec, describe as describe_config
from jobs.models import Job, Status, Worker

ABSENT = object()
UNREAD_OF_RUNS = ("environment", "error")  # of what is loaded by the hundred
UNREAD_OF_SETS = ("sampler", "reconstruction", "error")
TAKES = ("status", "queue", "queued_at", "started_at", "finished_at")  # tell a job's time
TRAINS = ("budget_fraction", "device_seconds")  # and of a training


@dataclass(frozen=True)
class Contender:
    """One entry with one sampler at one training seed: a column of the comparison."""

    entry: Entry
    sampler_label: str
    work: Work | None  # the job that decides where it stands
    sample_set: SampleSet | None  # drawn and on disk
    preview: Checkpoint | None  # the latest grid of the training, until there is a sample set


def contenders(experiment: Experiment, seed: int, jobs: "ExperimentJobs") -> list[Contender]:
    """Return the columns of the comparison, controls first, in the order of the entries."""
    columns = []
    for entry in jobs.entries:
        run = _run_of(entry, seed, jobs.runs, experiment)
        sets = [s for s in jobs.sample_sets if s.entry_id == entry.pk and s.run_id == pk_of(run)]
        labels = entry.sampler_labels or dict.fromkeys(s.sampler_label for s in sets)
        for label in labels:
            drawn = _chosen([s for s in sets if s.sampler_label == label], seed)
            columns.append(_contender(entry, label, run, drawn, jobs))
    return columns


def _run_of(entry: Entry, seed: int, runs: list[Run], experiment: Experiment) -> Run | None:
    """Return the training of an entry, or of the one that it is made of, that a seed stands for."""
    own = [run for run in runs if run.entry_id == (entry.source or entry.pk)]
    return next((run for run in own if run.seed == _seed_of(entry, seed, own, experiment)), None)


def _seed_of(entry: Entry, seed: int, own: list[Run], experiment: Experiment) -> int:
    """Return the seed of an entry that stands for one of the experiment's.

    What a search runs again has seeds of its own, as many: the first stands for the first.
    """
    place = experiment.seeds.index(seed) if entry.trial == 0 and seed in experiment.seeds else None
    return own[place].seed if place is not None and place < len(own) else seed


def _chosen(sets: list[SampleSet], seed: int) -> SampleSet | None:
    """Return the set of a seed; of handed-in ones, whose seeds are their places, else the first."""
    return next((s for s in sets if s.seed == seed), next(iter(sets), None))


def _contender(
    entry: Entry, label: str, run: Run | None, drawn: SampleSet | None, jobs: "ExperimentJobs"
) -> Contender:
    evaluations = [e for e in jobs.evaluations if drawn and e.sample_set_id == drawn.pk]
    stages: list[Job] = [*evaluations, *filter(None, [drawn, run])]
    deciding = next((job for job in stages if job.status != Status.COMPLETED), None)
    deciding = deciding or next(iter(stages), None)
    ready = drawn is not None and drawn.status == Status.COMPLETED
    return Contender(
        entry=entry,
        sampler_label=label,
        work=describe(deciding) if deciding else None,
        sample_set=drawn if ready else None,
        preview=None if ready or run is None else jobs.previews.get(run.pk),
    )


def pk_of(run: Run | None) -> int | None:
    return None if run is None else run.pk


@dataclass(frozen=True)
class ExperimentJobs:
    """Rows of an experiment, each kind loaded once: all, or those of some of its entries."""

    entries: list[Entry]
    runs: list[Run]
    sample_sets: list[SampleSet]
    evaluations: list[Evaluation]
    previews: dict[int, Checkpoint]  # the latest of each run that has none of its samples yet

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        shown: Iterable[Entry] | None = None,
        *,
        seed: int | None = None,
    ) -> "ExperimentJobs":
        """Return the rows of the entries that are shown, and of what their controls are made of.

        With a `seed`, of what was drawn from trainings only what came of that one: all that
        `contenders` needs. Workers and protocols are shared by the rows.
        """
        everybody = list(experiment.entries.all())
        by_pk = {entry.pk: entry for entry in everybody}
        entries = everybody if shown is None else list(shown)
        keys = {pk for entry in entries for pk in (entry.pk, entry.source)} & by_pk.keys()
        for entry in everybody:
            entry.experiment = experiment
        runs = list(Run.objects.filter(entry__in=keys).defer(*UNREAD_OF_RUNS))
        for run in runs:
            run.entry = by_pk[run.entry_id]
        drawn_from, sets = runs, SampleSet.objects.filter(entry__in=keys).defer(*UNREAD_OF_SETS)
        if seed is not None:
            found = (_run_of(entry, seed, runs, experiment) for entry in entries)
            drawn_from = [run for run in found if run is not None]
            sets = sets.filter(Q(run=None) | Q(run__in=drawn_from))
        evaluations = list(Evaluation.objects.filter(sample_set__in=list(sets)).defer("error"))
        _share(experiment, runs, list(sets), evaluations)
        return cls(entries, runs, list(sets), evaluations, _latest_previews(drawn_from))

    @classmethod
    def outline(cls, experiment: Experiment) -> "ExperimentJobs":
        """Return all rows of an experiment, each with what tells how long it takes alone."""
        entries = {entry.pk: entry for entry in experiment.entries.all()}
        sets = SampleSet.objects.filter(entry__experiment=experiment)
        scores = Evaluation.objects.filter(sample_set__entry__experiment=experiment)
        runs = list(Run.objects.filter(entry__experiment=experiment).only("entry", *TAKES, *TRAINS))
        for run in runs:
            run.entry = entries[run.entry_id]
        return cls(
            entries=list(entries.values()),
            runs=runs,
            sample_sets=list(sets.only("entry", "drawn", "count", *TAKES)),
            evaluations=list(scores.only("protocol", "fraction", *TAKES)),
            previews={},
        )

    def of_entries(self, entries: list[Entry]) -> "ExperimentJobs":
        """Return the rows of some entries, and of what their controls are made of."""
        keys = {pk for entry in entries for pk in (entry.pk, entry.source)}
        return replace(
            self,
            entries=entries,
            runs=[run for run in self.runs if run.entry_id in keys],
            sample_sets=[each for each in self.sample_sets if each.entry_id in keys],
        )

    @property
    def all(self) -> list[Job]:
        return [*self.runs, *self.sample_sets, *self.evaluations]

    @property
    def waiting(self) -> list[Job]:
        return [job for job in self.all if job.status == Status.QUEUED]

    def next_waiting(self) -> Job | None:
        """Return the queued job whose turn is next: of the most urgent kind the oldest."""
        return min(self.waiting, key=turn, default=None)

    @property
    def is_live(self) -> bool:
        return any(not job.is_finished for job in self.all)


def _share(
    experiment: Experiment, runs: list[Run], sets: list[SampleSet], evaluations: list[Evaluation]
) -> None:
    """Give rows what they belong to, each loaded once."""
    jobs: list[Job] = [*runs, *sets, *evaluations]
    workers = Worker.objects.in_bulk({job.worker_id for job in jobs if job.worker_id})
    protocols = {protocol.pk: protocol for protocol in experiment.protocols.all()}
    entries = {entry.pk: entry for entry in experiment.entries.all()}
    runs_by_pk, sets_by_pk = {run.pk: run for run in runs}, {each.pk: each for each in sets}
    for job in jobs:
        job.worker = workers.get(job.worker_id or 0)
    for sample_set in sets:
        sample_set.entry = entries[sample_set.entry_id]
        sample_set.run = runs_by_pk.get(sample_set.run_id or 0)
    for evaluation in evaluations:
        evaluation.sample_set = sets_by_pk[evaluation.sample_set_id]
        if evaluation.protocol_id in protocols:
            evaluation.protocol = protocols[evaluation.protocol_id]


def _latest_previews(runs: Iterable[Run]) -> dict[int, Checkpoint]:
    previews = Checkpoint.objects.filter(run__in=list(runs)).exclude(preview="")
    latest = previews.defer("verdict").order_by("images_seen")
    return {checkpoint.run_id: checkpoint for checkpoint in latest}


@dataclass(frozen=True)
class ConfigRow:
    """One field over several entries; None where an entry has no such field."""

    name: str
    help: str
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class ConfigTable:
    """The configurations of all entries of one family."""

    family: str
    family_label: str
    entries: tuple[Entry, ...]
    rows: tuple[ConfigRow, ...]

    @property
    def differing(self) -> tuple[ConfigRow, ...]:
        return tuple(row for row in self.rows if row.differs)

    @property
    def is_comparison(self) -> bool:
        return len(self.entries) > 1


def config_tables(entries: Iterable[Entry]) -> list[ConfigTable]:
    """Return one table for each family that takes part, in the order of the entries."""
    families: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.algorithm:
            families[entry.family].append(entry)
    return [
        ConfigTable(family, members[0].family_label, tuple(members), config_rows(members))
        for family, members in families.items()
    ]


def config_rows(entries: Iterable[Entry]) -> tuple[ConfigRow, ...]:
    """Return a row for each field that any of the entries has, with their values in order."""
    entries = list(entries)
    complete = [
        {
            "algorithm": entry.algorithm,
            **entry.config,
            "samplers": ", ".join(entry.sampler_labels),
        }
        for entry in entries
    ]
    helps = {spec.name: spec.help for entry in entries for spec in _fields(entry)}
    names = dict.fromkeys(name for values in complete for name in values)
    return tuple(
        ConfigRow(name, helps.get(name, ""), tuple(in_words(v.get(name, ABSENT)) for v in complete))
        for name in names
    )


def _fields(entry: Entry) -> tuple[FieldSpec, ...]:
    return describe_config(entry.spec.config) if entry.spec else ()


def in_words(value: Any) -> str | None:
    """Return a configuration value as people write it, None if there is no such field."""
    if value is ABSENT:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
