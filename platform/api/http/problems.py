"""Every refusal below /api in one shape: problem details, `application/problem+json`.

Nottingham et al., 2023, RFC 9457, "Problem details for HTTP APIs". `errors` is ours: every wrong
field by its dotted path.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import UnsupportedMediaType, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

CONTENT_TYPE = "application/problem+json"
ERROR = 400  # and above
PHRASES = {each.value: each.phrase for each in HTTPStatus} | {
    460: "Checksum Mismatch"
}  # as tus says
OF_ALL = "non_field_errors"  # what Django REST framework calls a whole body
SHOWN = 3  # fields in the sentence
SENTENCES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "nothing has this address; /api/v1/ leads to everything",
    HTTPStatus.INTERNAL_SERVER_ERROR: "an error of the site; its log tells more",
}
View = Callable[[HttpRequest], HttpResponseBase]


def problem(status: int, detail: str, errors: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the body of a refusal: type, title, status, detail, and perhaps errors."""
    known = {
        "type": "about:blank",  # the status says all there is to tell
        "title": PHRASES.get(status, "Refused"),
        "status": status,
        "detail": detail,
    }
    return known if errors is None else {**known, "errors": dict(errors)}


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return the answer to what a view raised; None where it is an error of ours.

    A refusal is JSON whatever else was asked for.
    """
    response = exception_handler(error, dict(context))
    if response is None:
        return None
    if request := context.get("request"):
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), CONTENT_TYPE
    response.data = _said(error, response)
    if isinstance(error, UnsupportedMediaType) and (known := _read_by(context.get("view"))):
        response.data["detail"] = f"{response.data['detail'].rstrip('.')}: expected {known}"
    response.content_type = CONTENT_TYPE
    return response


def _said(error: Exception, response: Response) -> dict[str, Any]:
    if isinstance(error, ValidationError):
        errors = _by_path(error.detail)
        return problem(response.status_code, _sentence(errors), errors)
    return problem(response.status_code, str(response.data["detail"]))


def _read_by(view: Any) -> str:
    """Return the kinds of bodies that a view reads."""
    parsers = getattr(view, "parser_classes", ())
    return " or ".join(parser.media_type for parser in parsers)


def _by_path(found: Any, path: str = "") -> dict[str, str]:
    """Return sentences by dotted paths; those of a submission come as `{"errors": {…}}`."""
    if isinstance(found, Mapping):
        parts = found["errors"] if set(found) == {"errors"} and not path else found
        begin = f"{path}." if path else ""
        return {
            where: text
            for name, part in parts.items()
            for where, text in _by_path(part, path if name == OF_ALL else f"{begin}{name}").items()
        }
    if isinstance(found, list | tuple):
        return {path: " ".join(str(part) for part in found)}
    return {path: str(found)}


def _sentence(errors: Mapping[str, str]) -> str:
    told = [f"{path}: {text}" if path else text for path, text in list(errors.items())[:SHOWN]]
    more = len(errors) - SHOWN
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def problems(get_response: View) -> View:
    """Give what was refused outside the REST views the same shape: no address, no host, a fault."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if _lost_its_slash(request, response):
            text = f"addresses end with a slash, and only GET is led there: {request.path}/"
            response = JsonResponse({"detail": text}, status=HTTPStatus.NOT_FOUND)
        is_wrong = response.status_code >= ERROR and request.path_info.startswith("/api/")
        if is_wrong and isinstance(response, HttpResponse):
            _reshape(response)
        return response

    return middleware


def _lost_its_slash(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether a body would be lost: who is led elsewhere asks there with GET."""
    is_led = response.status_code == HTTPStatus.MOVED_PERMANENTLY
    is_writing = request.method not in ("GET", "HEAD", "OPTIONS")
    return is_led and is_writing and request.path_info.startswith("/api/")


def _reshape(response: HttpResponse) -> None:
    kind, status = response.headers["Content-Type"], response.status_code
    if kind == CONTENT_TYPE:
        return
    detail = SENTENCES.get(status) or PHRASES.get(status, "Refused")
    if kind == "application/json":  # of a sentence of our own
        detail = json.loads(response.content).get("detail", detail)
    response.content = json.dumps(problem(status, detail)).encode()
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers["Content-Length"] = str(len(response.content))
