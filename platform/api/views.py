"""Resources of the REST interface. Reading is public by default, writing needs a token."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ReadOnlyModelViewSet

from accounts.models import User
from api import bodies, catalogue, filters, serializers
from api.parsers import StrictJSONParser
from api.schema import ApiSchema
from catalog import stored
from catalog.engine import RegistrationError
from catalog.models import Dataset, PromptSet, Protocol
from catalog.prompt_template import FORMS, template_of
from experiments import services
from experiments.models import (
    Entry,
    Evaluation,
    Experiment,
    LossPoint,
    MetricValue,
    Run,
    SampleSet,
)
from experiments.ownership import require_change
from experiments.progress import loaded, progress
from experiments.submission.specification import SpecificationError
from jobs.models import Job, Status

WHOLE_NUMBER = r"\d{1,18}"  # what a key can be
FINGERPRINT = "[0-9a-f]{64}"


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


def may_change(
    response: type, description: str, *, code: int = status.HTTP_200_OK
) -> dict[int, Any]:
    """Return the documented answers of an action that the row's state may forbid."""
    refused = OpenApiResponse(bodies.DetailSerializer, "The job's state does not allow it.")
    return {code: OpenApiResponse(response, description), status.HTTP_409_CONFLICT: refused}


class Resource(GenericViewSet[Any]):
    """What all resources share."""

    schema = ApiSchema()
    parser_classes = (StrictJSONParser,)
    lookup_value_regex = WHOLE_NUMBER

    def user(self) -> User | None:
        """Return the account that writes; permissions let nobody else write."""
        return self.request.user if self.request.user.is_authenticated else None

    def changeable(self) -> Any:
        """Return the asked row, for an account that may cancel and retry it."""
        row = self.get_object()
        require_change(self.request.user, row)
        return row


class DatasetViewSet(Resource, ReadOnlyModelViewSet[Dataset]):
    """Real images in two splits, known by their content."""

    queryset = Dataset.objects.order_by("slug")
    serializer_class = catalogue.DatasetSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-\w]+"
    filterset_fields: ClassVar = ["resolution", "channels"]


class PromptSetViewSet(Resource, ReadOnlyModelViewSet[PromptSet]):
    """What generated images are asked for in words, known by its content."""

    queryset = PromptSet.objects.order_by("slug")
    serializer_class = catalogue.PromptSetSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-\w]+"

    @extend_schema(
        parameters=[OpenApiParameter("images_per_prompt", int), OpenApiParameter("as", enum=FORMS)],
        responses={(200, "application/zip"): OpenApiTypes.BINARY, 400: bodies.ErrorsSerializer},
        filters=False,
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def template(self, request: Request, slug: str) -> FileResponse:
        """Return a zip for systems that are elsewhere: a name and a prompt for each image, a manifest.

        Put the images under these names beside the two files, fill in the manifest, and hand it in.
        """
        given = request.query_params
        try:
            content = template_of(
                self.get_object(), given.get("images_per_prompt", "1"), given.get("as", FORMS[0])
            )
        except RegistrationError as error:
            raise ValidationError({"errors": {"images_per_prompt": str(error)}}) from error
        return FileResponse(io.BytesIO(content), as_attachment=True, filename=f"{slug}.zip")


class ProtocolViewSet(Resource, ReadOnlyModelViewSet[Protocol]):
    """How generated images are scored; values of different fingerprints are never compared."""

    queryset = Protocol.objects.select_related("dataset", "prompt_set").order_by("pk")
    serializer_class = catalogue.ProtocolSerializer
    lookup_field = "fingerprint"
    lookup_value_regex = FINGERPRINT
    filterset_class = filters.ProtocolFilter

    def get_serializer_class(self) -> type[catalogue.ProtocolSerializer]:
        is_one = self.action == "retrieve"  # a list of them would repeat prompts without end
        return catalogue.WholeProtocolSerializer if is_one else catalogue.ProtocolSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("other", str, OpenApiParameter.PATH, pattern=f"^{FINGERPRINT}$")
        ],
        responses=bodies.ComparisonSerializer,
        filters=False,
    )
    @action(
        detail=True,
        url_path=f"compare/(?P<other>{FINGERPRINT})",
        pagination_class=None,
        filter_backends=[],
    )
    def compare(self, request: Request, fingerprint: str, other: str) -> Response:
        """Say whether values under two protocols may be compared, and in words why not."""
        protocol = self.get_object()
        differences = protocol.differences(
            get_object_or_404(self.get_queryset(), fingerprint=other)
        )
        return Response({"comparable": not differences, "differences": differences})


