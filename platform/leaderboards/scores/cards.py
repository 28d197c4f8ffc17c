"""Boards in one card each, from what is kept: who led when it was judged, how many take part."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from catalog.models import Protocol
from leaderboards import highlights
from leaderboards.board import Board, Row
from leaderboards.highlights import Highlight, Leader
from leaderboards.models import Judging, Score, Standing
from leaderboards.ranking import board_of
from leaderboards.scores import reading, standstill
from leaderboards.scores.query import Query
from leaderboards.scores.standings import Contenders, contenders_by_board
from leaderboards.scores.standstill import Standstill


def overview(protocols: Sequence[Protocol]) -> list[Highlight]:
    """Return the cards of boards, as many as there are in as many queries as one.

    A small board that nobody has judged is judged now.
    """
    contenders = contenders_by_board(protocols)
    boards = [
        replace(board_of(protocol, "", None), budgets=contenders[protocol.pk].budgets)
        for protocol in protocols
    ]
    states = standstill.states_of(boards)
    rows = _leading_rows([state.judging for state in states if state.judging])
    return [
        highlights.highlight(reading.judged_now(board, Query()))
        if state.standings and state.is_small and not state.is_of_now
        else _card(board, state, rows, contenders[board.protocol.pk])
        for board, state in zip(boards, states, strict=True)
    ]


def _card(
    board: Board, state: Standstill, rows: dict[int, Row], contenders: Contenders
) -> Highlight:
    leaders = tuple(_leaders(board, state.judging, rows)) if state.judging else ()
    numbers = contenders.by_budget.total(), contenders.scored
    return Highlight(replace(board, writing=state.writing), leaders, *numbers)


def _leading_rows(judgings: Sequence[Judging]) -> dict[int, Row]:
    """Return the rows that lead corners of boards, by the keys of their standings."""
    keys = [said["standing"] for judging in judgings for said in judging.leaders]
    found = list(Standing.objects.filter(pk__in=keys).select_related("entry__experiment"))
    scores = Score.objects.filter(standing__in=keys)
    rows = reading.rows_from(found, (), scores)
    return dict(zip([each.pk for each in found], rows, strict=True))


def _leaders(board: Board, judging: Judging, rows: dict[int, Row]) -> Iterator[Leader]:
    """Yield who led, of those that still have a value."""
    columns = {column.key: column for column in board.columns}
    for said in judging.leaders:
        row, column = rows.get(said["standing"]), columns.get(said["key"])
        cell = row.cells.get(column.key) if row is not None and column is not None else None
        if row is not None and column is not None and cell is not None and cell.value is not None:
            yield highlights.leader_of(
                said["corner"], column, row, tied=said["tied"], leads=said["leads"]
            )
