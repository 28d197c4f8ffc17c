"""Experiments over REST: submitted, rehearsed, submitted again, cancelled, retried, deleted."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import yaml
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from api import bodies, filters, serializers
from api.http import idempotency
from api.lifetime.searches import SearchSerializer, body_of
from api.resources import Resource
from api.views import Conflict
from experiments import services
from experiments.lifetime.rehearsal import rehearse
from experiments.lifetime.standing import standings
from experiments.lifetime.withdrawal import NotWithdrawn, withdraw
from experiments.models import Experiment
from experiments.progress import loaded, progress
from experiments.submission.record import record_of
from experiments.submission.specification import SpecificationError
from experiments.tags.words import read_words
from generators.specs.options import unknown_fields

DRY_RUN = OpenApiParameter(
    "dry_run",
    bool,
    description="`true`: say what would be made, and what is wrong with it, and make nothing.",
)
REFUSED = OpenApiResponse(bodies.ProblemSerializer, "Its state does not allow it.")


class YAMLRenderer(BaseRenderer):
    """Plain data as YAML, in the order it has."""

    media_type = "application/yaml"
    format = "yaml"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


@extend_schema_view(
    cancel=extend_schema(request=None, responses=bodies.CountSerializer),
    retry=extend_schema(request=None, responses=bodies.CountSerializer),
)
class ExperimentViewSet(Resource, ReadOnlyModelViewSet[Experiment]):
    """Comparisons: one dataset, one budget, the same seeds for every entry."""

    queryset = loaded(Experiment.objects.order_by("-created_at", "-pk"))
    serializer_class = serializers.ExperimentSerializer
    orderings = ("id", "name", "created_at")
    page_size = 20  # each with all its entries
    filterset_class = filters.ExperimentFilter

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        chosen: Sequence[Any] = args[0] if kwargs.get("many") else args[:1]
        kwargs.setdefault("context", self.get_serializer_context())["progress"] = progress(chosen)
        return serializers.ExperimentSerializer(*args, **kwargs)

    @extend_schema(
        request=bodies.SubmissionSerializer,
        parameters=[DRY_RUN, idempotency.KEY],
        responses={
            status.HTTP_201_CREATED: serializers.ExperimentSerializer,
            status.HTTP_200_OK: OpenApiResponse(bodies.RehearsalSerializer, "Of a dry run."),
            **idempotency.REFUSALS,
        },
    )
    def create(self, request: Request) -> Response:
        """Submit an experiment: its runs are queued at once."""
        if not isinstance(request.data, dict):
            raise ValidationError({"errors": {"": "expected an object with a name"}})
        try:
            if _is_dry(request):
                return Response(asdict(rehearse(request.data, user=self.user())))
            return idempotency.once(request, self._submit)
        except SpecificationError as error:
            raise ValidationError({"errors": error.errors}) from error

    def _submit(self) -> Response:
        given: Any = self.request.data  # an object, as was looked at
        experiment = services.submit_data(given, user=self.user())
        data = self.get_serializer(self.get_queryset().get(pk=experiment.pk)).data
        return Response(data, status.HTTP_201_CREATED, headers={"Location": str(data["url"])})

    @extend_schema(request=bodies.TagsSerializer, responses={200: serializers.ExperimentSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Give the experiment these tags in place of those that it has; all else stays as it was."""
        experiment = self.changeable()
        given = request.data if isinstance(request.data, dict) else {}
        wrong = unknown_fields(given, ["tags"])
        try:
            words = read_words(given.get("tags"))
        except ValueError as error:
            wrong["tags"] = str(error)
        if wrong:
            raise ValidationError({"errors": wrong})
        services.change_tags(experiment, words, user=request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses={status.HTTP_204_NO_CONTENT: None, status.HTTP_409_CONFLICT: REFUSED})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete the whole experiment, when all its jobs are finished; it leaves every board.

        A run or an entry cannot be deleted by itself: seeds that failed are results, too.
        """
        try:
            withdraw(self.changeable(), user=request.user)
        except NotWithdrawn as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        responses={
            (200, "application/json"): bodies.SubmissionSerializer,
            (200, "application/yaml"): bodies.SubmissionSerializer,
            status.HTTP_409_CONFLICT: REFUSED,
        },
        filters=False,
    )
    @action(
        detail=True,
        pagination_class=None,
        filter_backends=[],
        renderer_classes=[JSONRenderer, YAMLRenderer],
    )
    def spec(self, request: Request, pk: str) -> Response:
        """Return what submits the same again under another name; `?format=yaml` gives YAML.

        It is complete: presets and defaults that change meanwhile change nothing. Samples that were
        handed in are not in it.
        """
        try:
            return Response(record_of(self.get_object()))
        except ValueError as error:
            raise Conflict(str(error)) from error

    @extend_schema(
        request=bodies.EntrySubmissionSerializer,
        parameters=[idempotency.KEY],
        responses={
            status.HTTP_201_CREATED: serializers.EntryStateSerializer,
            **idempotency.REFUSALS,
        },
    )
    @action(detail=True, methods=["post"])
    def entries(self, request: Request, pk: str) -> Response:
        """Let a pipeline join: it is sampled for the experiment's seeds and scored as the others are.

        What was made elsewhere joins at `entries/`. What is trained here does not join: its budget
        and its seeds are chosen with those of the others, before anybody has seen a result.
        """
        experiment = self.changeable()
        if not isinstance(request.data, dict):
            raise ValidationError({"errors": {"": "expected an object with a pipeline"}})
        try:
            return idempotency.once(request, lambda: self._join(experiment))
        except SpecificationError as error:
            at = {path.removeprefix("entries.0."): text for path, text in error.errors.items()}
            raise ValidationError({"errors": at}) from error

    def _join(self, experiment: Experiment) -> Response:
        data = {"experiment": experiment.pk, "entries": [self.request.data]}
        services.submit_data(data, user=self.user())
        entry = experiment.entries.order_by("-pk")[0]
        context = self.get_serializer_context()
        told = serializers.EntryStateSerializer(entry, context=context).data
        return Response(told, status.HTTP_201_CREATED, headers={"Location": str(told["url"])})

    @extend_schema(responses=SearchSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def searches(self, request: Request, pk: str) -> Response:
        """Return the searches of the experiment: their trials, what these came to, the winner."""
        found = [body_of(each) for each in standings(self.get_object())]
        return Response(SearchSerializer(found, many=True).data)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel every queued job and ask every running one to stop."""
        experiment = self.changeable()
        return Response({"jobs": services.cancel_experiment(experiment, user=request.user)})

    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Queue every failed or cancelled job again."""
        experiment = self.changeable()
        return Response({"jobs": services.retry_experiment(experiment, user=request.user)})


def _is_dry(request: Request) -> bool:
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise ValidationError({"dry_run": f"expected true or false, got {text[:100]!r}"})
    return text == "true"
