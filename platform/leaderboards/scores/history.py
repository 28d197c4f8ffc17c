"""A board as it stood on a day: from values alone, as its rows are of now."""

from leaderboards.board import Board, Row
from leaderboards.models import Standing
from leaderboards.rows import rows_of
from leaderboards.scores.refusal import QueryError

MOST = 1000  # rows that a request reads anew from their values


def rows(board: Board) -> list[Row]:
    """Return the rows of a board as they stood on its day, not yet ranked.

    What was deleted since is missing; a seed that was retried since is still to come.

    Raises:
        QueryError: if the board is too large.
    """
    mine = Standing.objects.filter(protocol=board.protocol)
    if board.experiment is not None:
        mine = mine.filter(entry__experiment=board.experiment)
    if (count := mine.count()) > MOST:
        raise QueryError(
            "as_of",
            f"expected a board of at most {MOST:,} rows, this one has {count:,}: choose one "
            "experiment, or filter by until",
        )
    return rows_of(board.protocol, board.columns, board.experiment, until=board.as_of)
