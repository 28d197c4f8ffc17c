"""Why each of many jobs waits, in a few questions to the database."""

from collections import Counter
from collections.abc import Sequence

from django.db.models import Count

from jobs.models import Job, Status, Surroundings


def reasons(jobs: Sequence[Job]) -> dict[int, str]:
    """Return why queued jobs of one kind are not running yet, by their keys; others have none."""
    queued = [job for job in jobs if job.status == Status.QUEUED]
    if not queued:
        return {}
    around, ahead = Surroundings.now(), _ahead(queued)
    return {job.pk: job.waits_for(around, ahead[job.pk]) for job in queued}


def _ahead(jobs: Sequence[Job]) -> dict[int, int]:
    """Return for each how many queued jobs a worker would take before it, as `Job.ahead` does."""
    kind = type(jobs[0])
    urgent: Counter[str] = Counter()
    for other in Job.kinds():
        if other.urgency > kind.urgency:
            waiting = other._default_manager.filter(status=Status.QUEUED).order_by()
            urgent.update(dict(waiting.values_list("queue").annotate(Count("pk"))))
    counts = {f"of_{job.pk}": Count("pk", filter=job.goes_before()) for job in jobs}
    equal: Counter[int] = Counter()
    for other in Job.kinds():
        if other.urgency == kind.urgency:
            found = other._default_manager.filter(status=Status.QUEUED).aggregate(**counts)
            equal.update({job.pk: found[f"of_{job.pk}"] for job in jobs})
    return {job.pk: urgent[job.queue] + equal[job.pk] for job in jobs}
