"""Buttons that pause the site, let it go on and remove dead workers: POST only, for admins."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts import audit
from accounts.models import AuditEvent
from accounts.permissions import is_admin
from jobs import lifecycle
from jobs.models import Order, Pause, Worker


@require_POST
@login_required
@transaction.atomic
def pause(request: HttpRequest) -> HttpResponse:
    _require_admin(request)
    if lifecycle.pause(by=audit.name_of(request.user)):
        audit.record(request.user, AuditEvent.Action.ORDERED, Pause.objects.get())
    return redirect("workers")


@require_POST
@login_required
@transaction.atomic
def resume(request: HttpRequest) -> HttpResponse:
    _require_admin(request)
    if row := Pause.objects.first():
        lifecycle.resume()
        audit.record(request.user, AuditEvent.Action.ORDERED, row, "the site to go on")
    return redirect("workers")


@require_POST
@login_required
@transaction.atomic
def remove_worker(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a worker that is gone off the list; its row stays, for the jobs that it did."""
    _require_admin(request)
    worker = get_object_or_404(Worker, pk=pk)
    if not worker.is_gone:
        raise Http404("expected a worker that has been silent for an hour")
    Worker.objects.filter(pk=pk).update(order=Order.REMOVED)
    audit.record(request.user, AuditEvent.Action.ORDERED, worker, "off the list")
    return redirect("workers")


def _require_admin(request: HttpRequest) -> None:
    if not is_admin(request.user):
        raise PermissionDenied("only admins may pause the site and remove workers")
