"""Comparisons over REST: the numbers of the page, at full precision, and its loss curves."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.comparing import bodies
from api.resources import Resource
from experiments.pages import losses
from leaderboards.comparing import curves, record
from leaderboards.comparing.sides import LEAST, MOST, CompareError, Comparison, read

T = TypeVar("T")
SIDES = [
    OpenApiParameter(
        "entries",
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        required=True,
        description=f"{LEAST} to {MOST} entries, of different experiments too: `12`, or "
        "`12:SAMPLER` for another than its first sampler; the parameter is there several times, or "
        "holds several ids, `12,13`.",
    ),
    OpenApiParameter(
        "baseline", str, description="One of the entries, as `entries` has it; else the first."
    ),
]
CURVES = [
    OpenApiParameter("loss", str, description="Its name; else the one that most entries have."),
    OpenApiParameter("x", enum=list(curves.AXES), description="`device`: wall time in proportion."),
    OpenApiParameter(
        "scale", enum=curves.SCALES, description="`log`: means and intervals of logarithms."
    ),
    OpenApiParameter("smooth", enum=list(curves.SMOOTHINGS)),
]


class CompareViewSet(Resource):
    """Entries side by side: configurations, metrics with differences to a baseline, losses."""

    pagination_class = None
    filter_backends = ()
    serializer_class = bodies.CompareSerializer
    reads_several: ClassVar[tuple[str, ...]] = ("entries",)

    @extend_schema(
        parameters=SIDES, responses=bodies.CompareSerializer, filters=False, tags=["compare"]
    )
    def list(self, request: Request) -> Response:
        """Compare two to ten entries.

        Only values of one protocol are compared: what shares none with the baseline says why.
        """
        return Response(_or_refuse(lambda: record.to_dict(_comparison(request))))

    @extend_schema(
        parameters=[*SIDES, *CURVES],
        responses=bodies.LossCurvesSerializer,
        filters=False,
        tags=["compare"],
    )
    @action(detail=False)
    def curves(self, request: Request) -> Response:
        """Return the loss curves of two to ten entries: means over seeds with intervals."""
        return Response(_or_refuse(lambda: _curves(request)))


def _comparison(request: Request) -> Comparison:
    asked = request.query_params
    return read(asked.getlist("entries"), asked.get("baseline", ""))


def _curves(request: Request) -> dict[str, Any]:
    comparison = _comparison(request)
    given = request.query_params
    wanted = curves.read(comparison, {name: given.get(name, "") for name in curves.ASKED})
    return {
        "loss": wanted.loss,
        "words": losses.words_of(wanted.loss),
        "x": curves.AXES[wanted.x],
        "scale": wanted.scale,
        "curves": curves.curves(comparison, wanted),
    }


def _or_refuse(answer: Callable[[], T]) -> T:
    try:
        return answer()
    except CompareError as error:
        raise ValidationError({"errors": {error.name: error.message}}) from error
