"""Resources of the REST interface. Reading is public by default, writing needs a token."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import FileResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
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
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from api import bodies, catalogue, filters, serializers
from api.exports import jobs
from api.exports.lists import Exported
from api.lifetime.outlook import OutlookSerializer, outlook
from api.resources import FINGERPRINT, ByFingerprint, Resource
from catalog import stored
from catalog.engine import RegistrationError
from catalog.models import Dataset, PromptSet, Protocol
from catalog.prompt_template import FORMS, template_of
from experiments import services, work_logs
from experiments.models import (
    Entry,
    Evaluation,
    LossPoint,
    Run,
    SampleSet,
)
from experiments.pages import logs
from experiments.submission import bundle as bundles
from jobs.models import Job, Status


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


def may_change(
    response: type, description: str, *, code: int = status.HTTP_200_OK
) -> dict[int, Any]:
    """Return the documented answers of an action that the row's state may forbid."""
    refused = OpenApiResponse(bodies.ProblemSerializer, "The job's state does not allow it.")
    return {code: OpenApiResponse(response, description), status.HTTP_409_CONFLICT: refused}


class DatasetViewSet(Resource, ReadOnlyModelViewSet[Dataset]):
    """Real images in two splits, known by their content."""

    queryset = Dataset.objects.order_by("slug")
    serializer_class = catalogue.DatasetSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-\w]+"
    filterset_fields: ClassVar = ["resolution", "channels"]
    orderings = ("slug", "id", "name", "resolution", "created_at")
    default_ordering = "slug"


