"""Uploads that go on where they stopped: the server's side of tus 1.0.0, https://tus.io/protocols.

The core protocol with the extensions creation, termination, expiration and checksum, for browsers
(session and CSRF token) and scripts (token). Of an upload that was interrupted HEAD says how much is
here. It is no part of the OpenAPI description, for which HEAD, and bodies of any length, are nothing.
"""

import base64
import binascii
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.utils.http import http_date
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import may_submit
from api.http import queries
from api.resources import Addressed
from experiments.uploads import files
from experiments.uploads.files import ALGORITHMS, GB, Checksum, UploadRefused
from experiments.uploads.models import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration,checksum"
PIECE = "application/offset+octet-stream"


class Refused(APIException):
    """What the store refuses, with the status that the protocol has for it."""

    def __init__(self, error: UploadRefused) -> None:
        super().__init__(str(error))
        self.status_code = error.status


class MaySubmit(BasePermission):
    """Accounts that may submit, to read as well."""

    message = "Your account may not upload."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method == "OPTIONS" or may_submit(request.user)


class Tus(Addressed):
    """What both addresses share."""

    permission_classes = (MaySubmit,)
    parser_classes = ()  # bodies are read by pieces

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        queries.refuse_others(request.query_params, ["format"])
        spoken = request.headers.get("Tus-Resumable")
        if request.method not in ("OPTIONS", "GET") and spoken != VERSION:
            raise Refused(UploadRefused(f"expected Tus-Resumable {VERSION}, got {spoken}", 412))

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        answer["Tus-Resumable"] = answer["Tus-Version"] = VERSION
        answer["Cache-Control"] = "no-store"
        return answer

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """Say what is spoken here."""
        headers = {
            "Tus-Extension": EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
            "Tus-Max-Size": str(settings.UPLOAD_GB * GB),
        }
        return Response(status=204, headers=headers)


@extend_schema(exclude=True)
class UploadList(Tus):
    """An account's own uploads that no worker needs."""

    def get(self, request: Request) -> Response:
        """Return them, so that somebody can go on with one."""
        uploads = files.free_uploads(cast(User, request.user))
        return Response({"results": [_told(upload, request) for upload in uploads]})

    def post(self, request: Request) -> Response:
        """Begin an upload; its address is in Location."""
        said = _metadata(request)
        try:
            upload = files.begin(
                cast(User, request.user),
                name=said.get("filename", ""),
                length=_whole(request, "Upload-Length"),
                fingerprint=said.get("fingerprint", ""),
            )
        except UploadRefused as error:
            raise Refused(error) from error
        told = _told(upload, request)
        headers = {"Location": told["url"], **_expiry(upload)}
        return Response(told, status=201, headers=headers)


@extend_schema(exclude=True)
class UploadDetail(Tus):
    """One upload, for who began it and for admins."""

    def upload(self, request: Request) -> Upload:
        found = get_object_or_404(Upload, pk=self.kwargs["pk"])
        if not files.may_see(request.user, found):
            raise PermissionDenied("only who began the upload and admins may do this")
        return found

    def get(self, request: Request, pk: str) -> Response:
        """Return how much of it is here."""
        return Response(_told(self.upload(request), request))

    def head(self, request: Request, pk: str) -> Response:
        """Say where to go on."""
        upload = self.upload(request)
        headers = {
            "Upload-Offset": str(upload.offset),
            "Upload-Length": str(upload.length),
            "Upload-Metadata": f"filename {base64.b64encode(upload.name.encode()).decode()}",
        }
        return Response(headers={**headers, **_expiry(upload)})

    def patch(self, request: Request, pk: str) -> Response:
        """Take a piece that begins at Upload-Offset, which is where the last one ended."""
        upload = self.upload(request)
        if request.content_type != PIECE:
            raise Refused(UploadRefused(f"expected {PIECE}, got {request.content_type}", 415))
        at, coming = _whole(request, "Upload-Offset"), _whole(request, "Content-Length")
        if coming > max(0, upload.length - at):
            text = f"{coming:,} bytes from {at:,} are more than {upload.length:,}"
            raise Refused(UploadRefused(text, files.TOO_LARGE))
        body: HttpRequest = request._request  # a stream, which no parser has read
        try:
            here = files.append(upload, body.read, at=at, checksum=_checksum(request))
        except UploadRefused as error:
            raise Refused(error) from error
        except UnreadablePostError as error:  # what came is here
            raise Refused(UploadRefused("the connection broke off")) from error
        return Response(status=204, headers={"Upload-Offset": str(here), **_expiry(upload)})

    def delete(self, request: Request, pk: str) -> Response:
        """Delete it, with what is here of it."""
        try:
            files.remove(self.upload(request))
        except UploadRefused as error:
            raise Refused(error) from error
        return Response(status=204)


def _told(upload: Upload, request: Request) -> dict[str, Any]:
    return {
        "id": str(upload.pk),
        "url": reverse("api:upload", args=[upload.pk], request=request),
        "name": upload.name,
        "length": upload.length,
        "offset": upload.offset,
        "fingerprint": upload.fingerprint,
        "expires_at": files.expires_at(upload),
    }


def _expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": http_date(files.expires_at(upload).timestamp())}


def _whole(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Refused(UploadRefused(f"{header}: expected a whole number, got {text!r}"[:200]))
    return int(text)


def _metadata(request: Request) -> dict[str, str]:
    """Return Upload-Metadata, pairs of a name and a value in base64, by their names."""
    found = {}
    for pair in filter(None, request.headers.get("Upload-Metadata", "").split(",")):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            text = f"Upload-Metadata: expected UTF-8 in base64, got {pair!r}"[:200]
            raise Refused(UploadRefused(text)) from error
    return found


def _checksum(request: Request) -> Checksum | None:
    if (text := request.headers.get("Upload-Checksum")) is None:
        return None
    algorithm, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm not in ALGORITHMS or not digest:
        wanted = f"Upload-Checksum: expected {' or '.join(ALGORITHMS)} and a sum in base64"
        raise Refused(UploadRefused(wanted))
    return Checksum(algorithm, digest)
