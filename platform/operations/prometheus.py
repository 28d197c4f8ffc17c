"""What Prometheus asks for, `/metrics`: jobs and workers from the database, requests of this process.

Every web process says the same of jobs and workers, for their rows are read at each scrape.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate, product

from django.conf import settings
from django.db import Error
from django.db.models import Count, Min, Value
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from accounts.permissions import is_admin
from jobs.models import Job, JobEvent, Queue, Status, Worker
from jobs.numbers import by_status
from jobs.tally import BOUNDS, Counts, counted

REGISTRY = CollectorRegistry()
REQUESTS = Histogram(
    "trilemma_http_request_duration_seconds",
    "Time to answer a request, by the view's name, of one web process.",
    ["view", "status", "pid"],
    registry=REGISTRY,
)


def observe_request(*, view: str, status: int, seconds: float) -> None:
    """Count a request that was answered; `status` is shortened to its class, such as 2xx."""
    # The pid keeps the series of gunicorn's processes apart: a scrape meets only one of them.
    REQUESTS.labels(view=view, status=f"{status // 100}xx", pid=os.getpid()).observe(seconds)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Return all metrics as text, to admins and to whoever has METRICS_TOKEN."""
    if not _may_read(request):
        return HttpResponse("for admins, or with METRICS_TOKEN\n", "text/plain", status=403)
    try:
        text = generate_latest(REGISTRY)
    except Error:
        return HttpResponse("the database does not answer\n", "text/plain", status=503)
    return HttpResponse(text, CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    return is_admin(request.user)


class _Rows(Collector):
    """Metrics of jobs and workers, asked of the database."""

    def collect(self) -> Iterator[Metric]:
        counts = counted()
        yield from _queues()
        yield _jobs()
        yield _durations(counts)
        yield _events(counts)
        yield from _workers()


REGISTRY.register(_Rows())


def _queues() -> Iterator[Metric]:
    depth = GaugeMetricFamily("trilemma_queue_depth", "Jobs that wait.", labels=["queue", "kind"])
    oldest = GaugeMetricFamily(
        "trilemma_queue_oldest_seconds",
        "Age of the job that waits longest, 0 when none waits.",
        labels=["queue", "kind"],
    )
    now, waiting = timezone.now(), _waiting()
    for kind, queue in product((kind.type_name() for kind in Job.kinds()), Queue.values):
        number, since = waiting.get((kind, queue), (0, now))
        depth.add_metric([queue, kind], number)
        oldest.add_metric([queue, kind], (now - since).total_seconds())
    yield from (depth, oldest)


def _waiting() -> dict[tuple[str, str], tuple[int, datetime]]:
    """Return by kind and queue how many jobs wait and since when, in one query."""
    kinds = [
        kind._default_manager.filter(status=Status.QUEUED)
        .order_by()
        .values_list(Value(kind.type_name()), "queue")
        .annotate(number=Count("pk"), since=Min("queued_at"))
        for kind in Job.kinds()
    ]
    found = kinds[0].union(*kinds[1:], all=True)
    return {(kind, queue): (number, since) for kind, queue, number, since in found}


def _jobs() -> Metric:
    family = GaugeMetricFamily("trilemma_jobs", "Jobs by status.", labels=["kind", "status"])
    numbers = by_status()
    for labels in product((kind.type_name() for kind in Job.kinds()), Status.values):
        family.add_metric(labels, numbers[labels])
    return family


def _durations(counts: Counts) -> Metric:
    family = HistogramMetricFamily(
        "trilemma_job_duration_seconds",
        "Time from the last claim of a job to its end, of every end there ever was.",
        labels=["kind", "outcome"],
    )
    bounds = [*map(str, BOUNDS), "+Inf"]
    for (kind, outcome), found in sorted(counts.durations.items()):
        buckets = list(zip(bounds, accumulate(found.counts), strict=True))
        family.add_metric([kind, outcome], buckets, found.seconds)
    return family


def _events(counts: Counts) -> Metric:
    """Return how often jobs came to each state; lines of timelines are only ever added."""
    family = CounterMetricFamily(
        "trilemma_job_events",
        "Lines of the jobs' timelines: claimed, completed, failed, lost, requeued and so on.",
        labels=["kind", "event"],
    )
    names = [kind.type_name() for kind in Job.kinds() if kind.keeps_timeline]
    for labels in product(names, JobEvent.Kind.values):
        family.add_metric(labels, counts.lines[labels])
    return family


def _workers() -> Iterator[Metric]:
    known = list(Worker.objects.all())
    alive = sum(worker.is_alive for worker in known)
    yield GaugeMetricFamily("trilemma_workers_known", "Workers ever seen.", value=len(known))
    yield GaugeMetricFamily("trilemma_workers_alive", "Workers seen just now.", value=alive)
