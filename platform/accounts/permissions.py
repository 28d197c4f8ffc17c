"""What each role may do; everything else is refused.

A viewer reads. A submitter also submits, and cancels and retries what is its own. An admin does
everything for everybody. Strangers read while PUBLIC_READ is on.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import Role, User

if TYPE_CHECKING:
    from rest_framework.views import APIView  # imports the permissions itself

CANCELLABLE = ("run", "sampleset", "evaluation", "question", "viewing")  # kinds of jobs
# Django's permissions of a submitter in the admin; an admin has all, a viewer does not get in.
SUBMITTER_PERMISSIONS = frozenset(
    {
        "experiments.add_experiment",
        "experiments.change_experiment",  # cancel and retry its own: nothing else changes
        *(f"experiments.view_{name}" for name in ("experiment", *CANCELLABLE)),
        *(f"experiments.change_{name}" for name in CANCELLABLE),
        "experiments.view_entry",
        "experiments.view_metricvalue",
        "catalog.view_dataset",
        "catalog.view_promptset",
        "catalog.view_protocol",
        "catalog.view_storedfile",
        "jobs.view_worker",
    }
)


def is_admin(user: User | AnonymousUser) -> bool:
    return isinstance(user, User) and user.is_active and user.role == Role.ADMIN


def may_submit(user: User | AnonymousUser) -> bool:
    return isinstance(user, User) and user.is_active and user.role != Role.VIEWER


class ReadOrSubmit(BasePermission):
    """Over REST: anyone reads while PUBLIC_READ is on, else every account; submitters write."""

    message = "Your account may not do this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if request.method not in SAFE_METHODS:
            return may_submit(request.user)
        return settings.PUBLIC_READ or request.user.is_authenticated
