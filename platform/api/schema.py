"""The OpenAPI description: every refusal is documented, and who may write; reading is open."""

from typing import Any, Literal

from django.http import HttpResponse
from django.urls import get_script_prefix
from django.utils.translation import get_language
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import SAFE_METHODS

from api.bodies import ProblemSerializer
from api.http.files import FILES, FileRenderer
from api.http.problems import CONTENT_TYPE
from api.http.queries import refuse_others
from generators.specs import registry

MOST_RENDERED = 16  # descriptions that are kept: by format, language, prefix
_rendered: dict[tuple[Any, ...], tuple[bytes, dict[str, str]]] = {}
READING = ("400", "401", "404", "406", "429", "500")
WRITING = (*READING, "403", "413", "415")
AS_FILE = (
    "As a file (`format`, or `Accept`): all rows, complete and at full precision, the same bytes "
    "twice. In CSV alone, text that a spreadsheet would run as a formula has a ' before it."
)
MAY_SUBMIT = "Submitters and admins may do this."
MAY_CHANGE = "Who submitted the experiment or asked the question, and admins may do this."


def name_the_server(result: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the description with the prefix of all its addresses, where the site has one."""
    prefix = get_script_prefix().removesuffix("/")
    return result | ({"servers": [{"url": prefix}]} if prefix else {})


class ApiSchema(AutoSchema):
    """Adds to each operation the refusals that it shares with all others, and who may write."""

    may_change = MAY_CHANGE  # what has a key

    def get_auth(self) -> list[dict[str, Any]]:
        auth: list[dict[str, Any]] = super().get_auth()
        return [*auth, {}] if self.method in SAFE_METHODS else auth

    def get_description(self) -> str:  # type: ignore[override]  # as the library itself does
        description: str = super().get_description()
        if self.method in SAFE_METHODS:
            has_files = any(isinstance(each, FileRenderer) for each in self.view.get_renderers())
            return f"{description}\n\n{AS_FILE}" if has_files else description
        return f"{description}\n\n{self.may_change if '{' in self.path else MAY_SUBMIT}"

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        codes = READING if self.method in SAFE_METHODS else WRITING
        for code in sorted(set(codes) - {str(known) for known in bodies}):
            bodies[code] = self._get_response_for_code(ProblemSerializer, code)
        if self.method == "GET":
            bodies["304"] = {"description": "Nothing has changed since the ETag of If-None-Match."}
        return bodies

    def _get_response_for_code(
        self,
        serializer: Any,
        status_code: Any,
        media_types: Any = None,
        direction: Any = "response",
    ) -> dict[str, Any]:
        refuses = str(status_code) >= "400"
        found: dict[str, Any] = super()._get_response_for_code(  # type: ignore[no-untyped-call]  # the library's
            serializer, status_code, [CONTENT_TYPE] if refuses else media_types, direction
        )
        return found if refuses else _with_files(found)


class PrivateSchema(ApiSchema):
    """Describes what is not open to all who read."""

    def get_auth(self) -> list[dict[str, Any]]:
        return [each for each in super().get_auth() if each]

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        found = super()._get_response_bodies(direction)
        found["403"] = self._get_response_for_code(ProblemSerializer, "403")
        return found


def _with_files(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an answer in which files are files, not the data of JSON."""
    content = answer.get("content", {})
    for kind in FILES:
        if kind.media_type in content:
            binary = {} if kind.charset else {"format": "binary"}
            content[kind.media_type] = {"schema": {"type": "string", **binary}}
    return answer


class SchemaView(SpectacularAPIView):
    """The description as YAML or JSON, rendered once: it is of the code, which a process keeps."""

    def _get_schema_response(self, request: Any) -> HttpResponse:
        refuse_others(request.query_params, ["format"])
        version = self.api_version or request.version or self._get_version_parameter(request)  # type: ignore[no-untyped-call]  # the library's
        place = (get_script_prefix(), get_language(), *registry.algorithm_names())
        key = (request.accepted_media_type, version, *place)
        if key not in _rendered:
            if len(_rendered) >= MOST_RENDERED:
                _rendered.clear()
            _rendered[key] = self._render(request)
        content, headers = _rendered[key]
        return HttpResponse(content, headers=headers)

    def _render(self, request: Any) -> tuple[bytes, dict[str, str]]:
        answer = super()._get_schema_response(request)  # type: ignore[no-untyped-call]  # likewise
        answer.accepted_renderer = request.accepted_renderer
        answer.accepted_media_type = request.accepted_media_type
        answer.renderer_context = self.get_renderer_context()
        answer.render()
        return answer.content, dict(answer.items())
