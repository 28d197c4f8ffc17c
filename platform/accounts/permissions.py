"""Reading is public (unless PUBLIC_READ is off), writing needs an account or a token."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # imports the permissions itself


class ReadOrAuthenticated(BasePermission):
    """Anyone may read while PUBLIC_READ is on; writing is for every active account.

    The site belongs to one lab: whoever is signed in may submit, cancel and retry, their own work
    and that of others, on the pages (by `login_required`) and over REST alike. Only the admin asks
    for more: staff, with Django's permissions for each model.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.PUBLIC_READ and request.method in SAFE_METHODS:
            return True
        return request.user.is_authenticated
