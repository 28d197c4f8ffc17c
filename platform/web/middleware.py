"""Who may read pages, who is answered before that is asked, and how long answers take."""

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from web.metrics import observe_request

View = Callable[[HttpRequest], HttpResponseBase]
PROBES = ("/healthz", "/readyz")
OPEN = ("/admin/", "/login/", "/static/", "/api/", "/health", "/metrics")  # ask for themselves


def probes(get_response: View) -> View:
    """Answer an orchestrator's probes first: they know no host name and have no account."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in PROBES:
            return get_response(request)
        view: View = resolve(request.path_info).func
        return view(request)

    return middleware


def measure(get_response: View) -> View:
    """Measure how long each answer takes, for /metrics."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match  # None: a file, a refused host, or nothing has the address
        observe_request(
            view=match.view_name if match else "unmatched",
            status=response.status_code,
            seconds=time.perf_counter() - begun,
        )
        return response

    return middleware


def public_read(get_response: View) -> View:
    """Send visitors without an account to the login page when PUBLIC_READ is off."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if settings.PUBLIC_READ or request.user.is_authenticated or request.path.startswith(OPEN):
            return get_response(request)
        htmx: HtmxDetails | None = getattr(request, "htmx", None)
        if htmx:
            return HttpResponseClientRefresh()  # the whole page then asks for the login
        return redirect_to_login(request.get_full_path())

    return middleware
