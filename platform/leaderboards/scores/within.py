"""Keeps what an experiment's own board says of its rows, for as long as they are what was judged.

Few rows are judged as quickly as it is read; many are judged by workers, once one of them changes.
Until then who reads them judges what is not too much, and is told of the rest how old it is.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from catalog.models import Protocol
from experiments.models import Experiment
from leaderboards.board import Board
from leaderboards.models import ExperimentJudging, Standing
from leaderboards.scores import bell
from leaderboards.scores.standings import within
from leaderboards.scores.standstill import MOST_AT_ONCE

FEW = 40  # rows of which nothing is kept
OF_EDITION = "2-"  # how boards are judged: what another edition said is not read
LENGTH = 60  # digits of what stands for a state

Said = Mapping[int, Mapping[str, Sequence[Any]]]  # by the key of a standing


@dataclass(frozen=True)
class Kept:
    """What a worker said of a board's rows."""

    said: Said
    judged_at: datetime | None  # None: nobody has yet
    waiting: int  # rows that changed since, at least one where it is of before; 0: it is of now


def kept(board: Board) -> Kept | None:
    """Return what is kept of an experiment's board, None where it is to be judged as it is read.

    That is where it has few rows, some of its protocol are still being written, or it is of before
    and has at most `MOST_AT_ONCE`. Nothing is kept here: for what is of before a worker is asked.
    """
    state = _State.of(board)
    if state is None:
        return None
    mine = _mine(board).filter(of__startswith=OF_EDITION).first()
    said = {int(key): found for key, found in mine.found.items()} if mine else {}
    if mine and mine.of == state.digest:
        return Kept(said, mine.judged_at, 0)
    bell.ring(board.protocol.pk)
    if len(state.changed) <= MOST_AT_ONCE:
        return None
    at = mine.judged_at if mine else None
    return Kept(said, at, max(1, sum(at is None or each > at for each in state.changed)))


def keep(board: Board, judge: Callable[[], Said]) -> bool:
    """Judge an experiment's board of many rows, where what is kept is of before; return whether it was.

    Judged is what stands there now or later: a row that changes meanwhile makes it of before again.
    """
    begin, state = timezone.now(), _State.of(board)
    if state is None or _mine(board).filter(of=state.digest).exists():
        return False
    ExperimentJudging.objects.update_or_create(
        experiment=board.experiment,
        protocol=board.protocol,
        defaults={"of": state.digest, "found": judge(), "judged_at": begin},
    )
    return True


def large(protocol: Protocol) -> QuerySet[Experiment]:
    """Return the experiments of which something is kept, once they are judged."""
    rows = Standing.objects.filter(protocol=protocol).order_by().values("entry__experiment")
    many = rows.annotate(number=Count("pk")).filter(number__gt=FEW)
    return Experiment.objects.filter(pk__in=many.values("entry__experiment"))


def _mine(board: Board) -> QuerySet[ExperimentJudging]:
    return ExperimentJudging.objects.filter(experiment=board.experiment, protocol=board.protocol)


@dataclass(frozen=True)
class _State:
    """All that a judgement follows from."""

    digest: str
    changed: tuple[datetime, ...]  # when each row did

    @classmethod
    def of(cls, board: Board) -> "_State | None":
        """Return that of an experiment's board; None where nothing is kept of it."""
        rows = within(board.protocol, board.experiment)
        told = rows.order_by().values_list("pk", "changed_at", "protocol__judging__to_write")
        found = sorted(told)  # in Python: by key, SQLite reads the whole protocol
        if len(found) <= FEW or any(to_write for *_, to_write in found):
            return None
        changed = [(pk, at.isoformat()) for pk, at, _ in found]
        state = json.dumps([dict(board.unranked), changed], sort_keys=True)
        digest = hashlib.sha256(state.encode()).hexdigest()[:LENGTH]
        return cls(f"{OF_EDITION}{digest}", tuple(at for _, at, _ in found))
