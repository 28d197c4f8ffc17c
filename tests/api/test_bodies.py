"""Bodies that cannot be read as text are refused in words, whatever they claim to be."""

from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.test import APIClient

from config.wsgi import application

pytestmark = pytest.mark.django_db
WRITTEN = ("experiments/?dry_run=true", "webhooks/", "watches/", "questions/", "viewings/")
KINDS = ("application/yaml", "application/json")


def post(writer: APIClient, address: str, body: bytes, kind: str) -> Any:
    """Return the answer to bytes as they are."""
    return writer.generic("POST", address, body, content_type=kind)  # type: ignore[arg-type]  # its stub knows text alone


@pytest.mark.parametrize("body", [b"\xff\xfe", b"name: caf\xe9", b"\xed\xa0\x80"])
def test_a_body_that_is_no_text_is_refused(writer: APIClient, body: bytes) -> None:
    asked = [(address, KINDS[0]) for address in WRITTEN] + [(WRITTEN[0], KINDS[1])]
    for address, kind in asked:
        answer = post(writer, f"/api/v1/{address}", body, kind)

        assert answer.status_code == 400, (address, kind)
        assert "codec can't decode" in answer.json()["detail"], (address, kind)


def test_a_charset_that_is_none_of_text_is_read_as_utf_8() -> None:
    for charset in ("base64", "rot13", "bz2_codec", "undefined"):
        environ = RequestFactory().get("/api/v1/runs/?page_size=1").environ
        environ["CONTENT_TYPE"] = f"application/json; charset={charset}"
        said: list[str] = []

        list(application(environ, lambda status, *_, said=said: said.append(status)))

        assert said == ["200 OK"], charset


def test_charsets_of_text_are_read(writer: APIClient) -> None:
    for charset in ("utf-8", "utf-16", "latin-1", "nothing-known"):
        kind = f"application/yaml; charset={charset}"
        text = "name: café".encode("utf-8" if charset == "nothing-known" else charset)

        answer = post(writer, "/api/v1/experiments/", text, kind)

        assert answer.status_code == 400
        assert "name" not in answer.json()["errors"], charset
