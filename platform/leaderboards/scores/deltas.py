"""How a board's page writes differences from its baseline."""

from dataclasses import dataclass

from leaderboards import rounding
from leaderboards.board import Board, Column, Row
from leaderboards.scores.baseline import address_of, compared


@dataclass(frozen=True)
class Delta:
    """One difference; its verdict is "better", "worse", "differs", or "" where 0 is possible."""

    text: str = ""  # "+0.52"
    spread: str = ""
    verdict: str = ""
    note: str = ""
    raw: str = ""


def delta(board: Board, row: Row, column: Column) -> Delta:
    """Return what stands beside a cell: nothing where there is nothing to compare."""
    found = compared(row, board.baseline, column) if board.baseline else None
    if found is None:
        return Delta()
    places = rounding.decimals([found.difference])
    text = rounding.number(found.difference.value, places)
    is_above = found.difference.value > 0
    return Delta(
        text=f"+{text}" if is_above else text,
        spread=rounding.spread(found.difference, places),
        verdict=found.verdict,
        note=found.note,
        raw=repr(found.difference.value),
    )


def is_baseline(board: Board, row: Row) -> bool:
    return board.baseline is not None and address_of(row) == address_of(board.baseline)
