"""The page of what was handed in: how far a worker is, what it found, what is to be decided."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.models import User
from catalog.models import Protocol
from experiments import overview
from experiments.intake import asking
from experiments.models import Entry, Intake
from experiments.ownership import changeable
from experiments.pages.live import Region
from experiments.pages.pictures import picture
from experiments.submission.specification import SpecificationError
from jobs.models import Status

MOST_CLASSES = 100  # of a dataset, whose sizes are shown


def found_for(request: HttpRequest, pk: int) -> Intake:
    """Return an intake, for who handed it in and for admins."""
    found = get_object_or_404(overview.loaded_intakes(), pk=pk)
    if not changeable(Intake.objects.filter(pk=pk), request.user).exists():
        raise PermissionDenied("only who handed it in and admins may see it")
    return found


@login_required
def intake(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what was handed in and what became of it."""
    found = found_for(request, pk)
    if found.of is not None:
        return redirect(found)
    context = {"intake": found, "state": _region(found).render(request)}
    return render(request, "web/intake/intake.html", context)


@login_required
def intake_region(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the live part of the page."""
    return _region(found_for(request, pk)).respond(request)


@login_required
def intake_picture(request: HttpRequest, pk: int) -> FileResponse:
    """Return some images of a dataset that waits to be registered."""
    found = found_for(request, pk)
    if not found.found.get("picture"):
        raise Http404("there is no picture of it")
    answer = picture(request, found.picture)
    answer["Cache-Control"] = "private, no-cache"
    return answer


@require_POST
@login_required
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Register a dataset that was looked at."""
    found = found_for(request, pk)
    assert isinstance(request.user, User), "others are refused above"
    try:
        asking.confirm(found, user=request.user)
    except SpecificationError as error:
        for text in error.errors.values():
            messages.error(request, f"{text[:1].upper()}{text[1:]}.")
    return redirect(found)


@require_POST
@login_required
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete what was handed in, once no worker is at it."""
    found = found_for(request, pk)
    name = str(found)
    if not asking.discard(found):
        messages.info(request, f"{name}: a worker is at it; cancel it first.")
        return redirect(found)
    messages.success(request, f"{name}: discarded.")
    return redirect("submit-dataset" if found.kind == Intake.Kind.DATASET else "submit-samples")


def _region(found: Intake) -> Region:
    registration = found.registrations.order_by("-pk").first()
    jobs = [found, registration] if registration else [found]
    return Region(
        template="web/intake/_state.html",
        url=reverse("intake-region", args=[found.pk]),
        live=not all(job.is_finished for job in jobs),
        context=lambda: _context(found, registration),
    )


def _context(found: Intake, registration: Intake | None) -> dict[str, Any]:
    told = found.found
    return {
        "intake": found,
        "job": registration or found,
        "registration": registration,
        "prepared": told.get("prepared"),
        "classes": _classes(told),
        "classes_total": len(told.get("prepared", {}).get("classes", ())),
        "hours": asking.limits()["hours"],
        "entry": Entry.objects.filter(pk=told.get("entry", 0)).first(),
        "protocol": Protocol.objects.filter(fingerprint=told.get("protocol", "")).first(),
        "dataset": registration.found.get("dataset") if registration else None,
        "may_confirm": found.status == Status.COMPLETED
        and found.kind == Intake.Kind.DATASET
        and (registration is None or registration.can_retry),
    }


def _classes(told: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return classes with the sizes that they have in each split."""
    train, test = told.get("class_sizes") or ([], [])
    names = told.get("prepared", {}).get("classes", [])
    return list(zip(names, train, test, strict=False))[:MOST_CLASSES]
