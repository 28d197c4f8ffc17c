"""Doing one job in a worker: claim, beat while it works, write how it ended."""

import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import DatabaseError, connections

from jobs import lifecycle
from jobs.models import Job
from jobs.presence import this_worker

logger = logging.getLogger(__name__)
J = TypeVar("J", bound=Job)


class Stopped(Exception):
    """The work saw that it should stop and did."""


class Heartbeat:
    """A thread that renews the lease and writes the latest progress every BEAT_SECONDS.

    `stop` is set when the job is being cancelled or no longer belongs to this attempt; the
    work looks at it and raises `Stopped`.
    """

    def __init__(self, job: Job, on_beat: Callable[[], None] | None = None) -> None:
        self.job = job
        self.on_beat = on_beat
        self.stop = threading.Event()
        self._progress: dict[str, Any] = {}
        self._ended = threading.Event()
        self._parent = os.getppid()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def report(self, **progress: Any) -> None:
        """Remember progress for the next beat."""
        self._progress = progress

    def check(self) -> None:
        """Raise Stopped if the work should stop."""
        if self.stop.is_set():
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
            if not lifecycle.beat(self.job, **self._progress):
                self.stop.set()
            if self.on_beat:
                self.on_beat()
        except lifecycle.StaleAttempt as error:
            logger.warning("%s", error)
            self.stop.set()
        except DatabaseError as error:
            logger.warning("%s %s: beat missed: %s", self.job.type_name(), self.job.pk, error)
            connections.close_all()


def execute(job_class: type[J], pk: int, work: Callable[[J], None]) -> None:
    """Claim a job, do the work, and write failed or cancelled where it did not complete.

    1. Claim; return when there is nothing to claim (a doubled or late message).
    2. Call `work(job)`, which beats and completes the row itself, results and state together.
    3. Stopped → cancelled. Any error → failed with its reason and traceback.
    """
    job = lifecycle.claim(job_class, pk, this_worker())
    if job is None:
        logger.info("%s %s: nothing to claim", job_class.type_name(), pk)
        return
    logger.info("%s %s: attempt %d", job.type_name(), pk, job.attempt)
    try:
        work(job)
    except (Stopped, lifecycle.StaleAttempt) as error:
        ended = lifecycle.confirm_cancel(job)
        logger.info("%s %s: %s", job.type_name(), pk, "cancelled" if ended else error)
    except lifecycle.JobError as error:
        lifecycle.fail(job, str(error), error=traceback.format_exc())
    except MemoryError:
        lifecycle.fail(job, "out of memory", error=traceback.format_exc())
    except Exception as error:
        # The one boundary of all work: whatever it was, the row must say it.
        logger.exception("%s %s: failed", job.type_name(), pk)
        lifecycle.fail(job, f"{type(error).__name__}: {error}", error=traceback.format_exc())
