"""What waits for a worker, in the order in which it is taken, and why it does."""

from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from django.db.models import QuerySet

from experiments import overview
from jobs.models import Job, Status, Surroundings


@dataclass(frozen=True)
class Waiting:
    """A queued job, and why it is not running yet."""

    work: overview.Work
    reason: str


def first_waiting(queue: str, most: int) -> list[Waiting]:
    """Return at most so many jobs of a queue, the next to be taken first, in constantly many queries."""
    kinds: Any = (kind for kind in Job.kinds() if kind in overview.EVERY)
    jobs = islice(chain.from_iterable(_queued(kind, queue)[:most] for kind in kinds), most)
    around = Surroundings.now()
    return [
        Waiting(overview.describe(job), job.waits_for(around, ahead))
        for ahead, job in enumerate(jobs)
    ]


def _queued(kind: Any, queue: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = overview.EVERY[kind]()
    return rows.filter(status=Status.QUEUED, queue=queue).order_by("queued_at", "pk")
