"""What boards say together, over REST: the same as the pages."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.http.unready import UNREADY, refuse_unready
from api.learning import bodies
from api.resources import Resource
from leaderboards.advice import asking
from leaderboards.advice.fitting import Advice, Advised, advise
from leaderboards.board import Cell, Column
from leaderboards.claims import verdicts

WISHES = [
    OpenApiParameter("dataset", str, description="Its slug; needed without a protocol."),
    OpenApiParameter("protocol", str, description="Fingerprint; else the board used last."),
    OpenApiParameter("device", str, description="As workers name it; else any."),
    OpenApiParameter("seconds_per_image", float, description="At most so many; else any."),
    OpenApiParameter("training_seconds", float, description="At most so many; else any."),
]


class ClaimsViewSet(Resource):
    """Sentences of textbooks, each with its verdict, effects and the boards behind it."""

    pagination_class = None
    filter_backends = ()
    serializer_class = bodies.ClaimsSerializer

    @extend_schema(responses=bodies.ClaimsSerializer, filters=False, tags=["claims"])
    def list(self, request: Request) -> Response:
        """Return every sentence; comparisons are made within one board and one budget."""
        found = verdicts.current()
        claims = [_claim(each) for each in found.found]
        body = bodies.ClaimsSerializer({"found_at": found.found_at, "claims": claims})
        return Response(body.data)


def _claim(found: dict[str, Any]) -> dict[str, Any]:
    """Return a sentence as it was kept, its boards with the names that pages give them."""
    parts = [{**part, "boards": [_named(b) for b in part["boards"]]} for part in found["parts"]]
    return {**found, "parts": parts}


def _named(board: dict[str, Any]) -> dict[str, Any]:
    return {**board, "board_name": f"{board['dataset']} · {board['name']}"}


class AdviceViewSet(Resource):
    """Which entries of a board fit a device and a time; only what was measured counts."""

    pagination_class = None
    filter_backends = ()
    serializer_class = bodies.AdviceSerializer

    @extend_schema(
        parameters=WISHES,
        responses={200: bodies.AdviceSerializer, **UNREADY},
        filters=False,
        tags=["advice"],
    )
    def list(self, request: Request) -> Response:
        """Return the entries that fit, the best by quality first, each with its submission."""
        try:
            question = asking.read(request.query_params.dict())
        except asking.AdviceError as error:
            raise ValidationError({"errors": error.errors}) from error
        found = advise(question.protocol, question.wish)
        refuse_unready(found.board.writing)
        return Response(_advice(found))


def _advice(found: Advice) -> dict[str, Any]:
    return {
        "protocol": found.board.protocol.fingerprint,
        "board_name": found.board.protocol.board_name,
        "quality": found.quality and found.quality.key,
        "coverage": found.coverage and found.coverage.key,
        "fitting": found.fitting,
        "unfit": found.unfit,
        "unmeasured": found.unmeasured,
        "of_best": found.of_best,
        "entries": [_advised(found, each) for each in found.found],
    }


def _advised(found: Advice, each: Advised) -> dict[str, Any]:
    row = each.row
    return {
        "entry": row.entry.pk,
        "label": row.entry.label,
        "sampler": row.sampler_label,
        "family": row.entry.family,
        "experiment": row.experiment.pk,
        "quality": _number(row.cells, found.quality),
        "coverage": _number(row.cells, found.coverage),
        "seconds_per_image": each.seconds_per_image,
        "training_seconds": row.cells["device_seconds"].value,
        "device": row.device,
        "seeds_scored": row.seeds_scored,
        "seeds_total": row.seeds_total,
        "yaml": each.yaml,
    }


def _number(cells: dict[str, Cell], column: Column | None) -> dict[str, float | None] | None:
    if column is None:
        return None
    cell = cells[column.key]
    return {"value": cell.value, "low": cell.low, "high": cell.high}
