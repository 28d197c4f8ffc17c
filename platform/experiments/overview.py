"""Read-only questions that pages ask: what is running, where, how far; what waits and why."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Count, QuerySet, Value

from experiments.models import (
    Entry,
    Evaluation,
    Experiment,
    Intake,
    Question,
    Run,
    SampleSet,
    Viewing,
)
from jobs.models import ACTIVE, Job, Status, Worker, overall

EXPERIMENT_OF = {
    Run: "entry__experiment",
    SampleSet: "entry__experiment",
    Evaluation: "sample_set__entry__experiment",
}


@dataclass(frozen=True)
class Work:
    """A job in one line, whatever its kind."""

    job: Job
    verb: str  # training, sampling, reading what was handed in, evaluating, drawing
    entry: Entry
    what: str  # "seed 0", "seed 0, DDIM 50"
    percent: int
    url: str
    detail: str = ""  # the step of an evaluation
    images_per_second: float | None = None
    seconds_left: float | None = None


def describe(job: Job) -> Work:
    """Return the job in one line; its entry, experiment and worker should be loaded."""
    if isinstance(job, Run):
        return _training(job)
    if isinstance(job, SampleSet):
        return _drawing(job)
    if isinstance(job, Question):
        return _answering(job)
    if isinstance(job, Viewing):
        return _looking(job)
    if isinstance(job, Intake):
        return _taking_in(job)
    assert isinstance(job, Evaluation), "there are six kinds of jobs"
    return _scoring(job)


def _training(run: Run) -> Work:
    return Work(
        job=run,
        verb="training",
        entry=run.entry,
        what=f"seed {run.seed}",
        percent=run.percent,
        url=run.get_absolute_url(),
        images_per_second=run.images_per_second,
        seconds_left=run.seconds_left,
    )


def _drawing(sample_set: SampleSet) -> Work:
    return Work(
        job=sample_set,
        verb="reading" if sample_set.source else "sampling",
        entry=sample_set.entry,
        what=_set_name(sample_set),
        percent=sample_set.percent,
        url=page_of(sample_set),
        images_per_second=sample_set.images_per_second,
    )


def _scoring(evaluation: Evaluation) -> Work:
    return Work(
        job=evaluation,
        verb="evaluating",
        entry=evaluation.sample_set.entry,
        what=_set_name(evaluation.sample_set),
        percent=evaluation.percent,
        url=page_of(evaluation),
        detail=evaluation.step,
    )


def _answering(question: Question) -> Work:
    return Work(
        job=question,
        verb="drawing",
        entry=Entry(experiment=question.experiment, label=str(question)),  # all of them draw
        what=f"with {question.entries_total} entries",
        percent=question.percent,
        url=page_of(question),
    )


def _looking(viewing: Viewing) -> Work:
    return Work(
        job=viewing,
        verb="looking into",
        entry=viewing.run.entry,
        what=f"seed {viewing.run.seed}, {viewing.kind}",
        percent=viewing.percent,
        url=page_of(viewing),
    )


def _taking_in(intake: Intake) -> Work:
    """Return its kind alone: what it holds is its author's."""
    return Work(
        job=intake,
        verb="looking at",
        entry=Entry(label=intake.get_kind_display()),  # of no experiment yet
        what="what was handed in",
        percent=intake.percent,
        url=page_of(intake),
    )


def _set_name(sample_set: SampleSet) -> str:
    if sample_set.source:
        return f"set {sample_set.seed}"
    if sample_set.run is None:
        return sample_set.sampler_label
    return f"seed {sample_set.run.seed}, {sample_set.sampler_label}"


def page_of(job: Job) -> str:
    """Return the page that shows a job: its run's, or its experiment's for a control."""
    if isinstance(job, Run | Question | Viewing | Intake):
        return job.get_absolute_url()
    sample_set = job.sample_set if isinstance(job, Evaluation) else job
    assert isinstance(sample_set, SampleSet), "there are six kinds of jobs"
    if sample_set.run is not None:
        return sample_set.run.get_absolute_url()
    return sample_set.entry.experiment.get_absolute_url()


