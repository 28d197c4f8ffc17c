"""The answer to who asks for a board some of whose rows are still to be written."""

from drf_spectacular.utils import OpenApiResponse
from rest_framework import status
from rest_framework.exceptions import APIException

from api.bodies import ProblemSerializer
from leaderboards.board import Writing

WAIT = 10  # seconds until it is worth asking again
UNREADY = {
    status.HTTP_503_SERVICE_UNAVAILABLE: OpenApiResponse(
        ProblemSerializer,
        "Rows of the board are being written anew, after an update of the site: ask again.",
    )
}


class Unready(APIException):
    """No board is better than one without some of its rows, which a script may take for all."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = WAIT  # seconds: goes into Retry-After

    def __init__(self, writing: Writing) -> None:
        super().__init__(
            f"the rows of this board are being written anew: those of {writing.done:,} of "
            f"{writing.total:,} entries so far; ask again later"
        )


def refuse_unready(writing: Writing | None) -> None:
    """Let nobody read on where rows are missing.

    Raises:
        Unready: if some are.
    """
    if writing is not None:
        raise Unready(writing)
