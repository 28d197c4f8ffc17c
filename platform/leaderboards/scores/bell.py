"""Asks workers to judge boards: a message only says that rows changed."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from celery import current_app
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from jobs.models import Queue
from leaderboards.models import Judging

logger = logging.getLogger(__name__)
TASK = "leaderboards.tasks.judge_board"
UNANSWERED = timedelta(seconds=60)  # a bell that nobody answered this long is rung again


def ring(protocol: int) -> None:
    """Ask a worker to judge a board, unless one was asked already and has not begun."""
    Judging.objects.get_or_create(protocol_id=protocol)
    silent = Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - UNANSWERED)
    if not Judging.objects.filter(silent, protocol=protocol).update(rung_at=Now()):
        return
    try:
        current_app.send_task(TASK, args=[protocol], queue=Queue.DEFAULT.value, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("board %s: the broker did not take the message: %s", protocol, error)


def ring_for(protocols: Iterable[int]) -> None:
    """Ask for judgements of boards once the transaction is committed."""
    for protocol in protocols:
        transaction.on_commit(partial(ring, protocol), robust=True)
