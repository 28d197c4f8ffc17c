"""The WSGI entry: `gunicorn config.wsgi`."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

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


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = under(settings.URL_PREFIX, get_wsgi_application())
load_site()
