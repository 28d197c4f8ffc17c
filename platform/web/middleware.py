"""Who may read pages, and who is answered before that is asked."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

View = Callable[[HttpRequest], HttpResponseBase]
PROBES = ("/healthz", "/readyz")


def probes(get_response: View) -> View:
    """Answer an orchestrator's probes first: they know no host name and have no account."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in PROBES:
            return get_response(request)
        view: View = resolve(request.path_info).func
        return view(request)

    return middleware


def public_read(get_response: View) -> View:
    """Send visitors without an account to the login page when PUBLIC_READ is off."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        open_path = request.path.startswith(("/admin/", "/login/", "/static/", "/api/", "/health"))
        if settings.PUBLIC_READ or request.user.is_authenticated or open_path:
            return get_response(request)
        htmx: HtmxDetails | None = getattr(request, "htmx", None)
        if htmx:
            return HttpResponseClientRefresh()  # the whole page then asks for the login
        return redirect_to_login(request.get_full_path())

    return middleware
