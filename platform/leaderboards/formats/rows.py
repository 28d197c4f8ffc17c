"""Rows as text, a chunk at a time: CSV and JSON Lines, the same bytes for the same rows.

A chunk is a list of rows, a row a dict by the names of fields; or the same by columns, which are
written many times as fast. CSV alone is changed for those who open it: what a spreadsheet would run
as a formula has a ' before it.
"""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Row = Mapping[str, Any]
Column = Sequence[Any]
Kind = Literal["text", "whole", "number", "flag", "time", "json"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # with what a cell begins that is run
QUOTED = re.compile('[",\r\n]')  # what is in a cell that has to be in quotes
NO_NUMBER = '"NItf'  # in JSON: of a text, what is not finite, a flag


@dataclass(frozen=True)
class Field:
    """A column of an export: every value is of its kind, or None where it is absent."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Columns:
    """A chunk of rows by columns, in the order of the fields.

    Times and data are texts already: as `time_text` and `encoded` have them. `more` is what JSON
    has of some rows alone, by their places: text that ends an object.
    """

    values: Sequence[Column]
    more: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.values[0])


Chunk = Sequence[Row] | Columns
Chunks = Iterable[Chunk]


def columns_of(fields: Sequence[Field], chunk: Chunk) -> Sequence[Column]:
    """Return a chunk by columns."""
    if isinstance(chunk, Columns):
        return chunk.values
    found = [[row[field.name] for row in chunk] for field in fields]
    return [
        list(map(WRITTEN[field.kind], values)) if field.kind in WRITTEN else values
        for field, values in zip(fields, found, strict=True)
    ]


def each_once(tell: Callable[[Any], T], values: Iterable[Hashable]) -> list[T]:
    """Return what `tell` gives of every value, asked once of each: columns repeat themselves."""
    told = {value: tell(value) for value in set(values)}
    return [told[value] for value in values]


def csv_pieces(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield CSV as RFC 4180 has it, UTF-8, its head first; what is absent is empty.

    There are two fields at least: else a row without a value would be an empty line.
    """
    yield _lines([[_safe(field.name)] for field in fields])
    for chunk in chunks:
        columns = zip(fields, columns_of(fields, chunk), strict=True)
        yield _lines([CELLS.get(field.kind, _plain_cells)(values) for field, values in columns])


def _lines(cells: Sequence[Sequence[str]]) -> bytes:
    return "".join(f"{line}\r\n" for line in map(",".join, zip(*cells, strict=True))).encode()


def json_lines(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield an object for each row, all that is in it; what is absent is null."""
    pairs = (f"{quoted(field.name)}: ".replace("%", "%%") + "%s" for field in fields)
    line = f"{{{', '.join(pairs)}}}\n"
    for chunk in chunks:
        if isinstance(chunk, Columns):
            columns = zip(fields, chunk.values, strict=True)
            told = [TOLD.get(field.kind, as_array)(values) for field, values in columns]
            lines = list(map(line.__mod__, zip(*told, strict=True)))
            for place, text in chunk.more.items():
                lines[place] = f"{lines[place][:-2]}, {text}}}\n"
            yield "".join(lines).encode()
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


WRITTEN: Mapping[Kind, Callable[[Any], str | None]] = {"time": time_text, "json": _json_text}


def _cell(value: Any) -> str:
    """Return a value as the `csv` module writes it: in quotes where it has to be."""
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def _safe(value: str | None) -> str:
    return _cell(defused(value))


def _plain_cells(values: Column) -> Sequence[str]:
    """Return numbers and flags as cells: numbers as JSON has them, where nothing else is there."""
    text = encoded(values)[1:-1]
    if not values or any(sign in text for sign in NO_NUMBER):  # many times as fast as a pattern
        return list(map(_cell, values))
    return text.replace("null", "").split(", ")


CELLS: Mapping[Kind, Callable[[Column], Sequence[str]]] = {  # of CSV
    "text": lambda values: each_once(_safe, values),
    "time": lambda values: ["" if value is None else value for value in values],
    "json": lambda values: each_once(_cell, values),
}


def as_array(values: Column) -> Sequence[str]:
    """Return numbers and flags as JSON: those of a column are encoded together."""
    return encoded(values)[1:-1].split(", ") if values else ()


def _quoted(value: str | None) -> str:
    return "null" if value is None else quoted(value)


TOLD: Mapping[Kind, Callable[[Column], Sequence[str]]] = {  # of JSON Lines
    "text": lambda values: each_once(_quoted, values),
    "time": lambda values: ["null" if value is None else f'"{value}"' for value in values],
    "json": lambda values: ["null" if value is None else value for value in values],
}
