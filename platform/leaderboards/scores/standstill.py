"""How far what is kept of boards is what it would be now: rows that are missing, or not judged."""

from collections import Counter, defaultdict
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
    counts: dict[int, Counter[bool]] = defaultdict(Counter)
    rows = Standing.objects.filter(protocol__in=keys).order_by()
    of_now = rows.values_list("protocol_id", "is_judged").annotate(Count("pk"))
    for protocol, is_judged, number in of_now:
        counts[protocol][is_judged] = number
    return [
        _state(board, judgings.get(pk), counts[pk], writing.get(pk))
        for board, pk in zip(boards, keys, strict=True)
    ]


def _state(
    board: Board, judging: Judging | None, counts: Counter[bool], writing: Writing | None
) -> Standstill:
    if judging is None or not judging.judged_at:
        return Standstill(None, counts.total(), counts[False], is_of_now=False, writing=writing)
    kept = (judging.standings, judging.unranked)
    is_known = kept == (counts.total(), dict(board.unranked)) and not counts[False]
    return Standstill(judging, counts.total(), counts[False], is_known and not writing, writing)
