"""Judges whole boards in the background, when their rows have changed, and keeps what came of it."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from catalog.models import Protocol
from experiments.models import Entry, Experiment
from leaderboards import highlights
from leaderboards.board import Board, Cell, Row, Verdict
from leaderboards.leading.by_budget import MEASURED, WAYS, Contender, compared, leading
from leaderboards.models import Judgement, Judging, Score, Standing
from leaderboards.origins.budgets import Budget
from leaderboards.ranking import board_of, ordered, verdicts
from leaderboards.scores import reading, within
from leaderboards.scores.cells import Columns
from leaderboards.scores.standings import of_board

BATCH = 1000
OF_BUDGETS = ("budget_images", "budget_seconds")
Found = Mapping[str, Verdict]  # by the keys of columns

UNREAD = ("label", "entry__config", "entry__samplers")  # by judging


def judge_asked() -> int:
    """Judge the boards that are asked for and have all their rows; return how many this call did.

    Whoever takes a board from the others judges it; one that is killed there leaves it as it was,
    until somebody looks at the board and asks again.
    """
    asked = Judging.objects.filter(rung_at__isnull=False, to_write=0).select_related("protocol")
    taken = 0
    for each in list(asked.order_by("rung_at", "pk")):
        if asked.filter(pk=each.pk).update(rung_at=None):
            judge(each.protocol)
            taken += 1
    return taken


def judge(protocol: Protocol) -> Board:
    """Judge a protocol's board of all experiments, keep what is said of each row; return no rows.

    1. From here on a change rings again. 2. Read the rows and judge them. 3. Replace what was said
    before; rows that changed in the meantime stay unjudged. 4. Judge the own boards of large
    experiments that are not as they were judged, whoever was killed before he did.
    """
    with _uncollected():
        board = _judge(protocol)
        for experiment in within.large(protocol):
            judge_within(protocol, experiment)
    return board


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make a million tuples without looking through all of them for circles, time and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _judge(protocol: Protocol) -> Board:
    Judging.objects.update_or_create(protocol=protocol, defaults={"rung_at": None})
    begin = timezone.now()
    empty = board_of(protocol, "", None)
    known = dict(Standing.objects.filter(protocol=protocol).values_list("pk", "changed_at"))
    standings = [each for each in _standings(protocol) if each.pk in known]
    # By standings, as the table of scores has them: those of a protocol are all over it.
    scores = Score.objects.filter(standing__in=of_board(protocol).order_by().values("pk"))
    rows, read = reading.rows_to_judge(standings, scores)
    said = verdicts(rows, empty.columns, empty.ranked, read)
    board = replace(empty, judged_at=begin)
    keys = {(each.entry_id, each.sampler_label): each.pk for each in standings}
    led = {
        "leaders": _leaders(_in_corners(board, rows, said, read), keys),
        "budgets": _by_budget(board, standings, rows, read),
    }
    _keep(board, known, {each.pk: one for each, one in zip(standings, said, strict=True)}, led)
    return board


def judge_within(protocol: Protocol, experiment: Experiment) -> None:
    """Judge an experiment's board and keep what came of it, if it has many rows that changed."""
    empty = board_of(protocol, "", experiment)
    within.keep(empty, partial(_judged_within, empty))


def _judged_within(empty: Board) -> within.Said:
    standings = list(of_board(empty.protocol, empty.experiment))
    scores = Score.objects.filter(standing__in=standings)
    rows, read = reading.rows_to_judge(standings, scores)
    said = verdicts(rows, empty.columns, empty.ranked, read)
    return {each.pk: found for each, found in zip(standings, said, strict=True)}


