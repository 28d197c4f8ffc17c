"""Rows as Parquet, written by another process: pyarrow loads NumPy, which this one never does."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from leaderboards.formats.rows import Chunks, Column, Field, Kind, columns_of

WRITER = Path(__file__).with_name("parquet_writer.py")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MISSING = (
    "Parquet needs pyarrow, which this site does not have: pip install 'trilemma[parquet]'; "
    "format=csv and format=jsonl hold the same rows"
)


def missing() -> str:
    """Return what is to be installed before Parquet can be written, "" where nothing is."""
    return "" if find_spec("pyarrow") else MISSING


def parquet_pieces(fields: Sequence[Field], chunks: Chunks) -> Iterator[bytes]:
    """Yield a Parquet file, compressed, in groups of rows; times are in UTC, data is JSON as text.

    The process that writes it and its file go when nobody reads on.

    Raises:
        RuntimeError, BrokenPipeError: if that process fails; what was yielded has no end then, and
            cannot be read.
    """
    with tempfile.NamedTemporaryFile(prefix="trilemma-", suffix=".parquet") as file:
        writer = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, str(WRITER)], stdin=subprocess.PIPE, stdout=file
        )
        try:
            yield from _written(writer, fields, chunks, Path(file.name))
        finally:
            writer.kill()
            writer.wait()


def _written(
    writer: "subprocess.Popen[bytes]", fields: Sequence[Field], chunks: Chunks, path: Path
) -> Iterator[bytes]:
    assert writer.stdin is not None, "it was asked for"
    with path.open("rb") as found, writer.stdin as given:
        _tell(given, [[field.name, field.kind] for field in fields])
        for chunk in chunks:
            columns = zip(fields, columns_of(fields, chunk), strict=True)
            _tell(given, [_told(field, values) for field, values in columns])
            yield found.read()
        given.close()
        if status := writer.wait():
            raise RuntimeError(f"{WRITER.name} ended with {status}")
        while piece := found.read(2**20):
            yield piece


def _tell(given: IO[bytes], data: Sequence[Any]) -> None:
    given.write(json.dumps(data).encode() + b"\n")


def _told(field: Field, values: Column) -> Column:
    told = TOLD.get(field.kind)
    return values if told is None else [None if each is None else told(each) for each in values]


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


TOLD: Mapping[Kind, Callable[[Any], Any]] = {
    "time": _microseconds,
    "number": float,
}
