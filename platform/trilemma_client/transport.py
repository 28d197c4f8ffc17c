"""Requests to a site: asked again where that may help, refused with the site's own words."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout

from trilemma_client.configuration import Configuration
from trilemma_client.errors import TrilemmaError, refusal

AGAIN = (429, 502, 503, 504)  # too many requests, or the site is busy or restarts
PAGE = 500  # rows that are asked for at once, the most there are
PIECE = 2**20  # bytes of a file in memory at a time
Parameters = Mapping[str, object]


class Transport:
    """Connections to one site. Any request is sent again without harm: see `Client.submit`."""

    def __init__(self, where: Configuration, *, retries: int, timeout_seconds: float) -> None:
        self.base = f"{where.url}/api/v1/"
        headers = {"User-Agent": "trilemma-client", "Accept": "application/json"}
        if where.token:
            headers["Authorization"] = f"Token {where.token}"
        self._pool = urllib3.connection_from_url(
            self.base,
            headers=headers,
            timeout=Timeout(connect=10, read=timeout_seconds),
            retries=Retry(
                retries,
                redirect=False,  # a token is for one site
                status_forcelist=AGAIN,
                allowed_methods=None,
                backoff_factor=0.5,
                backoff_max=30,
                backoff_jitter=0.5,
                raise_on_status=False,
            ),
        )

    def close(self) -> None:
        self._pool.close()

    def get(self, path: str, **parameters: object) -> Any:
        """Return the data that an address answers with."""
        return self.data_of(self.ask("GET", path, parameters))

    def post(self, path: str, **parameters: object) -> Any:
        return self.data_of(self.ask("POST", path, parameters))

    def data_of(self, answer: urllib3.BaseHTTPResponse) -> Any:
        """Return the data of an answer.

        Raises:
            TrilemmaError: if it is no JSON.
        """
        try:
            return json.loads(answer.data)
        except ValueError as error:
            kind = answer.headers.get("Content-Type", "nothing")
            raise TrilemmaError(f"expected JSON, got {kind}: is {self.base} a site's?") from error

    def each(self, path: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Yield the rows of all pages of a list."""
        asked: dict[str, Any] = {"page_size": PAGE, **parameters}
        while asked:
            page = self.get(path, **asked)
            yield from page["results"]
            # the site's address as it knows it itself may be another one, behind a proxy
            asked = dict(parse_qsl(urlsplit(page["next"] or "").query))

    def ask(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        is_whole: bool = True,  # the body is read at once
    ) -> urllib3.BaseHTTPResponse:
        """Return an answer that is no refusal.

        Raises:
            TrilemmaError: if it is one, or none comes.
        """
        query = urlencode(
            [(name, _text(v)) for name, all_ in parameters.items() for v in _each(all_)]
        )
        url = urlsplit(self.base).path + path + (f"?{query}" if query else "")
        said = {**self._pool.headers, **(headers or {})}
        try:
            answer = self._pool.request(
                method, url, body=body, headers=said, preload_content=is_whole, redirect=False
            )
            if answer.status < 300:
                return answer
            told = answer.data
        except HTTPError as error:
            raise TrilemmaError(f"no answer from {self.base}: {error}") from error
        if where := answer.headers.get("Location"):
            raise TrilemmaError(f"the site is at {where} now: give that url", status=answer.status)
        raise refusal(answer.status, answer.reason or "", told)

    def save(self, path: str, to: Path, parameters: Parameters) -> None:
        """Write what an address answers with into a file, which is there whole or not at all."""
        answer = self.ask("GET", path, parameters, headers={"Accept": "*/*"}, is_whole=False)
        part = to.with_name(f"{to.name}.part")
        try:
            with part.open("wb") as file:
                for piece in answer.stream(PIECE):
                    file.write(piece)
            part.replace(to)
        except HTTPError as error:
            raise TrilemmaError(f"{to} is not complete: {error}") from error
        finally:
            part.unlink(missing_ok=True)
            answer.release_conn()


def _each(value: object) -> list[object] | tuple[object, ...]:
    """Return the values of a parameter, which is there several times where it is a list."""
    return value if isinstance(value, list | tuple) else [value]


def _text(value: object) -> str:
    """Return a parameter as the site reads it: true and false, numbers, text."""
    return str(value).lower() if isinstance(value, bool) else str(value)
