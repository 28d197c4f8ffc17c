"""Doing one job in a worker: claim, beat while it works, write how it ended."""

import errno
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from django.db import DatabaseError, connections

from jobs import lifecycle, logs
from jobs.models import Cause, Job, JobEvent
from jobs.presence import this_worker

logger = logging.getLogger(__name__)

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EREMOTEIO}  # the last: of a bucket

SAY_SECONDS = 30  # between two lines about the same job's progress

Write = Callable[..., bool]  # like lifecycle.beat: progress in, False when the job should stop


class JobStopped(Exception):
    """The work saw that it should stop and did."""


class Heartbeat:
    """A thread that renews the lease and writes the latest progress every BEAT_SECONDS.

    `should_stop()` turns true when the job is being cancelled, no longer belongs to this attempt,
    took too long, or its worker was told to stop; the work looks at it often and raises `JobStopped`.
    `write` is how a beat is written: `lifecycle.beat`, until the work sets a function of the same
    shape that writes more with it. Work that reports nothing for STALL_SECONDS hangs: the process
    ends itself, so that its lease lapses and the job is queued again.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.write: Write = lifecycle.beat
        self.released = False  # the worker was told to stop
        self.overdue = False  # the job took longer than JOB_SECONDS
        self._began = self._moved = time.monotonic()
        self._said = self._began
        self._logged: dict[str, Any] = {}
        self._progress: dict[str, Any] = {}
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._parent = os.getppid()
        run = partial(copy_context().run, self._run)  # its lines are about the job as well
        self._thread = threading.Thread(target=run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self, *, flush: bool = False) -> None:
        """Beat no more: the work is done and about to be written; `flush` writes what is left."""
        self._ended.set()
        self._thread.join()
        if flush:
            self._beat()
        self._say()

    def report(self, **progress: Any) -> None:
        """Remember progress for the next beat."""
        self._progress, self._moved = progress, time.monotonic()

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raise JobStopped if the work should stop."""
        if self.should_stop():
            raise JobStopped

    def _run(self) -> None:
        while not self._ended.wait(settings.BEAT_SECONDS):
            if os.getppid() != self._parent:
                # The worker was killed: nobody watches this child. Its lease will lapse.
                os.kill(os.getpid(), signal.SIGKILL)
            self._watch(time.monotonic())
            self._beat()
            if time.monotonic() - self._said >= SAY_SECONDS:
                self._say()
        connections.close_all()

    def _watch(self, now: float) -> None:
        """Stop work that takes too long, and end this process if its work hangs."""
        if settings.JOB_SECONDS and now - self._began > settings.JOB_SECONDS:
            self.overdue = True
            self._stop.set()
        if now - self._moved > settings.STALL_SECONDS:
            message = f"no progress for {settings.STALL_SECONDS} s, its process was ended"
            logger.error("%s %s: %s", self.job.type_name(), self.job.pk, message)
            try:
                lifecycle.note(self.job, JobEvent.Kind.LOST, message)
            finally:  # also where the database does not answer
                os.kill(os.getpid(), signal.SIGKILL)

    def _say(self) -> None:
        """Log how far the work is, now and then and at its end, once each."""
        self._said = time.monotonic()
        if (progress := self._progress) and progress is not self._logged:
            self._logged = progress
            logger.info("%s %s: %s", self.job.type_name(), self.job.pk, in_words(progress))

    def _beat(self) -> None:
        try:
            if not self.write(self.job, **self._progress):
                self._stop.set()
            elif lifecycle.told_to_stop(self.job):
                self.released = True
                self._stop.set()
        except DatabaseError as error:
            logger.warning("%s %s: beat missed: %s", self.job.type_name(), self.job.pk, error)
            connections.close_all()
        except Exception:
            # Stale, or a beat that cannot be written: without a lease nobody may work on.
            logger.exception("%s %s: stops", self.job.type_name(), self.job.pk)
            self._stop.set()


def in_words(progress: Mapping[str, Any]) -> str:
    """Return numbers and texts by their names, those of a part after the part's, in one line."""
    found = []
    for name, value in progress.items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            found.append(f"{words} ({in_words(value)})")
        elif isinstance(value, float):
            found.append(f"{words} {value:.4g}")
        elif isinstance(value, int | str):
            found.append(f"{words} {value}")
    return ", ".join(found)


Work = Callable[[Any, Heartbeat], None]
KeepLog = Callable[[Job], AbstractContextManager[None]]  # keeps what is logged about an attempt


def execute(
    kind: type[Job],
    pk: int,
    works: Mapping[type[Job], Work],
    *,
    keep_log: KeepLog = nullcontext,  # type: ignore[assignment]  # keeps nothing
) -> None:
    """Answer the bell of a job: claim what is most urgent in its queue, and do it.

    1. Claim; return when there is nothing to claim (a doubled or late message), or the worker was
       told to take no more.
    2. Beat from here on, and call the kind's work, which completes the row, results and state
       together.
    3. JobStopped → cancelled, queued again or timed out. Any error → failed with its reason and
       traceback.
    """
    job = _claimed(kind, pk)
    if job is None:
        logger.info("%s %s: nothing to claim", kind.type_name(), pk)
        return
    with logs.about(job.type_name(), job.pk, job.attempt), keep_log(job):
        _work(job, works[type(job)])


def _work(job: Job, work: Work) -> None:
    logger.info("%s %s: attempt %d on %s", job.type_name(), job.pk, job.attempt, job.worker)
    heartbeat = Heartbeat(job)
    try:
        with heartbeat:
            work(job, heartbeat)
        logger.info("%s %s: ended", job.type_name(), job.pk)
    except (JobStopped, lifecycle.StaleAttempt) as error:
        logger.info("%s %s: %s", job.type_name(), job.pk, _stopped(job, heartbeat) or error)
    except lifecycle.JobError as error:
        _fail(job, str(error), error.cause)
    except MemoryError:
        _fail(job, "out of memory", Cause.MEMORY)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            _fail(job, f"{type(error).__name__}: {error}", Cause.ERROR)
        else:
            _fail(job, f"files cannot be read or written: {error.strerror}", Cause.STORAGE)
    except Exception as error:  # noqa: BLE001  # the one boundary of all work: the row must say it
        _fail(job, f"{type(error).__name__}: {error}", Cause.ERROR)


def _claimed(kind: type[Job], pk: int) -> Job | None:
    worker = this_worker()
    queue = kind._default_manager.filter(pk=pk).values_list("queue", flat=True).first()
    if queue is None or worker.order:
        return None
    return lifecycle.claim_next(queue, worker)


def _stopped(job: Job, heartbeat: Heartbeat) -> str:
    """Write how stopped work ended, and return it in words; empty if the attempt was stale."""
    if heartbeat.released and lifecycle.release(job):
        return "queued again"
    limit = f"timed out: it took longer than {settings.JOB_SECONDS} s"
    if heartbeat.overdue and lifecycle.fail(job, limit, cause=Cause.TIME):
        return limit
    return "cancelled" if lifecycle.confirm_cancel(job) else ""


def _fail(job: Job, reason: str, cause: Cause) -> None:
    """Write failed, or cancelled if that was asked for in the meantime."""
    error = traceback.format_exc()
    logger.error("%s %s: failed: %s\n%s", job.type_name(), job.pk, reason, error)
    if not lifecycle.fail(job, reason, cause=cause, error=error):
        lifecycle.confirm_cancel(job)
