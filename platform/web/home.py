"""The home page: boards with their leaders, what runs now, and what to do next."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from catalog.models import Dataset, Protocol
from experiments import overview
from experiments.models import Experiment
from experiments.pages.live import Region
from jobs.models import Worker
from leaderboards import highlights
from leaderboards.scores import cards

MAX_BOARDS = 6


def home(request: HttpRequest) -> HttpResponse:
    """Show the boards with their leaders, what runs now, who is online, and what to do next."""
    in_use = highlights.protocols_in_use()
    context = {
        "boards": cards.overview(list(in_use[:MAX_BOARDS])),
        "boards_total": in_use.count(),
        "activity": _activity().render(request),
        "steps": _steps(),
        "dataset": Dataset.objects.order_by("-pk").first,  # asked only where a step names it
    }
    return render(request, "web/home.html", context)


def activity(request: HttpRequest) -> HttpResponse:
    """Return the part of the home page that shows what runs now."""
    return _activity().respond(request)


def _activity() -> Region:
    work, waiting = overview.active_work(), overview.queued_by_queue()

    def context() -> dict[str, Any]:
        workers = list(Worker.objects.all())
        return {
            "work": work,
            "waiting": waiting.total(),
            "unserved": overview.unserved_queues(waiting, workers),
            "online": [worker for worker in workers if worker.is_alive],
        }

    live = bool(work) or waiting.total() > 0
    return Region("web/_activity.html", reverse("activity"), live, context)


def _steps() -> list[tuple[str, bool]]:
    """Return the steps to a first board with whether they are done; empty when all are."""
    steps = [
        ("dataset", Dataset.objects.exists()),
        ("protocol", Protocol.objects.exists()),
        ("worker", any(worker.is_alive for worker in Worker.objects.all())),
        ("experiment", Experiment.objects.exists()),
    ]
    needed = [done for name, done in steps if name != "worker"]
    return [] if all(needed) else steps
