"""Log lines that say which job they are about, as text or as JSON."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple


class Doing(NamedTuple):
    """The job that is being worked on."""

    kind: str
    id: int
    attempt: int


_doing: ContextVar[Doing | None] = ContextVar("doing", default=None)


def doing() -> Doing | None:
    """Return the job that is being worked on here, None where there is none."""
    return _doing.get()


@contextmanager
def about(kind: str, pk: int, attempt: int) -> Iterator[None]:
    """Let every line written inside carry the job."""
    token = _doing.set(Doing(kind, pk, attempt))
    try:
        yield
    finally:
        _doing.reset(token)


class AddJob(logging.Filter):
    """Give each record `doing`, the job or None, and `job`, the same in words."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.doing = doing = _doing.get()
        record.job = f" [{doing.kind} {doing.id}, attempt {doing.attempt}]" if doing else ""
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        doing: Doing | None = getattr(record, "doing", None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(doing._asdict() if doing else {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
