"""Rows as text, a chunk at a time: CSV and JSON Lines, the same bytes for the same rows.

A chunk is a list of rows, a row a dict by the names of fields; or the same by columns, which are
written many times as fast. CSV alone is changed for those who open it: what a spreadsheet would run
as a formula has a ' before it.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Row = Mapping[str, Any]
Column = Sequence[Any]
Kind = Literal["text", "whole", "number", "flag", "time", "json"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # with what a cell begins that is run


@dataclass(frozen=True)
class Field:
    """A column of an export: every value is of its kind, or None where it is absent."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Columns:
    """A chunk of rows by columns, in the order of the fields; data is JSON as `encoded` has it."""

    values: Sequence[Column]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.values[0])


Chunk = Sequence[Row] | Columns
Chunks = Iterable[Chunk]


def columns_of(fields: Sequence[Field], chunk: Chunk) -> Sequence[Column]:
    """Return a chunk by columns, its data as JSON."""
    if isinstance(chunk, Columns):
        return chunk.values
    found = [[row[field.name] for row in chunk] for field in fields]
    return [
        list(map(_json_text, values)) if field.kind == "json" else values
        for field, values in zip(fields, found, strict=True)
    ]


def csv_pieces(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield CSV as RFC 4180 has it, UTF-8, its head first; what is absent is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([defused(field.name) for field in fields])
    for chunk in chunks:
        columns = zip(fields, columns_of(fields, chunk), strict=True)
        cells = [CELLS.get(field.kind, _unchanged)(values) for field, values in columns]
        writer.writerows(zip(*cells, strict=True))
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
    pairs = (f"{quoted(field.name)}: ".replace("%", "%%") + "%s" for field in fields)
    line = f"{{{', '.join(pairs)}}}\n"
    for chunk in chunks:
        if isinstance(chunk, Columns):
            columns = zip(fields, chunk.values, strict=True)
            told = [TOLD.get(field.kind, _as_array)(values) for field, values in columns]
            yield "".join(map(line.__mod__, zip(*told, strict=True))).encode()
        else:
            yield "".join(f"{encoded(row)}\n" for row in chunk).encode()


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
quoted = json.encoder.encode_basestring  # a text as `encoded` has it, without its detours


def _json_text(value: Any) -> str | None:
    return None if value is None else encoded(value)


def _unchanged(values: Column) -> Column:
    return values


def _defused(values: Column) -> Column:
    """Return texts that no spreadsheet runs; most columns hold few different ones."""
    changed = {value: defused(value) for value in set(values) if value != defused(value)}
    return [changed.get(value, value) for value in values] if changed else values


def _times(values: Column) -> Column:
    return list(map(time_text, values))


CELLS: Mapping[Kind, Callable[[Column], Column]] = {"text": _defused, "time": _times}  # of CSV


def _as_array(values: Column) -> Sequence[str]:
    """Return numbers and flags as JSON: those of a column are encoded together."""
    return encoded(values)[1:-1].split(", ") if values else ()


def _quoted(values: Column) -> Sequence[str]:
    return ["null" if value is None else quoted(value) for value in values]


def _data(values: Column) -> Sequence[str]:
    return ["null" if value is None else value for value in values]


TOLD: Mapping[Kind, Callable[[Column], Sequence[str]]] = {  # of JSON Lines
    "text": _quoted,
    "time": lambda values: _quoted(_times(values)),
    "json": _data,
}
