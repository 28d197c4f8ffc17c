"""The only code that changes a job's state: conditional UPDATEs with an attempt number.

    queued ──claim──▶ running ──complete──▶ completed
      ▲                 │ │ └───fail───────▶ failed
      │   requeue_lost  │ └cancel▶ cancelling ─confirm_cancel▶ cancelled
      └──── lost ◀──────┘
      ├──── release ◀───┘  its worker was told to stop
      └────────────── retry ◀── failed, cancelled

A stale attempt can write nothing: every UPDATE of a worker names the attempt it was given. Leases
begin and lapse by the database's clock: hosts need not agree on the time.
"""

import logging
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from jobs.models import ACTIVE, GB, Cause, Job, JobEvent, Order, Pause, Status, Worker
from jobs.settled import settled, tell

logger = logging.getLogger(__name__)
J = TypeVar("J", bound=Job)
Kind = JobEvent.Kind


class StaleAttempt(Exception):
    """The row was taken away from this attempt: lost and queued again, cancelled, or deleted."""


class JobError(Exception):
    """A failure whose message is all that a person needs; no traceback is shown first."""

    def __init__(self, message: str, cause: Cause = Cause.INPUT) -> None:
        super().__init__(message)
        self.cause = cause


def note(job: Job, kind: JobEvent.Kind, message: str = "", *, worker: str = "") -> None:
    """Add a line to the job's timeline."""
    JobEvent.objects.create(
        job_type=job.type_name(),
        job_id=job.pk,
        kind=kind,
        attempt=job.attempt,
        worker=worker or (job.worker.name if job.worker else ""),
        message=message,
        at=Now(),
    )


