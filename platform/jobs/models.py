"""Work as rows: a Job is its own place in the queue, a Worker is who does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.timesince import timesince


class Status(models.TextChoices):
    """Where a job stands. Completed, failed and cancelled are final until somebody retries."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (Status.RUNNING, Status.CANCELLING)  # a worker holds the row
FINISHED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Queue(models.TextChoices):
    """Which workers may take a job: `gpu` trains, samples and evaluates; `default` the rest."""

    GPU = "gpu"
    DEFAULT = "default"


class Cause(models.TextChoices):
    """Why a job failed, for filters and scripts; its reason says it in a sentence."""

    DIVERGED = "diverged"
    MEMORY = "out of memory"
    INPUT = "bad input"
    LOST = "node lost"
    TIME = "timed out"
    STORAGE = "storage"
    ERROR = "error"


GB = 10**9  # as makers of devices count


GONE_AFTER = timedelta(hours=1)  # of silence


class Order(models.TextChoices):
    """What a worker was told to do; starting it again forgets it."""

    DRAIN = "drain", "finish the current job, take no more"
    STOP = "stop", "hand the current job back and end"
    REMOVED = "removed", "gone; not listed until it comes back"


def listed_by(*names: str) -> list[models.Index]:
    """Return the indexes behind lists in the order of a field, equal rows by their keys."""
    return [models.Index(fields=[name, "id"], name=f"%(class)s_by_{name}") for name in names]


class Workers(models.Manager["Worker"]):
    """All workers, each with how long it has been silent by the database's clock."""

    def get_queryset(self) -> models.QuerySet["Worker"]:
        silence = models.ExpressionWrapper(Now() - F("last_seen"), models.DurationField())
        return super().get_queryset().annotate(silence=silence)  # type: ignore[no-redef]  # stated below


class Worker(models.Model):
    """A Celery worker process, as it last presented itself."""

    silence: timedelta  # what `objects` adds: since it was last seen

    name = models.CharField(max_length=200, unique=True)  # Celery's node name, celery@host
    host = models.CharField(max_length=200)
    queues = models.JSONField(default=list)
    device = models.CharField(max_length=200)  # "NVIDIA H100" or "CPU, 2 cores"
    memory_bytes = models.PositiveBigIntegerField(default=0)  # of the device
    version = models.CharField(max_length=50)
    pid = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    last_seen = models.DateTimeField()
    order = models.CharField(max_length=10, choices=Order.choices, blank=True, default="")

    objects: ClassVar[Workers] = Workers()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_current(self) -> bool:
        """Whether the worker runs the code that this process runs."""
        return self.version == settings.VERSION

    @property
    def is_alive(self) -> bool:
        """Whether the worker was seen within two beats (and a second of scheduling)."""
        patience = timedelta(seconds=2 * settings.BEAT_SECONDS + 1)
        return self.silence < patience

    @property
    def is_gone(self) -> bool:
        """Whether the worker has been silent for so long that nobody waits for it."""
        return self.silence >= GONE_AFTER

    def fits(self, job: "Job") -> bool:
        """Return whether the worker is of the job's queue and has the memory that it needs."""
        return job.queue in self.queues and job.memory_gb * GB <= self.memory_bytes

    @property
    def takes_jobs(self) -> bool:
        """Whether the worker takes jobs now."""
        return self.is_alive and not self.order


class Pause(models.Model):
    """While its one row is there, no job is claimed; running ones go on."""

    since = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=150)  # who wanted it

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(pk=1), name="pause_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"paused by {self.by} {timesince(self.since, depth=1)} ago"


@dataclass(frozen=True)
class Surroundings:
    """What decides whether queued jobs are taken."""

    pause: Pause | None
    workers: Sequence[Worker]

    @classmethod
    def now(cls) -> "Surroundings":
        return cls(Pause.objects.first(), list(Worker.objects.all()))


