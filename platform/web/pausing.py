"""Buttons that pause the whole site and let it go on: POST only, for admins."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts import audit
from accounts.models import AuditEvent
from accounts.permissions import is_admin
from jobs import lifecycle
from jobs.models import Pause


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


def _require_admin(request: HttpRequest) -> None:
    if not is_admin(request.user):
        raise PermissionDenied("only admins may pause the site")