def loaded_runs() -> QuerySet[Run]:
    return Run.objects.select_related("worker", "entry__experiment__dataset")


def loaded_sample_sets() -> QuerySet[SampleSet]:
    return SampleSet.objects.select_related("worker", "run", "entry__experiment__dataset")


def loaded_evaluations() -> QuerySet[Evaluation]:
    return Evaluation.objects.select_related(
        "worker", "protocol", "sample_set__run", "sample_set__entry__experiment__dataset"
    )


def loaded_questions() -> QuerySet[Question]:
    return Question.objects.select_related("worker", "created_by", "experiment__dataset")


def loaded_viewings() -> QuerySet[Viewing]:
    return Viewing.objects.select_related("worker", "created_by", "run__entry__experiment__dataset")


def loaded_intakes() -> QuerySet[Intake]:
    return Intake.objects.select_related("worker", "created_by", "of")


EVERY: Mapping[type[Any], Callable[[], QuerySet[Any]]] = {
    Run: loaded_runs,
    SampleSet: loaded_sample_sets,
    Evaluation: loaded_evaluations,
    Question: loaded_questions,
    Viewing: loaded_viewings,
    Intake: loaded_intakes,
}


def active_work() -> list[Work]:
    """Return what workers hold now, trainings first: a query, and one for each kind that is held."""
    held = _kinds_held()
    jobs: list[Job] = []
    for kind, loaded in EVERY.items():
        if kind.type_name() in held:
            jobs += loaded().filter(status__in=ACTIVE).order_by("started_at", "pk")
    return [describe(job) for job in jobs]


def _kinds_held() -> set[str]:
    """Return the names of the kinds of which workers hold jobs."""
    kinds = [
        kind._default_manager.filter(status__in=ACTIVE)
        .order_by()
        .values_list(Value(kind.type_name()))
        for kind in EVERY
    ]
    return {name for (name,) in kinds[0].union(*kinds[1:])}


def queued_by_queue() -> Counter[str]:
    """Return how many jobs wait, by queue, in one query."""
    kinds = [
        kind._default_manager.filter(status=Status.QUEUED)
        .order_by()
        .values_list("queue")
        .annotate(Count("pk"))
        for kind in Job.kinds()
    ]
    waiting: Counter[str] = Counter()
    for queue, number in kinds[0].union(*kinds[1:], all=True):
        waiting[queue] += number
    return waiting


def unserved_queues(queues: Iterable[str], workers: Iterable[Worker]) -> list[str]:
    """Return those of the queues that no living worker takes jobs from."""
    served = {queue for worker in workers if worker.is_alive for queue in worker.queues}
    return sorted(set(queues) - served)


def whole(job: Job) -> Job:
    """Return a job with all that `describe` reads, where only parts of it were loaded."""
    found: Job = EVERY[type(job)]().get(pk=job.pk)
    return found


def turn(job: Job) -> tuple[int, datetime, int]:
    """Return what a worker takes queued jobs by: the most urgent first, then the oldest."""
    return -job.urgency, job.queued_at, job.pk