@extend_schema_view(
    cancel=extend_schema(request=None, responses=bodies.CountSerializer),
    retry=extend_schema(request=None, responses=bodies.CountSerializer),
)
class ExperimentViewSet(Resource, ReadOnlyModelViewSet[Experiment]):
    """Comparisons: one dataset, one budget, the same seeds for every entry."""

    queryset = loaded(Experiment.objects.order_by("-created_at", "-pk"))
    serializer_class = serializers.ExperimentSerializer
    filterset_class = filters.ExperimentFilter

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        chosen: Sequence[Any] = args[0] if kwargs.get("many") else args[:1]
        kwargs.setdefault("context", self.get_serializer_context())["progress"] = progress(chosen)
        return serializers.ExperimentSerializer(*args, **kwargs)

    @extend_schema(
        request=bodies.SubmissionSerializer,
        responses={status.HTTP_201_CREATED: serializers.ExperimentSerializer},
    )
    def create(self, request: Request) -> Response:
        """Submit an experiment: its runs are queued at once."""
        if not isinstance(request.data, dict):
            raise ValidationError({"errors": {"": "expected an object with a name"}})
        try:
            experiment = services.submit_data(request.data, user=self.user())
        except SpecificationError as error:
            raise ValidationError({"errors": error.errors}) from error
        data = self.get_serializer(self.get_queryset().get(pk=experiment.pk)).data
        return Response(data, status.HTTP_201_CREATED, headers={"Location": str(data["url"])})

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


class JobViewSet(Resource, ReadOnlyModelViewSet[Any]):
    """Work with a status."""

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel the job if it is queued, ask it to stop if it is running."""
        job: Job = self.changeable()
        if not services.cancel_job(job, user=request.user):
            raise Conflict(f"the job is {job.status}, expected it to be queued or running")
        return Response(self.get_serializer(self.get_object()).data)

    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Queue the job again if it failed or was cancelled."""
        job: Job = self.changeable()
        if not services.retry_job(job, user=request.user):
            raise Conflict(f"the job is {job.status}, expected it to be failed or cancelled")
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses=serializers.JobEventSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def events(self, request: Request, pk: str) -> Response:
        """Return the job's whole timeline."""
        job: Job = self.get_object()
        return Response(serializers.JobEventSerializer(job.events, many=True).data)


def job_schema(serializer: type) -> Any:
    """Return the decorator that documents a job's actions."""
    return extend_schema_view(
        cancel=extend_schema(request=None, responses=may_change(serializer, "The job now.")),
        retry=extend_schema(request=None, responses=may_change(serializer, "The job now.")),
    )


def runs() -> QuerySet[Run]:
    """Return runs with what their autoencoders lose, where that is known."""
    known = SampleSet.objects.filter(run=OuterRef("pk"), status=Status.COMPLETED)
    lost = known.filter(entry__kind=Entry.Kind.CONTROL).values("reconstruction")[:1]
    return Run.objects.select_related("worker", "entry").annotate(reconstruction=Subquery(lost))


@job_schema(serializers.RunSerializer)
class RunViewSet(JobViewSet):
    """Trainings: an entry with a seed."""

    queryset = runs().order_by("-pk")
    serializer_class = serializers.RunSerializer
    filterset_class = filters.RunFilter

    @extend_schema(responses=serializers.LossPointSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def losses(self, request: Request, pk: str) -> Response:
        """Return the run's whole loss curve."""
        points = LossPoint.objects.filter(run=self.get_object()).order_by("images_seen")
        return Response(serializers.LossPointSerializer(points, many=True).data)


@job_schema(serializers.SampleSetSerializer)
class SampleSetViewSet(JobViewSet):
    """Images drawn from a checkpoint with one sampler."""

    queryset = SampleSet.objects.select_related("worker", "entry", "checkpoint").order_by("-pk")
    serializer_class = serializers.SampleSetSerializer
    filterset_class = filters.SampleSetFilter

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def file(self, request: Request, pk: str) -> FileResponse:
        """Return the images: `.npz` with `arr_0` uint8 (N, H, W, C) and `labels` int64 (N,)."""
        return download(self.get_object().path, as_attachment=True)

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def grid(self, request: Request, pk: str) -> FileResponse:
        """Return a contact sheet of the first images, uncurated."""
        return download(self.get_object().grid_path, as_attachment=False)


def download(path: Path, *, as_attachment: bool) -> FileResponse:
    try:
        file = stored.fetch(path).open("rb")
    except (FileNotFoundError, stored.BucketError, stored.DamagedError) as error:
        raise NotFound("the images are not drawn yet, or their file was removed") from error
    return FileResponse(file, as_attachment=as_attachment, filename=f"samples-{path.name}")


def evaluations() -> QuerySet[Evaluation]:
    values = MetricValue.objects.select_related("evaluation__protocol")
    return Evaluation.objects.select_related(
        "worker", "protocol", "sample_set__entry"
    ).prefetch_related(Prefetch("values", values))


@job_schema(serializers.EvaluationSerializer)
class EvaluationViewSet(JobViewSet):
    """Sample sets scored under a protocol, with their values."""

    queryset = evaluations().order_by("-pk")
    serializer_class = serializers.EvaluationSerializer
    filterset_class = filters.EvaluationFilter
