"""Whether the process lives, `/healthz`, and whether the site can work, `/readyz`."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import redis
from celery import current_app
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from catalog import stored
from jobs.models import Worker

logger = logging.getLogger(__name__)
BROKER_SECONDS = 2.0  # a broker that needs longer to answer does not answer


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process lives; nothing else is asked."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Name each thing the site needs as ok or failed, with a reason; 503 if one has failed."""
    reasons = {name: check() for name, check in CHECKS.items()}
    ready = not any(reasons.values())
    checks = {
        name: {"status": "failed", "reason": reason} if reason else {"status": "ok"}
        for name, reason in reasons.items()
    }
    return JsonResponse(
        {"status": "ok" if ready else "failed", "checks": checks}, status=200 if ready else 503
    )


# --- the checks: each returns why it failed, "" if it did not ------------------------------------


def database() -> str:
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "migrations are not applied"
    except Error as error:
        return _failed("database", error, "no answer")
    return ""


def broker() -> str:
    """Ask Redis, or write into the folder of messages; other brokers are connected to."""
    url: str = current_app.conf.broker_url
    try:
        if url.startswith("filesystem"):
            _write_into(Path(current_app.conf.broker_transport_options["data_folder_out"]))
        elif url.startswith(("redis://", "rediss://")):
            _ping(url)
        else:
            with Connection(url, connect_timeout=BROKER_SECONDS) as other:
                other.connect()
    except Exception as error:  # noqa: BLE001  # every transport has errors of its own
        return _failed("broker", error, "no answer")
    return ""


def _ping(url: str) -> None:
    # Not through kombu: there redis-py tries again and again, each time with the whole patience.
    with redis.Redis.from_url(
        url,
        socket_timeout=BROKER_SECONDS,
        socket_connect_timeout=BROKER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        client.ping()


def storage() -> str:
    try:
        _write_into(Path(settings.DATA_DIR))
    except OSError as error:
        return _failed("storage", error, "the data folder cannot be written")
    try:
        if shared := stored.bucket():
            shared.exists("readyz")
    except Exception as error:  # noqa: BLE001  # every store has errors of its own
        return _failed("storage", error, "the bucket does not answer")
    return ""


def workers() -> str:
    try:
        alive = any(worker.is_alive for worker in Worker.objects.all())
    except Error as error:
        return _failed("workers", error, "not known")
    return "" if alive else "no worker is online"


CHECKS: dict[str, Callable[[], str]] = {
    "database": database,
    "broker": broker,
    "storage": storage,
    "workers": workers,
}


def _write_into(folder: Path) -> None:
    """Write a byte to the disk and take it away again: a full disk fails as well."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")
        file.flush()


def _failed(name: str, error: Exception, reason: str) -> str:
    """Return the reason; the error's own words may hold addresses and stay out, of the log too."""
    logger.warning("not ready: %s: %s", name, type(error).__name__)
    return reason
