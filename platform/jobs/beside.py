"""Light work beside the jobs, in each worker's main process: it waits behind no training."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.signals import worker_ready, worker_shutdown
from django.conf import settings
from django.db import connections

logger = logging.getLogger(__name__)
LightWork = Callable[[], object]
_works: list[LightWork] = []
_stopping = threading.Event()


def every_beat(work: LightWork) -> None:
    """Let every worker do this each BEAT_SECONDS, in a thread of its own.

    All workers do it: whoever writes it claims its rows by conditional UPDATEs.
    """
    _works.append(work)


def do_once(work: LightWork) -> None:
    """Do it; an error is one of the log: the next beat tries again."""
    try:
        work()
    except Exception:
        logger.exception("%s.%s: missed a beat", work.__module__, work.__qualname__)
        connections.close_all()


def _go_on(work: LightWork) -> None:
    while not _stopping.wait(settings.BEAT_SECONDS):
        do_once(work)
    connections.close_all()


@worker_ready.connect
def begin(**kwargs: Any) -> None:
    _stopping.clear()
    for work in _works:
        name = f"{work.__module__}.{work.__qualname__}"
        threading.Thread(target=_go_on, args=[work], name=name, daemon=True).start()


@worker_shutdown.connect
def end(**kwargs: Any) -> None:
    _stopping.set()
