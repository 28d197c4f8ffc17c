"""JSON in a file, or at the address of a site: what its API answers."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

MOST_BYTES = 32 * 2**20  # of an answer; a protocol with 10,000 prompts has some 2 MB
SECONDS = 30
_PAGE = re.compile(r"(?P<site>.*)/(protocols|leaderboards)/(?P<fingerprint>[0-9a-f]{64})/?")


class CommandError(Exception):
    """The command cannot do what was asked; the message says why."""


def read_json(source: Path | str) -> Any:
    """Return the JSON in a file or at an http or https address; a board's page has its protocol's.

    Raises:
        CommandError: if it is none, or the site does not answer.
        OSError: if the file cannot be read.
    """
    is_address = re.match("https?://", str(source)) is not None
    text = _fetched(str(source)) if is_address else Path(source).read_bytes()
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{source} is not JSON: {error}") from error


def _fetched(address: str) -> bytes:
    request = Request(in_api(address), headers={"Accept": "application/json"})  # noqa: S310  # http(s)
    try:
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  # http(s)
            found = bytes(answer.read(MOST_BYTES + 1))
    except (URLError, OSError, ValueError) as error:
        raise CommandError(f"{address}: no answer: {error}") from error
    if len(found) > MOST_BYTES:
        raise CommandError(f"{address}: expected at most {MOST_BYTES:,} bytes")
    return found


def in_api(address: str) -> str:
    """Return where a site's API has the protocol of a page; other addresses as they are.

    Of the API of a board it is that of its protocol as well. What the page was asked for, a column
    to sort by, is nothing to the API.
    """
    parts = urlsplit(address)
    if not (found := _PAGE.fullmatch(parts.path)):
        return address
    site = re.sub("/api(/v1)?$", "", found["site"])
    path = f"{site}/api/protocols/{found['fingerprint']}/"
    return urlunsplit(parts._replace(path=path, query="", fragment=""))
