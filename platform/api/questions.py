"""Questions over REST: what would each trained entry draw for these words?"""

from typing import Any

import django_filters
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
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
from experiments.answers import asking
from experiments.models import Experiment, Question
from experiments.submission.plain import read_number
from experiments.submission.specification import MAX_SEED, SpecificationError
from jobs.models import Status


class AskingSerializer(serializers.Serializer[Any]):
    """What to ask; words that the models do not know are named at `text`."""

    experiment = serializers.IntegerField(help_text="id of an experiment whose models learn words")
    text = serializers.CharField(max_length=asking.MAX_TEXT)
    images = serializers.IntegerField(
        required=False, min_value=1, max_value=asking.MOST_IMAGES, help_text="of each entry"
    )
    first_seed = serializers.IntegerField(
        required=False, min_value=0, max_value=MAX_SEED, help_text="of image 0; image i has i more"
    )
    training_seed = serializers.IntegerField(
        required=False, allow_null=True, help_text="whose runs draw; the experiment's first"
    )


class AnsweredImageSerializer(serializers.Serializer[Any]):
    """One image, and what the judge reads in it."""

    seed = serializers.IntegerField()
    read = serializers.CharField(allow_null=True, help_text="null: nothing that it can read")
    follows = serializers.BooleanField(
        allow_null=True, help_text="null: unreadable, or what the words claim is not known"
    )


class AnswerSerializer(serializers.Serializer[Any]):
    """What one entry drew, or why it could not."""

    entry = serializers.IntegerField()
    run = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    algorithm = serializers.CharField()
    sampler = serializers.CharField()
    row = serializers.IntegerField(allow_null=True, help_text="on the sheet; null: not drawn")
    told = serializers.BooleanField(help_text="whether its model was told the words")
    error = serializers.CharField(allow_blank=True)
    images = AnsweredImageSerializer(many=True)


class QuestionSerializer(SheetSerializer):
    sheet_at = "api:question-sheet"
    url = serializers.HyperlinkedIdentityField(view_name="api:question-detail")
    seeds = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    answers = AnswerSerializer(many=True)
    judge = serializers.CharField(help_text="who reads the images; empty: nobody")
    sheet = serializers.SerializerMethodField(
        help_text="PNG with a row for each entry that drew, a column for each seed"
    )

    class Meta:
        model = Question
        fields = [
            "id",
            "url",
            "experiment",
            "text",
            "seeds",
            "training_seed",
            *STATE,
            "entries_done",
            "entries_total",
            "judge",
            "answers",
            "sheet",
        ]


class QuestionFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(choices=Status.choices)
    experiment = whole_number("experiment")

    class Meta:
        model = Question
        fields: list[str] = []


class QuestionViewSet(Asked, ReadOnlyModelViewSet[Question]):
    """Words of somebody's own, drawn by every trained entry of an experiment from the same seeds."""

    queryset = overview.loaded_questions().order_by("-pk")
    serializer_class = QuestionSerializer
    orderings = ("id", *TIMES)
    filterset_class = QuestionFilter
    asked_with, limited_at = "an experiment", "text"

    @extend_schema(
        request=AskingSerializer,
        parameters=[idempotency.KEY],
        responses={status.HTTP_201_CREATED: QuestionSerializer, **idempotency.REFUSALS},
    )
    def create(self, request: Request) -> Response:
        """Ask: the job is queued at once. An account may ask so many an hour and at a time."""
        return self.answered(request, self._ask)

    def _ask(self) -> Response:
        given: Any = self.request.data  # an object, as was looked at
        user = self.user()
        assert user is not None, "permissions let nobody else write"
        question = asking.ask(_experiment(given), given, user=user)
        return self.made(question)

    @extend_schema(request=None, responses=may_change(QuestionSerializer, "The question now."))
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel the question if it is queued, ask it to stop if it is being drawn."""
        return self.stopped(request)

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def sheet(self, request: Request, pk: str) -> FileResponse:
        """Return all images in one picture: a row for each entry that drew, a column for each seed."""
        return download(self.get_object().path, as_attachment=False)


def _experiment(data: dict[str, Any]) -> Experiment:
    wanted = data.get("experiment")
    number = read_number(wanted)
    experiments = Experiment.objects.select_related("dataset")
    is_key = isinstance(number, int) and 0 <= number <= LARGEST
    experiment = experiments.filter(pk=str(number)).first() if is_key else None
    if experiment is None:
        raise SpecificationError(
            {"experiment": f"expected an experiment's id, got {wanted!r}"[:300]}
        )
    return experiment
