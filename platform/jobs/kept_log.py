"""A job's own log: the newest lines of one attempt in a bounded text file, written as they come."""

import logging
import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from evaluation.imagesets.atomic import replacing
from jobs.logs import Doing, doing

FOLDER = "logs"  # of the data folder
LOG_BYTES = 2**18  # of a file; what would make it longer drops its older half
RECORD_CHARACTERS = 20_000  # of one record; of a longer one both ends are kept
DROPPED = f"… older lines were dropped: a log keeps at most its newest {LOG_BYTES // 1024} KiB\n"
LINE = "{asctime}Z {levelname} {name}: {message}"

_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|(?:^|_)(?:PASS|KEY)$", re.IGNORECASE)
_ADDRESS_NAME = re.compile(r"_URL$")  # secret where it has an account in it
_LEAST_SECRET = 8  # characters; a shorter value would hide parts of words
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@]*(?=@)")  # postgres://name:password@host
_IN_HEADER = re.compile(r"(?i)\b(bearer|token|basic)\s+[\w.~+/-]{16,}=*")
_IN_QUERY = re.compile(r"(?i)\b(token|secret|password|passwd|signature|api_?key)=[^\s&\"']+")
_HIDDEN = "[hidden]"


def path_of(kind: str, pk: int, attempt: int) -> Path:
    """Return where the log of an attempt lies, there or not."""
    return Path(settings.DATA_DIR) / FOLDER / kind / f"{pk}-{attempt}.txt"


class KeptLog(logging.Handler):
    """Writes what is logged about one attempt of a job into its file.

    Nothing is held back: whoever kills the process finds every line that was logged before. A file
    that cannot be written is left as it is, and `problem` says why; the job goes on.
    """

    def __init__(self, about: Doing) -> None:
        super().__init__()
        self.path = path_of(about.kind, about.id, about.attempt)
        self.problem = ""
        self._about = about
        self._size = self.path.stat().st_size if self.path.exists() else 0
        formatter = logging.Formatter(LINE, "%Y-%m-%d %H:%M:%S", style="{")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        if self.problem or doing() != self._about:
            return
        try:
            self._append(_lines(self.format(record)).encode())
        except OSError as error:
            self.problem = error.strerror or str(error)
        except Exception:  # noqa: BLE001  # arguments that do not fit a message, as logging has it
            self.handleError(record)

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > LOG_BYTES:
            self._drop_older()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)

    def _drop_older(self) -> None:
        """Keep the newest half: a file of its own takes the old one's place, whole."""
        kept = self.path.read_bytes()[-LOG_BYTES // 2 :]
        kept = DROPPED.encode() + kept[kept.find(b"\n") + 1 :]
        with replacing(self.path) as file:
            file.write(kept)
        self._size = len(kept)


def _lines(text: str) -> str:
    """Return a record as lines of plain text: what follows the first is indented, none is forged."""
    if len(text) > RECORD_CHARACTERS:
        half, left_out = RECORD_CHARACTERS // 2, len(text) - RECORD_CHARACTERS
        text = f"{text[:half]}\n… {left_out:,} characters left out …\n{text[-half:]}"
    first, *others = plain(without_secrets(text)).rstrip("\n").split("\n")
    return "".join([f"{first}\n", *(f"    {line}\n" for line in others)])


def plain(text: str) -> str:
    """Return text that neither a page nor a terminal takes for anything else.

    Control characters, marks that turn the direction of writing and others that are not seen are
    written as Python writes them; ends of lines and tabs stay.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def without_secrets(text: str) -> str:
    """Return text without the site's own secrets and what looks like one of somebody else's."""
    for secret in _secrets():
        text = text.replace(secret, _HIDDEN)
    text = _IN_ADDRESS.sub(_HIDDEN, text)
    text = _IN_HEADER.sub(rf"\1 {_HIDDEN}", text)
    return _IN_QUERY.sub(rf"\1={_HIDDEN}", text)


@cache
def _secrets() -> list[str]:
    """Return the secrets of settings and environment, the longest first."""
    given = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    found = {value for value in _values(given | dict(os.environ)) if len(value) >= _LEAST_SECRET}
    return sorted(found, key=len, reverse=True)


def _values(given: Any, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts under names that say that they are secret, however deep."""
    if isinstance(given, dict):
        for name, value in given.items():
            has_account = bool(_ADDRESS_NAME.search(str(name))) and "@" in str(value)
            named = has_account or bool(_SECRET_NAME.search(str(name)))
            yield from _values(value, is_secret=is_secret or named)
    elif isinstance(given, str) and is_secret:
        yield given
