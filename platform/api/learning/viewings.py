"""Viewings over REST: how a trained model makes images, as pictures over frames with numbers."""

from typing import Any

import django_filters
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from api.filters import LARGEST, ChoiceFilter, whole_number
from api.http import idempotency
from api.learning.asked import STATE, Asked, SheetSerializer
from api.views import TIMES, download, may_change
from experiments import overview
from experiments.models import Run, Viewing
from experiments.submission.plain import read_number
from experiments.submission.specification import MAX_SEED, SpecificationError
from experiments.viewings import asking
from experiments.viewings.kinds import VIEWERS, choices
from jobs.models import Status


class LookingSerializer(serializers.Serializer[Any]):
    """What to look at; what the run's viewers do not have is refused at `kind`."""

    run = serializers.IntegerField(help_text="id of a completed training")
    kind = serializers.ChoiceField(choices=[*choices()])
    first = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_SEED,
        help_text="the first seed; of noising and reconstruction a place in the test split",
    )
    told = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="a class's number or a prompt, of reverse, samplers and interpolation; empty: any",
    )
    sampler = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="label of one of the entry's, of reverse and interpolation; empty: its first",
    )


class FactsSerializer(serializers.Serializer[Any]):
    """What the pictures show; empty until they are drawn."""

    tracks = serializers.ListField(child=serializers.CharField(), required=False)
    frames = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="the numbers of each frame"
    )
    cells = serializers.ListField(
        required=False, help_text="the numbers of each picture, by track, where they have own ones"
    )
    summary = serializers.DictField(required=False)
    told = serializers.ListField(child=serializers.CharField(), required=False)
    history = serializers.ListField(
        required=False, help_text="of a verdict: images seen, mean logit on real, on drawn images"
    )
    images_seen = serializers.IntegerField(required=False, help_text="by the weights that drew")


class ViewingSerializer(SheetSerializer):
    sheet_at = "api:viewing-sheet"
    url = serializers.HyperlinkedIdentityField(view_name="api:viewing-detail")
    facts = FactsSerializer()
    sheet = serializers.SerializerMethodField(
        help_text="PNG with a row for each track, a column for each frame"
    )

    class Meta:
        model = Viewing
        fields = [
            "id",
            "url",
            "run",
            "kind",
            "first",
            "told",
            "sampler_label",
            *STATE,
            "facts",
            "sheet",
        ]

    def to_representation(self, instance: Viewing) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return {**shown, "facts": instance.facts}


class ViewingFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(choices=Status.choices)
    kind = ChoiceFilter(choices=[(key, key) for key in VIEWERS])
    run = whole_number("run")

    class Meta:
        model = Viewing
        fields: list[str] = []


class ViewingViewSet(Asked, ReadOnlyModelViewSet[Viewing]):
    """Looks into completed trainings: noise to image and back, samplers, ways between seeds."""

    queryset = overview.loaded_viewings().order_by("-pk")
    serializer_class = ViewingSerializer
    orderings = ("id", *TIMES)
    filterset_class = ViewingFilter
    asked_with, limited_at = "a run and a kind", "kind"

    @extend_schema(
        request=LookingSerializer,
        parameters=[idempotency.KEY],
        responses={
            status.HTTP_200_OK: OpenApiResponse(ViewingSerializer, "It was there already."),
            status.HTTP_201_CREATED: ViewingSerializer,
            **idempotency.REFUSALS,
        },
    )
    def create(self, request: Request) -> Response:
        """Ask: the job is queued at once. What was asked for before is returned as it is."""
        return self.answered(request, self._ask)

    def _ask(self) -> Response:
        given: Any = self.request.data  # an object, as was looked at
        user = self.user()
        assert user is not None, "permissions let nobody else write"
        viewing, is_new = asking.ask(_run(given), given, user=user)
        return self.made(viewing, is_new=is_new)

    @extend_schema(request=None, responses=may_change(ViewingSerializer, "The viewing now."))
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel the viewing if it is queued, ask it to stop if it is being drawn."""
        return self.stopped(request)

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def sheet(self, request: Request, pk: str) -> FileResponse:
        """Return all pictures in one: a row for each track, a column for each frame."""
        return download(self.get_object().path, as_attachment=False)


def _run(data: dict[str, Any]) -> Run:
    wanted = data.get("run")
    number = read_number(wanted)
    is_key = isinstance(number, int) and 0 <= number <= LARGEST
    run = overview.loaded_runs().filter(pk=str(number)).first() if is_key else None
    if run is None:
        raise SpecificationError({"run": f"expected a run's id, got {wanted!r}"[:300]})
    return run