@dataclass(frozen=True)
class JobCounts:
    """How many jobs of an experiment there are, by their kinds and statuses: no job is loaded."""

    experiment: Experiment
    by_kind: Mapping[type[Any], Counter[str]]

    @classmethod
    def of(cls, experiment: Experiment) -> "JobCounts":
        """Return the counts of an experiment, in one query."""
        kinds = [
            kind._default_manager.filter(**{path: experiment})
            .order_by()
            .values_list(Value(kind.type_name()), "status")
            .annotate(Count("pk"))
            for kind, path in EXPERIMENT_OF.items()
        ]
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for name, status, number in kinds[0].union(*kinds[1:], all=True):
            found[name][status] = number
        return cls(experiment, {kind: found[kind.type_name()] for kind in EXPERIMENT_OF})

    @property
    def statuses(self) -> Counter[str]:
        return sum(self.by_kind.values(), Counter())

    def failed(self, most: int) -> list[Work]:
        """Return the first jobs that failed, trainings first."""
        found: list[Job] = []
        for kind, counts in self.by_kind.items():
            left = most - len(found)
            if left and counts[Status.FAILED]:
                found += self._own(self._having(_named(kind), kind, Status.FAILED)[:left])
        return [describe(job) for job in found]

    def next_waiting(self) -> Job | None:
        """Return the queued job whose turn is next: of the most urgent kind the oldest."""
        found: list[Job] = []
        for kind, counts in self.by_kind.items():
            if counts[Status.QUEUED]:
                mine = self._having(_named(kind), kind, Status.QUEUED)
                found += self._own(mine.order_by("queued_at", "pk")[:1])
        return min(found, key=turn, default=None)

    def queues(self) -> set[str]:
        """Return the queues that jobs wait in, in one query."""
        waiting = [
            self._having(kind._default_manager.order_by(), kind, Status.QUEUED).values_list("queue")
            for kind, counts in self.by_kind.items()
            if counts[Status.QUEUED]
        ]
        if not waiting:
            return set()
        first, *others = waiting  # all: for DISTINCT SQLite walks all queued jobs by queue
        return {queue for (queue,) in first.union(*others, all=True)}

    def _having(self, jobs: QuerySet[Any], kind: type[Any], status: Status) -> QuerySet[Any]:
        # By the keys of owners: SQLite would read all jobs of the status, of whatever experiment.
        if kind is Evaluation:
            sets = SampleSet.objects.filter(entry__in=self.entries).order_by()
            return jobs.filter(sample_set__in=sets.values("pk"), status=status)
        return jobs.filter(entry__in=self.entries, status=status)

    def _own(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield jobs of the experiment, whose entries have it."""
        for job in jobs:
            owner = job.sample_set if isinstance(job, Evaluation) else job
            assert isinstance(owner, Run | SampleSet), "there are three kinds in an experiment"
            owner.entry.experiment = self.experiment
            yield job

    @cached_property
    def entries(self) -> list[int]:
        return [entry.pk for entry in self.experiment.entries.all()]


NAMED_BY = {  # what a job's line is written with; of more tables PostgreSQL reads all jobs
    Run: ["entry"],
    SampleSet: ["run", "entry"],
    Evaluation: ["sample_set__run", "sample_set__entry"],
}


def _named(kind: type[Any]) -> QuerySet[Any]:
    named: QuerySet[Any] = kind._default_manager.select_related(*NAMED_BY[kind])
    return named


@dataclass(frozen=True)
class Standing:
    """Where an experiment stands, from its jobs."""

    status: str
    runs_done: int
    runs_total: int
    failed: int  # jobs of any kind


def standings(experiments: Iterable[Experiment]) -> dict[int, Standing]:
    """Return where each experiment stands, in three queries."""
    statuses: dict[int, Counter[str]] = defaultdict(Counter)
    runs: dict[int, Counter[str]] = defaultdict(Counter)
    for kind, path in EXPERIMENT_OF.items():
        jobs: QuerySet[Any] = kind._default_manager.order_by()
        jobs = jobs.filter(**{f"{path}__in": experiments})
        for pk, status, number in jobs.values_list(path, "status").annotate(number=Count("pk")):
            statuses[pk][status] += number
            if kind is Run:
                runs[pk][status] += number
    return {pk: _standing(counts, runs[pk]) for pk, counts in statuses.items()}


def _standing(counts: Counter[str], runs: Counter[str]) -> Standing:
    return Standing(
        status=overall(set(counts)),
        runs_done=runs[Status.COMPLETED],
        runs_total=runs.total(),
        failed=counts[Status.FAILED],
    )
