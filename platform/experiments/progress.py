"""How far experiments are: jobs completed, of all that their entries will need."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef, QuerySet

from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.overview import EXPERIMENT_OF
from jobs.models import ACTIVE, Status, overall

GOING_ON = (*ACTIVE, Status.QUEUED)
DECIDING: Mapping[str, Collection[str]] = {  # jobs of which statuses decide whether one stands so
    Status.QUEUED: GOING_ON,
    Status.RUNNING: GOING_ON,
    Status.FAILED: (*GOING_ON, Status.FAILED),
    Status.CANCELLED: (*GOING_ON, Status.FAILED, Status.CANCELLED),
    Status.COMPLETED: (*GOING_ON, Status.FAILED, Status.CANCELLED),
}


@dataclass(frozen=True)
class Progress:
    """Where an experiment stands; `total` counts jobs that do not exist yet, too."""

    status: str
    completed: int
    failed: int
    total: int

    def __str__(self) -> str:
        text = f"{self.completed}/{self.total} jobs"
        return f"{text}, {self.failed} failed" if self.failed else text


def loaded(experiments: QuerySet[Experiment]) -> QuerySet[Experiment]:
    """Return the experiments with everything that `progress` reads."""
    return experiments.select_related("dataset", "created_by").prefetch_related(
        "entries", "protocols", "tags"
    )


def progress(experiments: Iterable[Experiment]) -> dict[int, Progress]:
    """Return the progress of each experiment by its key, in three queries if they are loaded."""
    chosen = list(experiments)
    counts: dict[int, Counter[str]] = {experiment.pk: Counter() for experiment in chosen}
    for kind, path in EXPERIMENT_OF.items():
        jobs = kind._default_manager.filter(**{f"{path}__in": chosen}).order_by()
        for pk, status, number in jobs.values_list(path, "status").annotate(number=Count("pk")):
            counts[pk][status] += number
    return {experiment.pk: _progress(experiment, counts[experiment.pk]) for experiment in chosen}


def _progress(experiment: Experiment, counts: Counter[str]) -> Progress:
    return Progress(
        status=overall(set(counts)),
        completed=counts[Status.COMPLETED],
        failed=counts[Status.FAILED],
        total=jobs_needed(experiment),
    )


def jobs_needed(experiment: Experiment) -> int:
    """Return how many runs, sample sets and evaluations the whole experiment is."""
    scored = 1 + len(experiment.protocols.all())  # a sample set and its evaluations
    total, runs = 0, _runs(experiment)
    for entry in experiment.entries.all():
        if entry.source is not None:
            total += runs.get(entry.source, 0) * scored
        elif entry.kind == Entry.Kind.CONTROL:
            total += scored
        elif entry.kind == Entry.Kind.EXTERNAL:
            total += len(entry.config["sets"]) * scored
        elif entry.kind == Entry.Kind.PIPELINE:
            total += len(experiment.seeds) * len(entry.samplers) * scored
        else:
            total += runs[entry.pk] * (1 + len(entry.samplers) * scored)
    return total


def _runs(experiment: Experiment) -> dict[int, int]:
    """Return how many trainings each entry is, by its key.

    The first trial of a search counts those to come, too: other trials, and the best run again.
    """
    every = len(experiment.seeds)
    entries = list(experiment.entries.all())
    searches = {}
    if any(entry.search_id for entry in entries):
        searches = {each.pk: each for each in experiment.searches.all()}
    born = Counter(entry.search_id for entry in entries if entry.trial)
    found = {}
    for entry in entries:
        search = searches.get(entry.search_id or 0)
        own = search.runs if search else every
        to_come = own * (search.trials - born[search.pk]) + every if search else 0
        found[entry.pk] = {None: own, 0: 0, 1: own + to_come}.get(entry.trial, own)
    return found


def with_status(experiments: QuerySet[Experiment], status: str) -> QuerySet[Experiment]:
    """Return those of the experiments that stand so, as `overall` says, from the few jobs that decide."""
    deciding = DECIDING.get(status)
    if deciding is None:
        return experiments.none()
    having = _having(deciding)
    active = set[int]().union(*(having[each] for each in ACTIVE))
    queued, failed = having[Status.QUEUED], having[Status.FAILED]
    going_on = active | queued
    if status in (Status.RUNNING, Status.QUEUED):
        begun = active | _begun(queued - active)
        return experiments.filter(pk__in=begun if status == Status.RUNNING else going_on - begun)
    if status == Status.FAILED:
        return experiments.filter(pk__in=failed - going_on)
    ended_otherwise = going_on | failed
    if status == Status.CANCELLED:
        return experiments.filter(pk__in=having[Status.CANCELLED] - ended_otherwise)
    return experiments.exclude(pk__in=ended_otherwise | having[Status.CANCELLED])


def _having(statuses: Iterable[str]) -> dict[str, set[int]]:
    """Return the keys of experiments that have jobs of these statuses, in one query."""
    kinds = [
        kind._default_manager.filter(status__in=statuses).order_by().values_list(path, "status")
        for kind, path in EXPERIMENT_OF.items()
    ]
    found: dict[str, set[int]] = defaultdict(set)
    for pk, status in kinds[0].union(*kinds[1:]):
        found[status].add(pk)
    return found


def _begun(among: Collection[int]) -> set[int]:
    """Return which of these experiments have a completed job: each is left at the first."""

    def exists(jobs: QuerySet[Any], owner: str, *has: Exists) -> Exists:
        return Exists(jobs.filter(*has, **{owner: OuterRef("pk")}).order_by())

    evaluated = exists(Evaluation.objects.filter(status=Status.COMPLETED), "sample_set")
    has_completed = (
        exists(Run.objects.filter(status=Status.COMPLETED), "entry")
        | exists(SampleSet.objects.filter(status=Status.COMPLETED), "entry")
        | exists(SampleSet.objects.all(), "entry", evaluated)
    )
    begun = exists(Entry.objects.filter(has_completed), "experiment")
    chosen = Experiment.objects.filter(begun, pk__in=among).order_by()
    return set(chosen.values_list("pk", flat=True)) if among else set()
