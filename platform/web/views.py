"""Pages of datasets, protocols and workers, and the health of the site."""

from collections import defaultdict

from django.core.paginator import Paginator
from django.db import DatabaseError
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from accounts.permissions import is_admin
from catalog.models import Dataset, Protocol
from experiments import controls, overview
from experiments.lifetime.waiting import first_waiting
from experiments.models import Entry, SampleSet
from experiments.pages.addresses import protocol_of
from jobs.models import Order, Pause, Status, Worker
from leaderboards import protocol_box

PAGE_SIZE = 50
MOST_SIBLINGS = 20  # protocols of the same dataset, on the page of one
MOST_PROTOCOLS = 5  # of a dataset, in the list
MOST_LOOKED_AT = 20  # experiments of a dataset, for its real images
MOST_WAITING = 20  # jobs of a queue, the next to be taken
MOST_LINES = 100  # protocols to choose from


def datasets(request: HttpRequest) -> HttpResponse:
    first = Protocol.objects.only("dataset_id", "name", "fingerprint")[:MOST_PROTOCOLS]
    counted = Dataset.objects.annotate(protocols_total=Count("protocols")).order_by("slug")
    found = counted.prefetch_related(Prefetch("protocols", first, to_attr="first_protocols"))
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "web/datasets.html", {"page": page})


def dataset(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Dataset, slug=slug)
    context = {
        "dataset": found,
        "protocols": found.protocols.all()[:MOST_LINES],
        "protocols_total": found.protocols.count(),
        "experiments": found.experiments.all()[:20],
        "experiments_total": found.experiments.count(),
        "real_images": _real_images(found),
    }
    return render(request, "web/dataset.html", context)


def _real_images(dataset: Dataset) -> SampleSet | None:
    """Return what the control of test images drew last; among the first experiments, if not lately."""
    experiments = dataset.experiments.order_by("created_at", "pk").values_list("pk", flat=True)
    for few in (experiments.reverse()[:MOST_LOOKED_AT], experiments[:MOST_LOOKED_AT]):
        grids = SampleSet.objects.filter(
            entry__experiment__in=list(few),
            entry__kind=Entry.Kind.CONTROL,
            entry__config__control=controls.TEST,
            status=Status.COMPLETED,
        )
        if found := grids.order_by("-pk").first():
            return found
    return None


def protocol(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show everything that decides a value; with `?with=` the differences to another protocol."""
    protocols = Protocol.objects.select_related("dataset")
    found, wanted = protocol_of(fingerprint), request.GET.get("with")
    other = protocol_of(wanted) if wanted else None
    siblings = protocols.filter(dataset=found.dataset).exclude(pk=found.pk)
    context = {
        **protocol_box.describe(found),
        "apart": protocol_box.apart(found, siblings[:MOST_SIBLINGS]),
        "siblings_total": siblings.count(),
        "others": protocols.exclude(pk=found.pk)[:MOST_LINES],
        "others_total": Protocol.objects.count() - 1,
        "chosen": protocol_box.apart(found, [other])[0] if other else None,
        "experiments": found.experiments.all()[:20],
        "experiments_total": found.experiments.count(),
    }
    return render(request, "web/protocol.html", context)


def workers(request: HttpRequest) -> HttpResponse:
    """List workers with what each is doing, and what waits for them."""
    doing = defaultdict(list)
    for work in overview.active_work():
        doing[work.job.worker_id].append(work)
    queued = overview.queued_by_queue()
    found = Worker.objects.exclude(order=Order.REMOVED).order_by("-last_seen", "name")
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [(worker, doing[worker.pk]) for worker in page],
        "pause": Pause.objects.first(),
        "waiting": [
            (queue, number, first_waiting(queue, MOST_WAITING))
            for queue, number in sorted(queued.items())
        ],
        "may_pause": is_admin(request.user),
        "may_remove": is_admin(request.user),
    }
    return render(request, "web/workers.html", context)


def health(request: HttpRequest) -> JsonResponse:
    """Say whether the site can work: 200 when the database answers, else 503."""
    try:
        online = sum(worker.is_alive for worker in Worker.objects.all())
        queued = overview.queued_by_queue().total()
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": "no answer"}, status=503)
    return JsonResponse(
        {"status": "ok", "database": "ok", "workers_online": online, "queued_jobs": queued}
    )
