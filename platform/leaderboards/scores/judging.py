"""Judges whole boards in the background, when their rows have changed, and keeps what came of it."""

from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from catalog.models import Protocol
from leaderboards import highlights
from leaderboards.board import Board
from leaderboards.models import Judgement, Judging, Score, Standing
from leaderboards.ranking import board_of, judged, of_rows
from leaderboards.scores import reading

BATCH = 1000


def judge(protocol: Protocol) -> Board:
    """Judge a protocol's board of all experiments, and keep what is said of each row.

    1. From here on a change rings again. 2. Read the rows and judge them. 3. Replace what was said
    before; rows that changed in the meantime stay unjudged.
    """
    Judging.objects.update_or_create(protocol=protocol, defaults={"rung_at": None})
    begin = timezone.now()
    empty = board_of(protocol, "", None)
    known = list(Standing.objects.filter(protocol=protocol))
    keys = {each.pk for each in known}
    standings = [each for each in reading.of_board(protocol) if each.pk in keys]
    mine = Score.objects.filter(protocol=protocol)
    rows = reading.rows_from(standings, empty.columns, mine)
    rows = judged(rows, empty.columns, empty.ranked)
    board = replace(of_rows(empty, rows), judged_at=begin)
    said = {each.pk: reading.said_of(row) for each, row in zip(standings, rows, strict=True)}
    _keep(board, known, said)
    return board


@transaction.atomic
def _keep(board: Board, known: list[Standing], said: dict[int, dict[str, Any]]) -> None:
    left = set(Standing.objects.filter(protocol=board.protocol).values_list("pk", flat=True))
    Judgement.objects.filter(standing__protocol=board.protocol).delete()
    Judgement.objects.bulk_create(
        (
            Judgement(standing_id=each.pk, of=each.changed_at, found=said.get(each.pk, {}))
            for each in known
            if each.pk in left
        ),
        batch_size=BATCH,
    )
    _mark(board.protocol)
    keys = {(each.entry_id, each.sampler_label): each.pk for each in known}
    Judging.objects.filter(protocol=board.protocol).update(
        judged_at=board.judged_at,
        standings=len(known),
        unranked=dict(board.unranked),
        leaders=_leaders(board, keys),
    )


def _mark(protocol: Protocol) -> None:
    """Mark the rows that are as they were judged; those that somebody writes just now are not."""
    same = Judgement.objects.filter(standing=OuterRef("pk"), of=OuterRef("changed_at"))
    waiting = Standing.objects.filter(Exists(same), protocol=protocol, is_judged=False)
    keys = list(waiting.select_for_update(skip_locked=True).values_list("pk", flat=True))
    for begin in range(0, len(keys), BATCH):
        Standing.objects.filter(pk__in=keys[begin : begin + BATCH]).update(is_judged=True)


def _leaders(board: Board, keys: dict[tuple[int, str], int]) -> list[dict[str, Any]]:
    return [
        {
            "corner": leader.corner,
            "key": leader.column.key,
            "standing": keys[leader.row.entry.pk, leader.row.sampler_label],
            "tied": leader.tied,
            "leads": leader.leads,
        }
        for leader in highlights.leaders(board)
    ]