class JobEvent(models.Model):
    """One line of a job's timeline; rows are only ever added."""

    class Kind(models.TextChoices):
        QUEUED = "queued"
        CLAIMED = "claimed"
        CHECKPOINT = "checkpoint"
        LOST = "lost"
        REQUEUED = "requeued"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"
        FAILED = "failed"
        COMPLETED = "completed"

    job_type = models.CharField(max_length=50)  # model name: run, sampleset, evaluation
    job_id = models.BigIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["at", "pk"]
        indexes: ClassVar = [
            models.Index(fields=["job_type", "job_id"], name="job_timeline"),
            models.Index(fields=["kind", "id"], name="event_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.job_type} {self.job_id}: {self.kind}"


class Tally(models.Model):
    """Its one row: what timelines said up to one of their lines, as `jobs.tally` counts."""

    up_to = models.BigIntegerField(default=0)  # key of the last line that is counted
    counts = models.JSONField(default=dict)
    removed = models.JSONField(default=list)  # of the lines counted: [kind of job, of line, number]

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(pk=1), name="tally_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"counted up to line {self.up_to}"


class Job(models.Model):
    """A piece of work with a status. The row is the queue; a Celery message rings the bell.

    Only `jobs.lifecycle` changes the fields below.
    """

    task_name: ClassVar[str]  # the Celery task that does this kind of job
    default_queue: ClassVar[Queue] = Queue.GPU
    keeps_timeline: ClassVar[bool] = True  # False: its rows and their lines are deleted some day
    urgency: ClassVar[int]  # of all queued jobs a worker takes the most urgent, then the oldest

    status = models.CharField(max_length=20, choices=Status.choices, default=Status.QUEUED)
    reason = models.CharField(max_length=500, blank=True)  # why it is as it is, for people
    cause = models.CharField(max_length=30, choices=Cause.choices, blank=True)  # of a failure
    error = models.TextField(blank=True)  # traceback of the failure
    queue = models.CharField(max_length=20, choices=Queue.choices, default=Queue.GPU)
    memory_gb = models.PositiveIntegerField(
        default=0, help_text="only workers whose device has so much take it; 0 = all"
    )
    worker = models.ForeignKey(
        Worker, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    attempt = models.PositiveIntegerField(default=0)  # fencing token: +1 at every claim
    restarts = models.PositiveIntegerField(default=0)  # times lost since queued by a person
    lease_until = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    rung_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(status__in=ACTIVE)
                | Q(worker__isnull=False, lease_until__isnull=False, attempt__gte=1),
                name="%(class)s_active_has_worker_and_lease",
            ),
            models.CheckConstraint(
                condition=Q(status__in=FINISHED, finished_at__isnull=False)
                | (~Q(status__in=FINISHED) & Q(finished_at__isnull=True)),
                name="%(class)s_finished_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.FAILED) | ~Q(reason=""),
                name="%(class)s_failed_has_reason",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "queue", "queued_at", "id"], name="%(class)s_queue"),
            *listed_by("status", "queued_at", "started_at", "finished_at"),
        ]

    @classmethod
    def type_name(cls) -> str:
        return cls._meta.model_name or ""

    @classmethod
    def kinds(cls) -> list[type["Job"]]:
        """Return every concrete kind of job, the most urgent first."""
        found = [model for model in cls.__subclasses__() if not model._meta.abstract]
        return sorted(found, key=lambda kind: kind.urgency, reverse=True)

    @property
    def events(self) -> models.QuerySet[JobEvent]:
        return JobEvent.objects.filter(job_type=self.type_name(), job_id=self.pk)

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def can_cancel(self) -> bool:
        return self.status in (Status.QUEUED, Status.RUNNING)

    @property
    def can_retry(self) -> bool:
        return self.status in (Status.FAILED, Status.CANCELLED)

    @property
    def waiting_for(self) -> str:
        """Return why a queued job is not running yet, for people; empty when it is not queued."""
        is_queued = self.status == Status.QUEUED
        return self.waits_for(Surroundings.now(), self.ahead()) if is_queued else ""

    def waits_for(self, around: Surroundings, ahead: int) -> str:
        """Return why the job, which is queued behind so many, is not running yet."""
        place = f"{ahead} ahead" if ahead else "next in the queue"
        if around.pause:
            return f"the site is {around.pause}; {place}"
        if absence := self._absence(around.workers):
            return f"{absence}; {place}"
        return f"waiting for a free worker, {place}" if ahead else place

    def _absence(self, workers: Sequence[Worker]) -> str:
        """Return that no worker would take the job, and for how long; empty if one would."""
        able = [worker for worker in workers if worker.fits(self)]
        wanted = f" with {self.memory_gb} GB of memory" if self.memory_gb else ""
        place = f"for the queue {self.queue}"
        if any(worker.takes_jobs for worker in able):
            return ""
        if any(worker.is_alive for worker in able):
            return f"every worker{wanted} {place} was told to take no more jobs"
        absence = f"no worker{wanted} is online {place}"
        if not able:
            return absence
        silence = min(worker.silence for worker in able)
        return f"{absence} for {timesince(timezone.now() - silence, depth=1)}"

    def ahead(self: Self) -> int:
        """Return how many queued jobs a worker would take before this one, in one query."""
        kinds = [
            kind._default_manager.filter(
                Q(queue=self.queue) if kind.urgency > self.urgency else self.goes_before(),
                status=Status.QUEUED,
            )
            .order_by()
            .values("pk")
            for kind in Job.kinds()
            if kind.urgency >= self.urgency
        ]
        return kinds[0].union(*kinds[1:], all=True).count()

    def goes_before(self) -> Q:
        """Return which queued jobs, no less urgent, a worker would take before this one."""
        earlier = Q(queued_at__lt=self.queued_at) | Q(queued_at=self.queued_at, pk__lt=self.pk)
        return Q(queue=self.queue) & earlier


def indexes_of(owner: str) -> list[models.Index]:
    """Return the indexes of jobs of an owner: neither statuses nor owners are read from jobs' rows."""
    return [
        *Job.Meta.indexes,
        models.Index(fields=[owner, "status"], name="%(class)s_statuses"),
        models.Index(fields=["status", owner], name="%(class)s_owners"),
    ]


def overall(statuses: set[str]) -> str:
    """Return the status of what has jobs of these; any failure makes it failed."""
    if statuses & set(ACTIVE):
        return Status.RUNNING.value
    if Status.QUEUED in statuses:
        return (Status.RUNNING if Status.COMPLETED in statuses else Status.QUEUED).value
    for status in (Status.FAILED, Status.CANCELLED):
        if status in statuses:
            return status.value
    return Status.COMPLETED.value
