"""The first page of the admin: what waits, who works, what failed, how full the disk is."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from experiments import overview
from jobs.models import Job, JobEvent, Status, Surroundings

MOST_FAILURES = 10
MOST_WORKERS = 20


@dataclass(frozen=True)
class Failure:
    """A job that failed, as one line."""

    name: str
    url: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Disk:
    """The disk that holds the data folder."""

    used: int  # bytes
    total: int
    free: int

    @property
    def percent(self) -> int:
        return round(100 * self.used / self.total) if self.total else 0


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return what the admin's first page shows, as unfold asks for it."""
    now = Surroundings.now()
    waiting = overview.queued_by_queue()
    shown = {
        "title": "Overview",
        "waiting": sorted(waiting.items()),
        "waiting_total": waiting.total(),
        "running": len(overview.active_work()),
        "unserved": overview.unserved_queues(waiting, now.workers),
        "pause": now.pause,
        "workers": now.workers[:MOST_WORKERS],
        "workers_total": len(now.workers),
        "online": sum(worker.is_alive for worker in now.workers),
        "failures": list(failures()),
        "disk": disk(),
    }
    return {**context, **shown}


def failures() -> Iterator[Failure]:
    """Yield the newest failures of jobs that are there and failed still, the newest first."""
    kinds = {kind.type_name(): kind for kind in Job.kinds()}
    events = JobEvent.objects.filter(kind=JobEvent.Kind.FAILED).order_by("-pk")[:MOST_FAILURES]
    for event in events:
        failed = kinds[event.job_type]._default_manager.filter(status=Status.FAILED)
        if job := failed.filter(pk=event.job_id).first():
            yield Failure(str(job), address(job), event.at, event.message)


def address(job: Job) -> str:
    """Return the page of a job in the admin; "" where it has none there."""
    if not admin.site.is_registered(type(job)):
        return ""
    return reverse(f"admin:{job._meta.app_label}_{job._meta.model_name}_change", args=[job.pk])


def disk() -> Disk:
    used = shutil.disk_usage(settings.DATA_DIR)
    return Disk(used.total - used.free, used.total, used.free)
