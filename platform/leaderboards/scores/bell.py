"""Asks workers to judge boards: a row says since when one is asked for."""

from collections.abc import Iterable
from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from leaderboards.models import Judging


def ring(protocol: int) -> None:
    """Ask for a judgement of a board, unless it is asked for already and nobody has begun."""
    judging, _ = Judging.objects.get_or_create(protocol_id=protocol)
    if judging.rung_at is None:  # else whoever takes it sees what is there now: nothing is written
        Judging.objects.filter(protocol=protocol, rung_at=None).update(rung_at=Now())


def ring_for(protocols: Iterable[int]) -> None:
    """Ask for judgements of boards once the transaction is committed."""
    for protocol in protocols:
        transaction.on_commit(partial(ring, protocol), robust=True)
