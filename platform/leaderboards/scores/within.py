"""Keeps what an experiment's own board says of its rows, for as long as they are what was judged.

Few rows are judged as quickly as it is read; many are judged by workers, once one of them changes.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from leaderboards.board import Board
from leaderboards.models import ExperimentJudging
from leaderboards.scores.standings import within

FEW = 40  # rows of which nothing is kept
EDITION = 1  # of how boards are judged: what another one said is not read

Said = dict[int, dict[str, list[Any]]]  # by the key of a standing


def said(board: Board, judge: Callable[[], Said]) -> Said | None:
    """Return what is kept of an experiment's board; judged and kept now, where it is of before.

    None where the experiment has few rows, or some of its protocol are still being written.
    """
    digest = _digest(board)
    if not digest:
        return None
    mine = ExperimentJudging.objects.filter(experiment=board.experiment, protocol=board.protocol)
    kept = mine.filter(of=digest).values_list("found", flat=True).first()
    if kept is not None:
        return {int(key): found for key, found in kept.items()}
    found = judge()
    ExperimentJudging.objects.update_or_create(
        experiment=board.experiment,
        protocol=board.protocol,
        defaults={"of": digest, "found": found},
    )
    return found


def _digest(board: Board) -> str:
    """Return what stands for all that a judgement follows from; "" where nothing is kept."""
    rows = within(
        board.protocol, board.experiment
    ).order_by()  # in Python: by key, SQLite reads the whole protocol
    found = sorted(rows.values_list("pk", "changed_at", "protocol__judging__to_write"))
    if len(found) <= FEW or any(to_write for *_, to_write in found):
        return ""
    changed = [(pk, at.isoformat()) for pk, at, _ in found]
    state = json.dumps([EDITION, dict(board.unranked), changed], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()
