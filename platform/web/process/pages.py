"""The pages of the process viewers: how a trained model makes images, a tab for each way to look."""

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from experiments import overview
from experiments.models import Run, Viewing
from experiments.ownership import changeable
from experiments.pages.live import Region
from experiments.viewings.kinds import VIEWERS, Viewer, offered
from jobs.models import FINISHED, Status
from web.process.box import ViewingBox
from web.process.film import film_of, history

LATEST = 8  # viewings of a kind that are linked


def process(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the newest viewing of a kind, `?show=`, of a run; by POST somebody asks for one."""
    run = get_object_or_404(overview.loaded_runs(), pk=pk)
    viewer = _chosen(run, request.GET.get("show", ""))
    shown = _newest(run, viewer)
    box = ViewingBox.of(request, run, viewer, shown)
    if request.method == "POST":
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if asked := box.ask():
            return redirect(asked)
    return _page(request, box, shown)


def viewing(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one viewing, or how far it is."""
    found = get_object_or_404(overview.loaded_viewings(), pk=pk)
    viewer = VIEWERS.get(found.kind)
    if viewer is None:
        raise Http404(f"the viewer {found.kind!r} is no more")
    box = ViewingBox.of(request, found.run, viewer, found)
    return _page(request, box, found)


def viewing_region(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the live part of the page."""
    found = get_object_or_404(overview.loaded_viewings(), pk=pk)
    return _region(found, request).respond(request)


def _chosen(run: Run, key: str) -> Viewer:
    viewers = {viewer.key: viewer for viewer in offered(run.entry)}
    if not viewers:
        raise Http404("no way to look into this training is known here")
    return viewers.get(key) or next(iter(viewers.values()))


def _newest(run: Run, viewer: Viewer) -> Viewing | None:
    """Return the newest viewing with pictures; without one, the newest that may have some."""
    rows = overview.loaded_viewings().filter(run=run, kind=viewer.key).order_by("-pk")
    done = rows.filter(status=Status.COMPLETED).first()
    return done or rows.exclude(status__in=FINISHED).first()


def _page(request: HttpRequest, box: ViewingBox, shown: Viewing | None) -> HttpResponse:
    run, viewer = box.run, box.viewer
    others = Viewing.objects.filter(run=run, kind=viewer.key, status=Status.COMPLETED)
    context = {
        "run": run,
        "experiment": run.entry.experiment,
        "viewer": viewer,
        "viewers": offered(run.entry),
        "address": reverse("run-process", args=[run.pk]),
        "viewing": shown,
        "region": "" if shown is None else _region(shown, request).render(request),
        "others": others.order_by("-pk")[:LATEST],
        "box": box,
    }
    return render(request, "web/process/page.html", context)


def _region(found: Viewing, request: HttpRequest) -> Region:
    return Region(
        template="web/process/_viewing.html",
        url=reverse("viewing-region", args=[found.pk]),
        live=not found.is_finished,
        context=lambda: _context(found, request),
    )


def _context(found: Viewing, request: HttpRequest) -> dict[str, Any]:
    done = found.status == Status.COMPLETED
    own = changeable(Viewing.objects.filter(pk=found.pk), request.user)
    return {
        "viewing": found,
        "film": film_of(found) if done else None,
        "history": history(found) if done else None,
        "is_scaled": found.run.entry.config.get("sigma_max")
        and not found.run.entry.has_autoencoder,
        "may_cancel": found.can_cancel and own.exists(),
    }
