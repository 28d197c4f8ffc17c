"""How far what is kept of boards is what it would be now: rows that are missing, or not judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from leaderboards.board import Board, Writing
from leaderboards.models import Judging, Standing
from leaderboards.scores import anew

MOST_AT_ONCE = 300  # rows that a request judges itself, where nobody has


@dataclass(frozen=True)
class Standstill:
    """How far the kept judgement of all experiments' board is what it would be now."""

    judging: Judging | None
    standings: int
    waiting: int  # that changed since, or were never judged
    is_of_now: bool
    writing: Writing | None = None  # rows are missing, more than a request writes

    @property
    def is_small(self) -> bool:
        return self.standings <= MOST_AT_ONCE and self.writing is None

    @property
    def unjudged(self) -> int:
        """Return how many rows changed since; at least one where it is not of now."""
        return 0 if self.is_of_now else max(1, self.waiting)

    @property
    def judged_at(self) -> datetime | None:
        return self.judging.judged_at if self.judging else None


def states_of(boards: Sequence[Board]) -> list[Standstill]:
    """Return what is known of the judgement of boards, which need not have their rows."""
    keys = [board.protocol.pk for board in boards]
    judgings = {each.protocol_id: each for each in Judging.objects.filter(protocol__in=keys)}
    unsettled = [board for board in boards if anew.far_of(judgings.get(board.protocol.pk))]
    writing = {board.protocol.pk: anew.settled(board.protocol) for board in unsettled}
    rows = Standing.objects.filter(protocol__in=keys).order_by().values_list("protocol_id")
    totals = dict(rows.annotate(number=Count("*")))
    unjudged = dict(
        rows.filter(is_judged__in=[False]).annotate(number=Count("*"))
    )  # by an index: few
    return [
        _state(board, judgings.get(pk), (totals.get(pk, 0), unjudged.get(pk, 0)), writing.get(pk))
        for board, pk in zip(boards, keys, strict=True)
    ]


def _state(
    board: Board, judging: Judging | None, counts: tuple[int, int], writing: Writing | None
) -> Standstill:
    """Return the state of a board; `counts` are its rows and those that were not judged."""
    total, unjudged = counts
    if judging is None or not judging.judged_at:
        return Standstill(None, total, unjudged, is_of_now=False, writing=writing)
    kept = (judging.standings, judging.unranked)
    is_known = kept == (total, dict(board.unranked)) and not unjudged
    return Standstill(judging, total, unjudged, is_known and not writing, writing)
