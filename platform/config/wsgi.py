"""The WSGI entry: `gunicorn config.wsgi`."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from config.loading import load_site

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def under(prefix: str, site: Application) -> Application:
    """Return the site as a proxy reaches it that passes addresses on with the prefix before them.

    Addresses without it are answered, too: those of a container's own health check.
    """

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(prefix)
        return site(environ, start_response)

    return application


def in_text(site: Application) -> Application:
    """Return the site, which reads UTF-8 where a body's charset is a codec that is none of text.

    Django knows base64 and its like by name, and cannot even read an address in them.
    """

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        kind, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
        if not _is_of_text(parameters.get("charset", "utf-8")):
            environ["CONTENT_TYPE"] = kind
        return site(environ, start_response)

    return application


def _is_of_text(charset: str) -> bool:
    try:
        b"x".decode(charset, "replace")
    except (LookupError, UnicodeError):
        return False
    return True


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = in_text(under(settings.URL_PREFIX, get_wsgi_application()))
load_site()
