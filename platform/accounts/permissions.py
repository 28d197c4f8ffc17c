"""Reading is public (unless PUBLIC_READ is off), writing needs an account or a token."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # imports the permissions itself


class ReadOrAuthenticated(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.PUBLIC_READ and request.method in SAFE_METHODS:
            return True
        return request.user.is_authenticated
