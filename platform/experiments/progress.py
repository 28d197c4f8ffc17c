"""How far experiments are: jobs completed, of all that their entries will need."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db.models import Count, QuerySet

from experiments.models import Entry, Experiment
from experiments.overview import EXPERIMENT_OF
from jobs.models import ACTIVE, Status, overall


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
        "entries", "protocols"
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
    total = 0
    for entry in experiment.entries.all():
        if entry.source is not None:
            total += len(experiment.seeds) * scored
        elif entry.kind == Entry.Kind.CONTROL:
            total += scored
        elif entry.kind == Entry.Kind.EXTERNAL:
            total += len(entry.config["sets"]) * scored
        elif entry.kind == Entry.Kind.PIPELINE:
            total += len(experiment.seeds) * len(entry.samplers) * scored
        else:
            total += len(experiment.seeds) * (1 + len(entry.samplers) * scored)
    return total


def with_status(status: str) -> QuerySet[Experiment]:
    """Return the experiments that stand so, as `overall` says, from the few jobs that decide it."""
    active, queued = _having(ACTIVE), _having([Status.QUEUED])
    begun = active | _having([Status.COMPLETED], among=queued - active)
    failed, cancelled = _having([Status.FAILED]), _having([Status.CANCELLED])
    waiting = queued - begun
    ended = failed | cancelled
    found = {
        Status.RUNNING: begun,
        Status.QUEUED: waiting,
        Status.FAILED: failed - begun - waiting,
        Status.CANCELLED: cancelled - failed - begun - waiting,
    }
    if status == Status.COMPLETED:
        return Experiment.objects.exclude(pk__in=begun | waiting | ended)
    return Experiment.objects.filter(pk__in=found.get(Status(status), set()))


def _having(statuses: Iterable[str], *, among: Collection[int] | None = None) -> set[int]:
    """Return the keys of experiments that have jobs of these statuses."""
    found: set[int] = set()
    for kind, path in EXPERIMENT_OF.items():
        jobs = kind._default_manager.filter(status__in=statuses).order_by()
        if among is not None:
            jobs = jobs.filter(**{f"{path}__in": among})
        found.update(jobs.values_list(path, flat=True).distinct())
    return found