class PromptSetViewSet(Resource, ReadOnlyModelViewSet[PromptSet]):
    """What generated images are asked for in words, known by its content."""

    queryset = PromptSet.objects.order_by("slug")
    serializer_class = catalogue.PromptSetSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-\w]+"
    orderings = ("slug", "id", "created_at")
    default_ordering = "slug"

    @extend_schema(
        parameters=[OpenApiParameter("images_per_prompt", int), OpenApiParameter("as", enum=FORMS)],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
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


class ProtocolViewSet(ByFingerprint, ReadOnlyModelViewSet[Protocol]):
    """How generated images are scored; values of different fingerprints are never compared."""

    queryset = Protocol.objects.select_related("dataset", "prompt_set").order_by("pk")
    serializer_class = catalogue.ProtocolSerializer
    default_ordering = "id"
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
        differences = protocol.differences(self.by_fingerprint(other))
        return Response({"comparable": not differences, "differences": differences})


TIMES = ("queued_at", "started_at", "finished_at")


class JobViewSet(Exported, ReadOnlyModelViewSet[Any]):
    """Work with a status."""

    orderings: ClassVar[tuple[str, ...]] = ("id", *TIMES)

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

    @extend_schema(
        parameters=[
            OpenApiParameter("attempt", int, description="the newest that has one if empty")
        ],
        responses={
            (200, "text/plain"): OpenApiTypes.STR,
            403: OpenApiResponse(bodies.ProblemSerializer, "The job is somebody else's."),
        },
        filters=False,
    )
    @action(
        detail=True,
        pagination_class=None,
        filter_backends=[],
        permission_classes=[IsAuthenticated],
    )
    def log(self, request: Request, pk: str) -> HttpResponseBase:
        """Return what was logged in an attempt, for who submitted the job and admins.

        Plain text, the newest lines of at most 256 KiB; it grows while the job runs. Characters
        that cannot be seen are escaped, secrets of the site hidden.
        """
        job = self.get_object()
        work_logs.require_reader(request.user, job)
        try:
            return logs.as_text(logs.found(job, request.query_params.get("attempt", "")))
        except FileNotFoundError as error:
            raise NotFound(logs.NOT_THERE) from error

    @extend_schema(responses=OutlookSerializer, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def outlook(self, request: Request, pk: str) -> Response:
        """Return why the job waits, and how long it will take where that is known."""
        return Response(outlook(self.get_object()))


def job_schema(serializer: type) -> Any:
    """Return the decorator that documents a job's actions."""
    return extend_schema_view(
        cancel=extend_schema(request=None, responses=may_change(serializer, "The job now.")),
        retry=extend_schema(request=None, responses=may_change(serializer, "The job now.")),
    )


def runs() -> QuerySet[Run]:
    """Return runs with what their autoencoders lose, where that is known."""
    known = SampleSet.objects.filter(run=OuterRef("pk"), status=Status.COMPLETED)
    lost = known.filter(entry__kind=Entry.Kind.CONTROL).order_by("pk").values("reconstruction")[:1]
    return Run.objects.select_related("worker", "entry__experiment").annotate(
        reconstruction=Subquery(lost)
    )


@job_schema(serializers.RunSerializer)
class RunViewSet(JobViewSet):
    """Trainings: an entry with a seed."""

    queryset = runs().order_by("-pk")
    serializer_class = serializers.RunSerializer
    orderings = ("id", *TIMES, "seed", "images_seen", "device_seconds")
    filterset_class = filters.RunFilter
    table = jobs.RUNS

    @extend_schema(responses=serializers.CheckpointSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def checkpoints(self, request: Request, pk: str) -> Response:
        """Return the run's checkpoints, the oldest first; weights are kept of the newest alone."""
        found = self.get_object().checkpoints.order_by("images_seen")
        return Response(serializers.CheckpointSerializer(found, many=True).data)

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def bundle(self, request: Request, pk: str) -> Response:
        """Return what `python -m generators reproduce` trains and draws the run again from."""
        try:
            return Response(bundles.bundle_of(self.get_object()))
        except ValueError as error:
            raise NotFound(str(error)) from error

    @extend_schema(responses=serializers.LossPointSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def losses(self, request: Request, pk: str) -> Response:
        """Return the run's whole loss curve."""
        points = LossPoint.objects.filter(run=self.get_object()).order_by("images_seen")
        return Response(serializers.LossPointSerializer(points, many=True).data)


@job_schema(serializers.SampleSetSerializer)
class SampleSetViewSet(JobViewSet):
    """Images drawn from a checkpoint with one sampler."""

    queryset = SampleSet.objects.select_related(
        "worker", "entry__experiment", "checkpoint"
    ).order_by("-pk")
    serializer_class = serializers.SampleSetSerializer
    filterset_class = filters.SampleSetFilter
    table = jobs.SAMPLE_SETS

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def file(self, request: Request, pk: str) -> HttpResponseBase:
        """Return the images: `.npz` with `arr_0` uint8 (N, H, W, C) and `labels` int64 (N,)."""
        sample_set = self.get_object()
        found = partial(download, sample_set.path, as_attachment=True)
        return unless_known_by(request, sample_set.sha256, found)

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=[])
    def grid(self, request: Request, pk: str) -> HttpResponseBase:
        """Return a contact sheet of the first images, uncurated."""
        sample_set = self.get_object()
        found = partial(download, sample_set.grid_path, as_attachment=False)
        return unless_known_by(request, sample_set.sha256 and f"{sample_set.sha256}-grid", found)


def unless_known_by(
    request: Request, digest: str, found: Callable[[], FileResponse]
) -> HttpResponseBase:
    """Return a file with its digest as its ETag, or 304; without one where it is not known yet."""
    etag = quote_etag(digest) if digest else None
    if known := get_conditional_response(request._request, etag=etag):
        return known
    answer = found()
    if etag:
        answer.headers["ETag"] = etag
    return answer


def download(path: Path, *, as_attachment: bool) -> FileResponse:
    try:
        file = stored.fetch(path).open("rb")
    except (FileNotFoundError, stored.BucketError, stored.DamagedError) as error:
        raise NotFound("the images are not drawn yet, or their file was removed") from error
    return FileResponse(file, as_attachment=as_attachment, filename=f"samples-{path.name}")


def evaluations() -> QuerySet[Evaluation]:
    """Return evaluations with their values; those under one protocol share what was read of it."""
    return Evaluation.objects.select_related(
        "worker", "sample_set__entry__experiment"
    ).prefetch_related("protocol", "values")


@job_schema(serializers.EvaluationSerializer)
class EvaluationViewSet(JobViewSet):
    """Sample sets scored under a protocol, with their values; as a file a row for each value."""

    queryset = evaluations().order_by("-pk")
    serializer_class = serializers.EvaluationSerializer
    filterset_class = filters.EvaluationFilter
    table = jobs.VALUES
