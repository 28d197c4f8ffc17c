"""Who may read pages, who is answered before that is asked; what browsers may do with pages."""

import math
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import resolve
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts.logins import TooManyLogins
from operations.prometheus import observe_request

View = Callable[[HttpRequest], HttpResponseBase]
PROBES = ("/healthz", "/readyz")
# ask for themselves, or are what the login page needs
OPEN = ("/admin/", "/login/", "/static/", "/families.css", "/api/", "/health", "/metrics")


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


# read by pieces into files, and bounded, by what has these addresses
STREAMED = ("/api/v1/entries/", "/api/v1/uploads/")


def bounded_body(get_response: View) -> View:
    """Refuse a body larger than any form or submission is, before anything of it is read."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH") or ""
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        is_bounded = not request.path_info.startswith(STREAMED)
        if is_bounded and length.isdecimal() and float(length) > most:
            text = f"the body has {float(length):,.0f} bytes; expected at most {most:,}"
            return JsonResponse({"detail": text}, status=413)
        return get_response(request)

    return middleware


def no_nul(get_response: View) -> View:
    """Refuse an address or a cookie with a NUL, which PostgreSQL neither keeps nor looks for."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        address = request.path_info + request.META.get("QUERY_STRING", "").replace("%00", "\0")
        if "\0" in address or any("\0" in value for value in request.COOKIES.values()):
            return JsonResponse({"detail": "the request holds a NUL character"}, status=400)
        return get_response(request)

    return middleware


ERROR = 400  # and above
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
INLINE_STYLE = {"style-src": "'self' 'unsafe-inline'"}  # never script
# Plotly adds style elements of its own.
CHARTS = POLICY | INLINE_STYLE
CHART_PAGES = {
    "experiment",
    "experiment-prompts",
    "run",
    "leaderboard",
    "compare",
}  # those with web/_chart_scripts.html
# Swagger UI writes style elements and attributes; its script comes from an address of its own.
SWAGGER = POLICY | INLINE_STYLE
# The admin's Alpine.js evaluates the expressions in attributes; its colours are a style element.
ADMIN = POLICY | INLINE_STYLE | {"script-src": "'self' 'unsafe-eval'"}
NO_FEATURES = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "geolocation", "microphone", "payment", "serial", "usb")
)


def security_headers(get_response: View) -> View:
    """Say with every answer what it may load and do; a view may have said something else."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", NO_FEATURES)
        if not (settings.DEBUG and response.status_code >= ERROR):  # Django's own debug pages
            policy = "; ".join(f"{name} {allowed}" for name, allowed in _policy(request).items())
            response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware


def _policy(request: HttpRequest) -> dict[str, str]:
    if request.path_info.startswith("/admin/"):
        return ADMIN
    match = request.resolver_match
    if match and match.view_name == "api:docs":
        return SWAGGER
    return CHARTS if match and match.view_name in CHART_PAGES else POLICY


def public_read(get_response: View) -> View:
    """Send visitors without an account to the login page when PUBLIC_READ is off."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        is_open = settings.PUBLIC_READ or request.path_info.startswith(OPEN)
        if is_open or request.user.is_authenticated:
            return get_response(request)
        htmx: HtmxDetails | None = getattr(request, "htmx", None)
        if htmx:
            return HttpResponseClientRefresh()  # the whole page then asks for the login
        return redirect_to_login(request.get_full_path())

    return middleware


class LoginLimit:
    """Answers 429 where a form was sent too often to sign somebody in."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyLogins):
            return None
        context = {"wait_minutes": math.ceil(error.wait_seconds / 60)}
        response = render(request, "429.html", context, status=429)
        response["Retry-After"] = str(error.wait_seconds)
        return response