def ring(job: Job) -> None:
    """Wake a worker for a queued job. A bell that cannot ring loses nothing: rows wait."""
    type(job)._default_manager.filter(pk=job.pk).update(rung_at=Now())
    try:
        current_app.send_task(job.task_name, args=[job.pk], queue=job.queue, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning(
            "%s %s: the broker did not take the message: %s", job.type_name(), job.pk, error
        )


def enqueue(job: Job) -> None:
    """Note a newly saved job as queued and ring once the transaction is committed."""
    note(job, Kind.QUEUED)
    tell(job)
    transaction.on_commit(partial(ring, job))


def lease_end() -> Combinable:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


@transaction.atomic
def claim(job_class: type[J], pk: int, worker: Worker) -> J | None:
    """Return the job if this call took it, None if it is not there to be taken.

    1. UPDATE queued → running with a new attempt number, this worker and a lease.
    2. If no row changed, somebody else was first, or the job is finished: return None.
    """
    taken = job_class._default_manager.filter(pk=pk, status=Status.QUEUED).update(
        status=Status.RUNNING,
        reason="",
        cause="",
        error="",
        attempt=F("attempt") + 1,
        worker=worker,
        lease_until=lease_end(),
        started_at=Now(),
        heartbeat_at=Now(),
    )
    if not taken:
        return None
    job = job_class._default_manager.get(pk=pk)
    note(job, Kind.CLAIMED)
    return job


def claim_next(queue: str, worker: Worker) -> Job | None:
    """Return the queue's most urgent job, then the oldest, claimed by this call; None if none is left.

    Jobs that need more memory than the worker's device has are left to others. Whoever was faster with one leaves the next: a bell says that there is work, not which. None as
    well while the site is paused.
    """
    if Pause.objects.exists():
        return None
    for kind in Job.kinds():
        queued = kind._default_manager.filter(
            status=Status.QUEUED, queue=queue, memory_gb__lte=worker.memory_bytes // GB
        )
        for pk in queued.order_by("queued_at", "pk").values_list("pk", flat=True).iterator():
            if job := claim(kind, pk, worker):
                return job
    return None


def pause(*, by: str) -> bool:
    """Let no job be claimed from now on; return False if that was so already."""
    return Pause.objects.get_or_create(pk=1, defaults={"by": by})[1]


def resume() -> bool:
    """Let jobs be claimed again; return False if they were. Idle workers ring for what waits."""
    return bool(Pause.objects.all().delete()[0])


def told_to_stop(job: Job) -> bool:
    """Return whether the job's worker is to hand it back and end."""
    return Worker.objects.filter(pk=job.worker_id or 0, order=Order.STOP).exists()


def _update(job: Job, *statuses: Status, **fields: Any) -> bool:
    rows = type(job)._default_manager.filter(pk=job.pk, attempt=job.attempt, status__in=statuses)
    return rows.update(**fields) == 1


def beat(job: Job, **progress: Any) -> bool:
    """Renew the lease and write progress; return False when the job should stop (cancelling).

    Raises:
        StaleAttempt: if the row no longer belongs to this attempt.
    """
    alive = {"lease_until": lease_end(), "heartbeat_at": Now()}
    if _update(job, Status.RUNNING, **alive, **progress):
        return True
    if _update(job, Status.CANCELLING, **alive, **progress):
        return False
    raise StaleAttempt(f"{job.type_name()} {job.pk}: attempt {job.attempt} no longer holds the row")


@settled()
def complete(job: Job, **results: Any) -> None:
    """Write results and the state completed together.

    Raises:
        StaleAttempt: if the row no longer belongs to this attempt, or is being cancelled.
    """
    done = _update(
        job,
        Status.RUNNING,
        status=Status.COMPLETED,
        lease_until=None,
        finished_at=Now(),
        **results,
    )
    if not done:
        raise StaleAttempt(f"{job.type_name()} {job.pk}: attempt {job.attempt} may not complete it")
    note(job, Kind.COMPLETED)
    tell(job)


@settled()
def fail(job: Job, reason: str, *, cause: Cause = Cause.ERROR, error: str = "") -> bool:
    """Write failed(reason, cause, traceback); return False if the attempt was stale."""
    failed = _update(
        job,
        Status.RUNNING,
        status=Status.FAILED,
        reason=reason[:500],
        cause=cause,
        error=error,
        lease_until=None,
        finished_at=Now(),
    )
    if failed:
        note(job, Kind.FAILED, reason)
        tell(job)
    return failed


@transaction.atomic
def release(job: Job) -> bool:
    """Queue a job again whose worker was told to stop; return False if the attempt was stale.

    Nobody is to blame: it does not count as lost.
    """
    released = _update(
        job,
        Status.RUNNING,
        status=Status.QUEUED,
        reason="its worker was stopped, continues from the last checkpoint",
        lease_until=None,
    )
    if released:
        note(job, Kind.REQUEUED, "its worker was stopped")
        transaction.on_commit(partial(ring, job))
    return released


@settled()
def cancel(job: Job, *, by: str) -> bool:
    """Cancel a queued job at once, ask a running one to stop; return False if neither.

    `by` is who wants it, for the reason and the timeline.
    """
    reason = f"cancelled by {by}"
    rows = type(job)._default_manager.filter(pk=job.pk)
    ended = rows.filter(status=Status.QUEUED).update(
        status=Status.CANCELLED, reason=f"{reason} while queued", finished_at=Now()
    )
    if ended:
        note(job, Kind.CANCELLED, f"by {by} while queued")
        tell(job)
        return True
    asked = rows.filter(status=Status.RUNNING).update(status=Status.CANCELLING, reason=reason)
    if asked:
        note(job, Kind.CANCELLING, f"by {by}")
    return bool(asked)


@settled()
def confirm_cancel(job: Job) -> bool:
    """Write cancelled after the work has stopped; return False if the attempt was stale."""
    stopped = _update(
        job,
        Status.CANCELLING,
        status=Status.CANCELLED,
        lease_until=None,
        finished_at=Now(),
    )
    if stopped:
        note(job, Kind.CANCELLED, "while running")
        tell(job)
    return stopped


@settled()
def retry(job: Job, *, by: str) -> bool:
    """Queue a failed or cancelled job again; return False if it is neither."""
    queued = (
        type(job)
        ._default_manager.filter(pk=job.pk, status__in=(Status.FAILED, Status.CANCELLED))
        .update(
            status=Status.QUEUED,
            reason="",
            cause="",
            error="",
            restarts=0,
            finished_at=None,
            lease_until=None,
            queued_at=Now(),
        )
    )
    if queued:
        note(job, Kind.QUEUED, f"retried by {by}")
        tell(job)
        transaction.on_commit(partial(ring, job))
    return bool(queued)


def requeue_lost(*, of: QuerySet[Worker] | None = None) -> int:
    """Return how many jobs were taken from a worker that is gone.

    Those with a lapsed lease; or, with `of`, all jobs of workers that are known to have ended.
    Running: lost → queued from its last checkpoint, or failed when lost too often.
    Cancelling: cancelled. Everybody may call this at any time; each row changes once.
    """
    gone = Q(lease_until__lt=Now()) if of is None else Q(worker__in=of)
    held = [
        job
        for kind in Job.kinds()
        for job in kind._default_manager.filter(gone, status__in=ACTIVE).select_related("worker")
    ]
    return sum(_take_back(job, blame=of is None) for job in held)


@settled()
def _take_back(job: Job, *, blame: bool) -> bool:
    """Take one job from its worker; `blame` counts the loss towards MAX_RESTARTS."""
    rows = type(job)._default_manager.filter(
        pk=job.pk, attempt=job.attempt, status=job.status, lease_until=job.lease_until
    )
    worker = job.worker.name if job.worker else "?"
    lost = f"{worker} has not been heard of since {job.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"
    end = {"lease_until": None, "finished_at": Now()}
    if job.status == Status.CANCELLING:
        changed = rows.update(status=Status.CANCELLED, reason=f"{job.reason}; {lost}"[:500], **end)
        message = Kind.CANCELLED
    elif blame and job.restarts >= settings.MAX_RESTARTS:
        reason = f"node lost {job.restarts + 1} times; {lost}"
        changed = rows.update(status=Status.FAILED, reason=reason, cause=Cause.LOST, **end)
        message = Kind.FAILED
    else:
        changed = rows.update(
            status=Status.QUEUED,
            reason="node lost, continues from the last checkpoint",
            restarts=F("restarts") + int(blame),
            lease_until=None,
        )
        message = Kind.REQUEUED
    if not changed:
        return False
    logger.warning("%s %s: %s", job.type_name(), job.pk, lost)
    note(job, Kind.LOST, lost)
    note(job, message)
    tell(job)
    if message == Kind.REQUEUED:
        transaction.on_commit(partial(ring, job))
    return True
