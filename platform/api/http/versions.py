"""`/api/v1/` is the interface; the addresses of before, without a version, lead there for now."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix
from rest_framework.request import Request
from rest_framework.versioning import BaseVersioning

DEPRECATED_SINCE = 1_795_910_400  # 2026-11-29, in seconds of Unix
V1 = "/api/v1/"
OLD = re.compile(r"^/api(?=/|$)(?!/v1(?:/|$))")
View = Callable[[HttpRequest], HttpResponseBase]


def unversioned(get_response: View) -> View:
    """Answer `/api/runs/` as `/api/v1/runs/`, and say that the former will go (RFC 9745)."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not OLD.match(request.path_info):
            return get_response(request)
        request.path_info = OLD.sub("/api/v1", request.path_info)
        successor = quote(get_script_prefix().rstrip("/") + request.path_info)
        response = get_response(request)
        response.headers["Deprecation"] = f"@{DEPRECATED_SINCE}"
        response.headers["Link"] = f'<{successor}>; rel="successor-version"'
        return response

    return middleware


def is_unversioned(request: HttpRequest | Request) -> bool:
    """Return whether a request came without a version: `path` still has what was asked."""
    return not request.path.endswith(request.path_info)


class OldAddresses(BaseVersioning):
    """Links in an answer stay among the addresses of before, like the question."""

    def reverse(self, *args: Any, **kwargs: Any) -> str:
        return super().reverse(*args, **kwargs).replace(V1, "/api/", 1)
