"""Transactions at whose end others write what follows from the jobs that moved in them.

Whoever keeps such rows listens to `moved`. It is told once for all jobs, when everything else of the
outermost transaction is written and before it commits: both are there, or neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import transaction
from django.dispatch import Signal

from jobs.models import Job

moved = Signal()  # jobs: those that were queued, ended or queued again
_waiting: ContextVar[list[Job] | None] = ContextVar("jobs that moved", default=None)


@contextmanager
def settled() -> Iterator[None]:
    """Be one transaction, or a part of the one that is settled already."""
    if _waiting.get() is not None:
        with transaction.atomic():
            yield
        return
    jobs: list[Job] = []
    token = _waiting.set(jobs)
    try:
        with transaction.atomic():
            yield
            if jobs:
                moved.send(Job, jobs=jobs)
    finally:
        _waiting.reset(token)


@settled()
def tell(job: Job) -> None:
    """Remember that a job moved, until the transaction ends."""
    jobs = _waiting.get()
    assert jobs is not None, "the decorator has begun a list"
    jobs.append(job)
