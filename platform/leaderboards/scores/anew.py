"""Writes the rows that boards of a site of before lack: by a worker, part by part, beside the jobs.

Where one is killed, the next goes on behind the last part. Until all are written a board says how
far it is, and is not judged. `manage.py rescore` does the same at once.
"""

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from catalog.models import Protocol
from experiments.models import Entry, Experiment, SampleSet
from leaderboards.board import Writing
from leaderboards.models import Judging, Standing
from leaderboards.scores import bell, keeping

logger = logging.getLogger(__name__)
PART = 50  # entries, while which nobody else writes to SQLite
PAUSE = 0.15  # seconds in which others write; who waits for SQLite looks every 0.1 s
FEW = 300  # entries whose rows a request writes itself


def ask() -> int:
    """Ask for the rows that boards lack, and return of how many entries: quick at any size."""
    missing = {protocol: _missing(protocol).count() for protocol in Protocol.objects.order_by("pk")}
    for protocol, number in missing.items():
        if number:
            waiting = {"to_write": number, "written": 0, "written_to": 0, "writer_seen": None}
            Judging.objects.update_or_create(protocol=protocol, defaults=waiting)
    return sum(missing.values())


def _missing(protocol: Protocol) -> QuerySet[Entry]:
    """Return the entries that have no row under a protocol; a control has one once it is drawn."""
    rows = Standing.objects.filter(protocol=protocol, entry=OuterRef("pk"))
    drawn = SampleSet.objects.filter(entry=OuterRef("pk"))
    entries = Entry.objects.filter(~Exists(rows), experiment__protocols=protocol)
    return entries.filter(~Q(kind=Entry.Kind.CONTROL) | Exists(drawn))


def write_asked() -> int:
    """Write the rows that are asked for, and return how many boards this call took on itself."""
    now, taken = timezone.now(), 0
    lost = now - timedelta(seconds=settings.LEASE_SECONDS)  # who wrote the last part then
    is_free = Q(writer_seen=None) | Q(writer_seen__lt=lost)
    asked = Judging.objects.filter(is_free, to_write__gt=0).order_by("pk")
    for each in list(asked.select_related("protocol")):
        if asked.filter(pk=each.pk).update(writer_seen=now):
            taken += 1
            logger.info("board %s: rows of %d entries", each.protocol.short, each.to_write)
            while write_part(each.protocol):
                time.sleep(PAUSE)
    return taken


@transaction.atomic
def write_part(protocol: Protocol) -> bool:
    """Write the next rows of a board, and return whether there may be more and nobody else does.

    1. Write the rows of the next entries without. 2. Note how far it is, in the same transaction.
    3. If there are none, note that all are written, and ring for a judgement.
    """
    mine = Judging.objects.filter(protocol=protocol, to_write__gt=0)
    begin = mine.values_list("written_to", flat=True).first()
    if begin is None:
        return False
    missing = _missing(protocol).filter(pk__gt=begin).order_by("pk")
    keys = list(missing.values_list("pk", flat=True)[:PART])
    if not keys:
        forget([protocol.pk])
        bell.ring_for([protocol.pk])
        return False
    keeping.write(protocol, keys)
    far = {"written": F("written") + len(keys), "written_to": keys[-1]}
    return bool(mine.filter(written_to=begin).update(**far, writer_seen=timezone.now()))


def forget(protocols: list[int]) -> None:
    """Note that all rows of boards are written."""
    none = {"to_write": 0, "written": 0, "written_to": 0, "writer_seen": None}
    Judging.objects.filter(protocol__in=protocols, to_write__gt=0).update(**none)


def settled(protocol: Protocol) -> Writing | None:
    """Return how far a board is whose rows are being written, None where it has all.

    A few are written now: a small board lacks none to whoever looks at it.
    """
    while far := far_of(Judging.objects.filter(protocol=protocol).first()):
        if far.left > FEW:
            return far
        write_part(protocol)
    return None


def far_of(judging: Judging | None) -> Writing | None:
    if judging is None or not judging.to_write:
        return None
    return Writing(min(judging.written, judging.to_write), judging.to_write)


def write_experiment(protocol: Protocol, experiment: Experiment) -> bool:
    """Write the rows that an experiment lacks on a board, and return whether it lacked any."""
    keys = list(_missing(protocol).filter(experiment=experiment).values_list("pk", flat=True))
    if keys:
        keeping.write(protocol, keys)
    return bool(keys)
