"""Leaderboards as JSON and files: complete, at full precision, the same rows as the page."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from api import board_query, bodies
from api.comparing import budgets
from api.http.files import RENDERERS, file_answer, wants_file
from api.http.unready import UNREADY, refuse_unready
from api.resources import WHOLE_NUMBER, ByFingerprint
from catalog.models import Protocol
from experiments.models import Entry, Experiment
from leaderboards import export
from leaderboards.budgeting import same_budget
from leaderboards.guidance import chart, to_dict
from leaderboards.leading.by_budget import WAYS
from leaderboards.scores import anew, reading
from leaderboards.scores.parts import parts
from leaderboards.scores.query import Query
from leaderboards.scores.refusal import QueryError

Found = TypeVar("Found")
NO_TRIAL = Q(trial__isnull=True) | Q(trial=0)
CONTENDERS = [kind for kind in Entry.Kind if kind != Entry.Kind.CONTROL]


SORT = OpenApiParameter(
    "sort",
    str,
    description="Key of a column, best first; with a leading `-` worst first. Or `name`, `budget`, "
    "`device` or `date`, the first first; with a leading `-` the last.",
)
EXPERIMENT = OpenApiParameter(
    "experiment", int, description="Only the entries of this experiment, ranked among themselves."
)
FOLLOWING = OpenApiParameter(
    "following",
    str,
    description="Key of a metric of following; by default all that a prompt claims, together.",
)

BY = OpenApiParameter(
    "by",
    enum=list(WAYS),
    description="What a budget is: `images` or `seconds` of its submission, device-seconds that "
    "were `measured`, or `parameters`; the last two in ranges.",
)


@extend_schema_view(
    list=extend_schema(
        responses=bodies.BoardLinkSerializer(many=True), filters=False, tags=["leaderboards"]
    ),
    retrieve=extend_schema(
        parameters=[SORT, EXPERIMENT, *board_query.PARAMETERS],
        responses={200: bodies.BoardSerializer, **UNREADY},
        tags=["leaderboards"],
    ),
)
class LeaderboardViewSet(ByFingerprint):
    """One board per protocol. `?format=csv`, `jsonl` and `parquet` give the same rows as files."""

    queryset = Protocol.objects.select_related("dataset").order_by("pk")
    serializer_class = bodies.BoardSerializer
    pagination_class = None
    filter_backends = ()

    @property
    def also_reads(self) -> tuple[str, ...]:
        """Return how the filters by value end, behind the key of a column."""
        return ("_min", "_max") if self.action == "retrieve" else ()

    def list(self, request: Request) -> Response:
        """Return every board with its address."""
        entries = Entry.objects.filter(NO_TRIAL, kind__in=CONTENDERS).order_by()
        mine = entries.filter(experiment__protocols=OuterRef("pk")).values("experiment__protocols")
        number = Coalesce(Subquery(mine.annotate(number=Count("pk")).values("number")), 0)
        protocols = self.get_queryset().annotate(contenders=number)
        return Response([_link(request, protocol) for protocol in protocols])

    def retrieve(self, request: Request, fingerprint: str) -> HttpResponseBase:
        """Return a whole board: JSON, or its rows as CSV, JSON Lines or Parquet.

        Under a metric, rows with lost seeds (failed, cancelled, without a finite value) are ranked
        and sorted behind all rows without, whatever the mean over the seeds that survived:
        survivors are not the sample.
        """
        protocol = self.get_object()
        part = board_query.wanted(request, protocol)
        if part.as_of is None and not request.query_params.get("experiment"):
            refuse_unready(anew.settled(protocol))
        if wants_file(request):
            return _file(request, protocol, part)
        board = _asked(reading.board, request, protocol, part)
        return Response(export.to_dict(board, part.columns) | board_query.about(board, part))

    @extend_schema(
        parameters=[EXPERIMENT, FOLLOWING],
        responses=bodies.GuidanceSerializer,
        tags=["leaderboards"],
    )
    @action(detail=True)
    def guidance(self, request: Request, fingerprint: str) -> Response:
        """Return following against diversity within a prompt: the guidance curve.

        A curve's points differ only in guidance and are in its order; an entry whose sampler knows
        no guidance is a single point, and so are the ceiling (real scenes for the prompts) and the
        floor (real scenes for other prompts).
        """
        protocol, wanted = self.get_object(), request.query_params.get("following", "")
        try:
            found = chart(
                protocol, experiment=_asked_experiment(request, protocol), following=wanted
            )
        except ValueError as error:
            raise ValidationError({"errors": {"following": str(error)}}) from error
        if found is None:
            raise NotFound("the protocol measures no following of prompts, or no variety of theirs")
        return Response(to_dict(found))

    @extend_schema(
        parameters=[BY], responses=budgets.BudgetsSerializer, filters=False, tags=["leaderboards"]
    )
    @action(detail=True)
    def budgets(self, request: Request, fingerprint: str) -> Response:
        """Return who leads at each budget, entries of one budget apart from all others."""
        protocol = self.get_object()
        by = request.query_params.get("by", "") or next(iter(WAYS))
        if by not in WAYS:
            message = f"expected one of {', '.join(WAYS)}, got {by[:50]!r}"
            raise ValidationError({"errors": {"by": message}})
        return Response(budgets.body_of(same_budget.view(protocol, by), protocol.fingerprint))

    def get_renderers(self) -> Any:
        kinds = RENDERERS if self.action == "retrieve" else (JSONRenderer,)
        return [kind() for kind in kinds]


def _file(request: Request, protocol: Protocol, part: Query) -> HttpResponseBase:
    kind = request.accepted_renderer.format
    read = partial(parts, has_details=kind == "jsonl")
    found = export.file_of(_asked(read, request, protocol, part), kind, part.columns)
    return file_answer(request, f"leaderboard-{protocol.short}", found.fields, found.chunks)


def _asked(read: Callable[..., Found], request: Request, protocol: Protocol, part: Query) -> Found:
    """Return what `read` gives of a board in the order, and of the experiment, that is asked for.

    Raises:
        ValidationError: if there is no such column or experiment.
    """
    experiment = _asked_experiment(request, protocol)
    try:
        sort = request.query_params.get("sort", "")
        return read(protocol, sort=sort, experiment=experiment, query=part)
    except QueryError as error:
        raise ValidationError({"errors": {error.name: error.message}}) from error
    except ValueError as error:
        raise ValidationError({"errors": {"sort": str(error)}}) from error


def _asked_experiment(request: Request, protocol: Protocol) -> Experiment | None:
    wanted = request.query_params.get("experiment")
    return _experiment(protocol, wanted) if wanted else None


def _experiment(protocol: Protocol, wanted: str) -> Experiment:
    measured = Experiment.objects.filter(protocols=protocol)
    is_key = re.fullmatch(WHOLE_NUMBER, wanted)
    found = measured.filter(pk=wanted).first() if is_key else None
    if found is None:
        message = f"expected the id of an experiment on this board, got {wanted!r}"
        raise ValidationError({"errors": {"experiment": message[:300]}})
    return found


def _link(request: Request, protocol: Any) -> dict[str, Any]:
    url = reverse("api:leaderboard-detail", args=[protocol.fingerprint], request=request)
    return {
        "fingerprint": protocol.fingerprint,
        "name": protocol.name,
        "board_name": protocol.board_name,
        "dataset": protocol.dataset.slug,
        "num_images": protocol.num_images,
        "entries": protocol.contenders,
        "url": url,
        "csv": f"{url}?format=csv",
    }
