"""Rows as text, a chunk at a time: CSV and JSON Lines, the same bytes for the same rows.

A chunk is a list of rows, a row a dict by the names of fields. CSV alone is changed for those who
open it: what a spreadsheet would run as a formula has a ' before it.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Row = Mapping[str, Any]
Chunks = Iterable[Sequence[Row]]
Kind = Literal["text", "whole", "number", "flag", "time", "json"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # with what a cell begins that is run


@dataclass(frozen=True)
class Field:
    """A column of an export: every value is of its kind, or None where it is absent."""

    name: str
    kind: Kind = "text"


def csv_pieces(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield CSV as RFC 4180 has it, UTF-8, its head first; what is absent is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    plan = [(field.name, CELLS.get(field.kind)) for field in fields]
    writer.writerow([defused(field.name) for field in fields])
    for rows in chunks:
        writer.writerows(
            [told(row[name]) if told else row[name] for name, told in plan] for row in rows
        )
        yield _taken(out)
    yield _taken(out)


def _taken(out: io.StringIO) -> bytes:
    """Return what was written since the last time."""
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.encode()


def json_lines(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield an object for each row, all that is in it; what is absent is null."""
    for rows in chunks:
        yield "".join(f"{encoded(row)}\n" for row in rows).encode()


def defused(value: Any) -> Any:
    """Return a text with a ' before it, where a spreadsheet would run it as a formula."""
    if isinstance(value, str) and value.startswith(FORMULAS):
        return "'" + value
    return value


def time_text(value: datetime | None) -> str | None:
    """Return a time as REST writes it: 2026-11-30T01:42:00.5Z."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"expected plain data, got {type(value).__name__}")


encoded = json.JSONEncoder(ensure_ascii=False, default=_plain).encode


def _json_text(value: Any) -> str | None:
    return None if value is None else encoded(value)


CELLS: Mapping[Kind, Callable[[Any], Any]] = {
    "text": defused,
    "time": time_text,
    "json": _json_text,
}
