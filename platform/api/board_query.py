"""Which part of a board is asked for over REST, in the words of the board's page."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from catalog.models import Protocol
from leaderboards.board import Board, columns_of
from leaderboards.scores.baseline import address_of
from leaderboards.scores.history import MOST as MOST_OF_BEFORE
from leaderboards.scores.query import LAST_PAGE, MOST, PAGE, Query, read
from leaderboards.scores.refusal import QueryError

TELL = {
    "family": "Only contenders of this family, or `external`.",
    "algorithm": "Only contenders of this algorithm.",
    "tag": "Only contenders whose experiment has this tag.",
    "submitter": "Only contenders that this account submitted.",
    "budget": "Only contenders of this budget: images as `1000000`, device-seconds as `60s`, or "
    "`elsewhere` for those that were not trained here. Ranks are among entries of one budget.",
    "device": "Only contenders in whose device this text is.",
    "text": "Only contenders in whose name, sampler or experiment this text is.",
}
SHOWN = {
    "group": "`budget`, as by default: where a board has several budgets, its rows stand by them. "
    "`none`: all in one order; ranks are among entries of one budget in any case.",
    "columns": "Keys of columns, `fd,recall`, of which alone rows have numbers. By default, and with "
    "`all`, all.",
    "baseline": "Id of an entry, `7`, or `7:SAMPLER` where it has several rows: each number minus "
    "that row's, with the 95 % interval of the difference, and whether it is surely `better`, "
    "`worse`, or `differs` where that is no merit.",
}
PARAMETERS = [
    OpenApiParameter(
        "page",
        {"type": "integer", "minimum": 1, "maximum": LAST_PAGE},
        description="Which page of the rows, from 1 on; without it and `page_size` all rows. "
        "Ranks are those of the whole board in any case.",
    ),
    OpenApiParameter(
        "page_size",
        {"type": "integer", "minimum": 1, "maximum": MOST},
        description=f"Rows of a page, {MOST} at most; {PAGE} by default.",
    ),
    *(OpenApiParameter(name, str, description=words) for name, words in TELL.items()),
    *(OpenApiParameter(name, str, description=words) for name, words in SHOWN.items()),
    OpenApiParameter(
        "as_of",
        OpenApiTypes.DATE,
        description="The board as it stood at the end of this day (UTC), but for what was deleted "
        f"since; of at most {MOST_OF_BEFORE:,} rows.",
    ),
    OpenApiParameter("since", OpenApiTypes.DATE, description="Only what was scored on or after."),
    OpenApiParameter(
        "until",
        OpenApiTypes.DATE,
        description="Only what was scored on or before. By value: `KEY_min` and `KEY_max`, with "
        "the key of any column.",
    ),
]


def wanted(request: Request, protocol: Protocol) -> Query:
    """Return what part of a board a request asks for, by default all of it.

    Raises:
        ValidationError: with the parameter that cannot be understood.
    """
    try:
        return read(request.query_params, columns_of(protocol))
    except QueryError as error:
        raise ValidationError({"errors": {error.name: error.message}}) from error


def about(board: Board, query: Query) -> dict[str, Any]:
    """Return what is to be said of a part of a board, and of one that waits to be judged."""
    said: dict[str, Any] = {}
    if query.filters or query.size is not None:
        said |= {"rows_in_all": board.rows_in_all, "begin": board.begin}
    if board.baseline is not None:
        said["baseline"] = address_of(board.baseline)
    if query.as_of is not None:
        said["as_of"] = query.as_of
    if board.waiting:
        said |= {"judged_at": board.judged_at, "waiting": board.waiting}
    return said
