"""External entries over REST: samples that were made elsewhere, and what became of them."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import django_filters
import yaml
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.models import User
from api import bodies, serializers
from api.filters import ChoiceFilter, algorithms, whole_number
from api.resources import Resource
from experiments.external import GivenFile, submit_external
from experiments.intake.asking import whole_uploads
from experiments.lifetime.withdrawal import cancel_entry, retry_entry
from experiments.models import Entry
from experiments.ownership import require_change
from experiments.submission.external import MAX_SETS, read_external
from experiments.submission.plain import read_yaml
from experiments.submission.specification import SpecificationError
from experiments.uploads.files import named

MOST_BYTES = 2 * 2**30  # of a whole request; what is larger is handed in by the command
MOST_OF_MANIFEST = 1_000_000


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class BoundedMultiPartParser(MultiPartParser):
    """Forms with files, of bearable size: that is known before the first byte is read."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the parsed form.

        Raises:
            TooLarge: if the request says that it is larger than MOST_BYTES.
            ParseError: if it is no such form.
        """
        length = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0)
        if length > MOST_BYTES:
            raise TooLarge(
                f"expected at most {MOST_BYTES:,} bytes, got {length:,}; use the command "
                "`manage.py submit_samples`"
            )
        return super().parse(stream, media_type, parser_context)


class EntryFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    experiment = whole_number("experiment")
    kind = ChoiceFilter(choices=Entry.Kind.choices)
    algorithm = ChoiceFilter(choices=algorithms)

    class Meta:
        model = Entry
        fields: list[str] = []


class EntryViewSet(Resource, ReadOnlyModelViewSet[Entry]):
    """Contenders of experiments: trained here, pipelines, external, or controls."""

    queryset = Entry.objects.prefetch_related("sample_sets__entry").order_by("-pk")
    serializer_class = serializers.EntryStateSerializer
    parser_classes = (BoundedMultiPartParser,)  # type: ignore[assignment]  # not of JSON
    filterset_class = EntryFilter

    @extend_schema(
        request={"multipart/form-data": bodies.ExternalSubmissionSerializer},
        responses={
            status.HTTP_201_CREATED: serializers.EntryStateSerializer,
            status.HTTP_200_OK: OpenApiResponse(
                serializers.EntryStateSerializer, "The same was handed in before."
            ),
            status.HTTP_413_REQUEST_ENTITY_TOO_LARGE: bodies.ProblemSerializer,
        },
    )
    def create(self, request: Request) -> Response:
        """Hand in samples that were made elsewhere, a file for each seed.

        They come with the form, or were uploaded before, and are named by the ids of their uploads,
        which stay until they are deleted. A worker reads and looks them over; `sample_sets` then say
        what was found, or why they were refused. The same manifest with the same files is the same
        entry: asking twice makes one.
        """
        try:
            return self._submit(request)
        except SpecificationError as error:
            raise ValidationError({"errors": error.errors}) from error

    @extend_schema(request=None, responses=bodies.CountSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel every queued job of the entry and ask every running one to stop."""
        return Response({"jobs": cancel_entry(self._changeable(), user=request.user)})

    @extend_schema(request=None, responses=bodies.CountSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Queue every failed or cancelled job of the entry again."""
        return Response({"jobs": retry_entry(self._changeable(), user=request.user)})

    def _changeable(self) -> Entry:
        entry: Entry = self.get_object()
        require_change(self.request.user, entry.experiment)
        return entry

    def _submit(self, request: Request) -> Response:
        spec = read_external(_read(request))
        if spec.experiment is not None:
            require_change(request.user, spec.experiment)
        with self._given(request) as files:
            entry, is_new = submit_external(spec, files, user=self.user())
        data = self.get_serializer(self.get_queryset().get(pk=entry.pk)).data
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(data, code, headers={"Location": str(data["url"])})

    @contextmanager
    def _given(self, request: Request) -> Iterator[list[GivenFile]]:
        """Yield the files that came with the request, or that were uploaded before.

        Raises:
            SpecificationError: if there are both, or an upload is none to hand in.
        """
        ids = cast(QueryDict, request.data).getlist("uploads")
        if not ids:
            with _on_disk(request.FILES.getlist("files")) as files:
                yield files
            return
        if request.FILES.getlist("files"):
            raise SpecificationError({"uploads": "expected none beside files"})
        user = cast(User, self.user())  # the resource asks for one before it is written to
        uploads = whole_uploads(ids[: MAX_SETS + 1], user=user)
        if (size := sum(upload.length for upload in uploads)) > MOST_BYTES:
            raise TooLarge(
                f"expected at most {MOST_BYTES:,} bytes, got {size:,}; hand them in on the page "
                f"{reverse('submit-samples')}"
            )
        with tempfile.TemporaryDirectory() as folder, _naming_uploads():
            with named(uploads, Path(folder)) as paths:
                yield [GivenFile(path, path.name) for path in paths]


@contextmanager
def _naming_uploads() -> Iterator[None]:
    """Say of files what is wrong with them as what they were handed in as."""
    try:
        yield
    except SpecificationError as error:
        renamed = {_as_upload(path): _as_upload(text) for path, text in error.errors.items()}
        raise SpecificationError(renamed) from error


def _as_upload(text: str) -> str:
    return re.sub(r"\bfiles(\.[0-9]|$)", r"uploads\1", text)


def _read(request: Request) -> dict[str, Any]:
    """Return the form's fields as plain data.

    Raises:
        SpecificationError: if there are others, or the manifest is neither YAML nor JSON.
    """
    form = cast(QueryDict, request.data)
    known = {"experiment", "name", "label", "protocols", "manifest", "files", "uploads"}
    if unknown := sorted(set(form) - known):
        expected = f"unknown; expected {', '.join(sorted(known))}"
        raise SpecificationError({unknown[0][:100]: expected})
    data: dict[str, Any] = {name: form.get(name) for name in ("experiment", "name", "label")}
    manifest = _manifest(form.get("manifest"))
    return {**data, "protocols": form.getlist("protocols"), "manifest": manifest}


def _manifest(given: object) -> Any:
    try:
        if isinstance(given, UploadedFile):
            given = given.read(MOST_OF_MANIFEST + 1).decode()
        if not isinstance(given, str) or len(given) > MOST_OF_MANIFEST:
            raise ValueError(f"expected YAML or JSON of at most {MOST_OF_MANIFEST:,} characters")
        return read_yaml(given)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise SpecificationError({"manifest": str(error)[:300]}) from error


@contextmanager
def _on_disk(uploads: "Sequence[UploadedFile[Any]]") -> Iterator[list[GivenFile]]:
    """Yield the uploads as files, which small ones are not yet."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for place, upload in enumerate(uploads):
            path = Path(folder) / str(place)
            if hasattr(upload, "temporary_file_path"):
                path = Path(upload.temporary_file_path())
            else:
                path.write_bytes(upload.read())
            files.append(GivenFile(path, upload.name or "samples"))
        yield files