def _standings(protocol: Protocol) -> list[Standing]:
    """Return a board's standings with what judging asks of entries: less than pages do."""
    plain = of_board(protocol).select_related(None)
    found = list(plain.select_related("entry").defer(*UNREAD))
    mine = {each.entry.experiment_id for each in found}
    experiments = Experiment.objects.only(*OF_BUDGETS).in_bulk(mine)  # each once: rows share them
    for each in found:
        each.entry.experiment = experiments[each.entry.experiment_id]
    controls = Entry.objects.filter(kind=Entry.Kind.CONTROL, standings__protocol=protocol)
    configs = dict(controls.values_list("pk", "config"))
    for each in found:
        if each.control:
            each.entry.config = configs[each.entry_id]
    return found


@transaction.atomic
def _keep(
    board: Board,
    known: dict[int, datetime],
    said: Mapping[int, Found],
    led: dict[str, Any],
) -> None:
    mine = Judgement.objects.filter(standing__protocol=board.protocol)
    locked = mine.select_for_update(of=("self",))  # against who judges the same board just now
    kept = {pk: (of, found) for pk, of, found in locked.values_list("pk", "of", "found")}
    left = set(Standing.objects.filter(protocol=board.protocol).values_list("pk", flat=True))
    mine.filter(pk__in=kept.keys() - known.keys()).delete()
    Judgement.objects.bulk_create(
        (
            Judgement(standing_id=pk, of=changed_at, found=found)
            for pk, changed_at in known.items()
            if pk in left and not _is_kept(kept.get(pk), changed_at, found := said.get(pk, {}))
        ),
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["standing"],
        update_fields=["of", "found"],
    )
    _mark(board.protocol)
    Judging.objects.filter(protocol=board.protocol).update(
        judged_at=board.judged_at,
        standings=len(known),
        unranked=dict(board.unranked),
        **led,
    )


def _is_kept(kept: tuple[datetime, dict[str, Any]] | None, of: datetime, said: Found) -> bool:
    """Return whether a judgement says already what it would be replaced by."""
    if kept is None or kept[0] != of:
        return False
    return {key: tuple(values) for key, values in kept[1].items()} == said


def _mark(protocol: Protocol) -> None:
    """Mark the rows that are as they were judged; those that somebody writes just now are not."""
    same = Judgement.objects.filter(standing=OuterRef("pk"), of=OuterRef("changed_at"))
    waiting = Standing.objects.filter(Exists(same), protocol=protocol, is_judged=False)
    keys = list(waiting.select_for_update(skip_locked=True).values_list("pk", flat=True))
    for begin in range(0, len(keys), BATCH):
        Standing.objects.filter(pk__in=keys[begin : begin + BATCH]).update(is_judged=True)


def _in_corners(empty: Board, rows: Sequence[Row], said: Sequence[Found], read: Columns) -> Board:
    """Return a board with those judged cells alone that say who leads, and in which order."""
    cells: list[dict[str, Cell]] = [{} for _ in rows]
    for column in {empty.ranked_by, *(column for _, column in highlights.corners(empty))}:
        for mine, found, cell in zip(cells, said, read(column), strict=True):
            verdict = found.get(column.key)
            mine[column.key] = cell._replace(**verdict._asdict()) if verdict else cell
    return ordered(empty, [replace(row, cells=mine) for row, mine in zip(rows, cells, strict=True)])


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


def _by_budget(
    empty: Board, standings: Sequence[Standing], rows: Sequence[Row], read: Columns
) -> dict[str, Any]:
    """Return who leads at each budget of each kind, as JSON values."""
    columns = compared(empty.protocol)
    asked = {column.key for column in columns} | {*MEASURED}
    wanted = [column for column in empty.columns if column.key in asked]
    cells = zip(*(read(column) for column in wanted), strict=True)
    contenders = [
        Contender(
            each.pk,
            Budget.of_key(each.budget),
            row.seeds_failed,
            row.seeds_pending,
            {column.key: cell for column, cell in zip(wanted, mine, strict=True)},
        )
        for each, row, mine in zip(standings, rows, cells, strict=True)
        if not each.control and each.seeds_scored
    ]
    return {by: leading(contenders, columns, by).to_json() for by in WAYS}
