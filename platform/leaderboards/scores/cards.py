"""Boards in one card each, from what is kept: who led when it was judged, how many take part."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from catalog.models import Protocol
from leaderboards import highlights
from leaderboards.board import Board
from leaderboards.highlights import Highlight, Leader
from leaderboards.models import Judging, Score, Standing
from leaderboards.ranking import board_of
from leaderboards.scores import reading
from leaderboards.scores.query import Query


def overview(protocols: Sequence[Protocol]) -> list[Highlight]:
    """Return the cards of boards; a small board that nobody has judged is judged now."""
    return [_card(protocol) for protocol in protocols]


def _card(protocol: Protocol) -> Highlight:
    empty = board_of(protocol, "", None)
    state = reading.state_of(protocol, dict(empty.unranked))
    if state.is_small and not state.is_of_now:
        return highlights.highlight(reading.judged_now(empty, Query()))
    empty = replace(empty, budgets=reading.budgets_of(protocol))
    contenders = Standing.objects.filter(protocol=protocol, control="")
    return Highlight(
        board=empty,
        leaders=tuple(_leaders(empty, state.judging)) if state.judging else (),
        entries=contenders.count(),
        scored=contenders.filter(seeds_scored__gt=0).count(),
    )


def _leaders(board: Board, judging: Judging) -> Iterator[Leader]:
    """Yield who led, of those that still have a value."""
    keys = [said["standing"] for said in judging.leaders]
    found = list(Standing.objects.filter(pk__in=keys).select_related("entry__experiment"))
    scores = Score.objects.filter(standing__in=keys)
    rows = reading.rows_from(found, board.columns, scores)
    row_of = dict(zip([each.pk for each in found], rows, strict=True))
    columns = {column.key: column for column in board.columns}
    for said in judging.leaders:
        row, column = row_of.get(said["standing"]), columns.get(said["key"])
        if row is not None and column is not None and row.cells[column.key].value is not None:
            yield highlights.leader_of(
                said["corner"], column, row, tied=said["tied"], leads=said["leads"]
            )
