"""Looking into trainings before anybody asks: one viewing of each entry, where workers are idle."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from experiments.models import Checkpoint, Run, Viewing
from experiments.submission.specification import SpecificationError
from experiments.viewings import kinds
from experiments.viewings.asking import queue
from jobs.models import ACTIVE, Job, Pause, Status

LATELY = timedelta(days=1)  # a site that turns it on does not draw its whole past
LOOKED_AT = 20  # of the newest trainings, so that a beat stays cheap


def look() -> Viewing | None:
    """Queue the main viewing of a training that ended lately, where no job waits or is at work.

    Of each entry its first run has one, and only where nobody has looked into it: one that failed,
    or that people asked for, is there too. It is nobody's, so it counts against nobody.
    """
    if not settings.VIEWINGS_WHEN_IDLE or Pause.objects.exists() or _is_busy():
        return None
    for run in _unseen()[:LOOKED_AT]:
        if found := _queued(run):
            return found
    return None


def _is_busy() -> bool:
    open_ones = (Status.QUEUED, *ACTIVE)
    return any(kind._default_manager.filter(status__in=open_ones).exists() for kind in Job.kinds())


def _unseen() -> QuerySet[Run]:
    """Return first runs of entries that ended lately and nobody has looked into, the newest first."""
    earlier = Run.objects.filter(entry=OuterRef("entry"), pk__lt=OuterRef("pk"))
    return (
        Run.objects.filter(
            ~Exists(earlier),
            ~Exists(Viewing.objects.filter(run=OuterRef("pk"))),
            Exists(Checkpoint.objects.filter(run=OuterRef("pk"))),
            status=Status.COMPLETED,
            finished_at__gt=timezone.now() - LATELY,
        )
        .select_related("entry__experiment__dataset")
        .order_by("-finished_at", "-pk")
    )


@transaction.atomic
def _queued(run: Run) -> Viewing | None:
    """Return the viewing of a run that was queued, None where another worker was first."""
    Run.objects.select_for_update().get(pk=run.pk)
    if run.viewings.exists():
        return None
    kind = kinds.REVERSE if run.entry.family == "diffusion" else kinds.BETWEEN
    try:
        return queue(run, {"kind": kind})
    except SpecificationError:  # a package that is not installed here
        return None
