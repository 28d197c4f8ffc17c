"""Doing one job in a worker: claim, beat while it works, write how it ended."""

import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import DatabaseError, connections

from jobs import lifecycle, logs
from jobs.models import Job
from jobs.presence import this_worker

logger = logging.getLogger(__name__)
J = TypeVar("J", bound=Job)


Write = Callable[..., bool]  # like lifecycle.beat: progress in, False when the job should stop


class Stopped(Exception):
    """The work saw that it should stop and did."""


class Heartbeat:
    """A thread that renews the lease and writes the latest progress every BEAT_SECONDS.

    `should_stop()` turns true when the job is being cancelled or no longer belongs to this
    attempt; the work looks at it often and raises `Stopped`. `write` is how a beat is written:
    `lifecycle.beat`, until the work sets a function of the same shape that writes more with it.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.write: Write = lifecycle.beat
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

    def report(self, **progress: Any) -> None:
        """Remember progress for the next beat."""
        self._progress = progress

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Stopped if the work should stop."""
        if self.should_stop():
            raise Stopped

    def _run(self) -> None:
        while not self._ended.wait(settings.BEAT_SECONDS):
            if os.getppid() != self._parent:
                # The worker was killed: nobody watches this child. Its lease will lapse.
                os.kill(os.getpid(), signal.SIGKILL)
            self._beat()
        connections.close_all()

    def _beat(self) -> None:
        try:
            if not self.write(self.job, **self._progress):
                self._stop.set()
        except DatabaseError as error:
            logger.warning("%s %s: beat missed: %s", self.job.type_name(), self.job.pk, error)
            connections.close_all()
        except Exception:
            # Stale, or a beat that cannot be written: without a lease nobody may work on.
            logger.exception("%s %s: stops", self.job.type_name(), self.job.pk)
            self._stop.set()


def execute(job_class: type[J], pk: int, work: Callable[[J, Heartbeat], None]) -> None:
    """Claim a job, do the work, and write failed or cancelled where it did not complete.

    1. Claim; return when there is nothing to claim (a doubled or late message).
    2. Beat from here on, and call `work`, which completes the row, results and state together.
    3. Stopped → cancelled. Any error → failed with its reason and traceback.
    """
    job = lifecycle.claim(job_class, pk, this_worker())
    if job is None:
        logger.info("%s %s: nothing to claim", job_class.type_name(), pk)
        return
    with logs.about(job.type_name(), job.pk, job.attempt):
        _work(job, work)


def _work(job: J, work: Callable[[J, Heartbeat], None]) -> None:
    logger.info("%s %s: attempt %d", job.type_name(), job.pk, job.attempt)
    try:
        with Heartbeat(job) as heartbeat:
            work(job, heartbeat)
    except (Stopped, lifecycle.StaleAttempt) as error:
        ended = lifecycle.confirm_cancel(job)
        logger.info("%s %s: %s", job.type_name(), job.pk, "cancelled" if ended else error)
    except lifecycle.JobError as error:
        _fail(job, str(error))
    except MemoryError:
        _fail(job, "out of memory")
    except Exception as error:  # noqa: BLE001  # the one boundary of all work: the row must say it
        _fail(job, f"{type(error).__name__}: {error}")


def _fail(job: Job, reason: str) -> None:
    """Write failed, or cancelled if that was asked for in the meantime."""
    error = traceback.format_exc()
    logger.error("%s %s: failed: %s\n%s", job.type_name(), job.pk, reason, error)
    if not lifecycle.fail(job, reason, error=error):
        lifecycle.confirm_cancel(job)
