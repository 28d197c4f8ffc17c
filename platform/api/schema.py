"""The OpenAPI description: every refusal is documented, and who may write; reading is open."""

from typing import Any, Literal

from django.urls import get_script_prefix
from drf_spectacular.openapi import AutoSchema
from rest_framework.permissions import SAFE_METHODS

from api.bodies import DetailSerializer, ErrorsSerializer

READING = ("401", "404", "429")
WRITING = ("400", "401", "403", "404", "413", "415", "429")
MAY_SUBMIT = "Submitters and admins may do this."
MAY_CHANGE = "Who submitted the experiment or asked the question, and admins may do this."


def name_the_server(result: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the description with the prefix of all its addresses, where the site has one."""
    prefix = get_script_prefix().removesuffix("/")
    return result | ({"servers": [{"url": prefix}]} if prefix else {})


class ApiSchema(AutoSchema):
    """Adds to each operation the refusals that it shares with all others, and who may write."""

    def get_auth(self) -> list[dict[str, Any]]:
        auth: list[dict[str, Any]] = super().get_auth()
        return [*auth, {}] if self.method in SAFE_METHODS else auth

    def get_description(self) -> str:  # type: ignore[override]  # as the library itself does
        description: str = super().get_description()
        if self.method in SAFE_METHODS:
            return description
        return f"{description}\n\n{MAY_CHANGE if '{' in self.path else MAY_SUBMIT}"

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        codes = READING if self.method in SAFE_METHODS else WRITING
        if self._is_list_view() and self.get_filter_backends():
            codes = (*codes, "400")
        for code in codes:
            serializer = ErrorsSerializer if code == "400" else DetailSerializer
            body = self._get_response_for_code(serializer, code)  # type: ignore[no-untyped-call]  # the library's
            bodies.setdefault(code, body)
        return bodies
