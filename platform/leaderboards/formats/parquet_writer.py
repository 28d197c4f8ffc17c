"""Writes Parquet to its output: `python parquet_writer.py`, in a process of its own.

The first line of its input names the fields with their kinds, each other one holds a chunk: a list
of values for each field.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow
from pyarrow import parquet

GROUP = 50_000  # rows that are compressed together, and held in memory
KINDS = {
    "text": pyarrow.string(),
    "json": pyarrow.string(),
    "whole": pyarrow.int64(),
    "number": pyarrow.float64(),
    "flag": pyarrow.bool_(),
    "time": pyarrow.timestamp("us", tz="UTC"),
}


def write(given: Iterable[bytes], out: IO[bytes]) -> None:
    """Write the rows of the given lines."""
    lines = iter(given)
    schema = pyarrow.schema([(name, KINDS[kind]) for name, kind in json.loads(next(lines))])
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for table in groups(lines, schema):
            writer.write_table(table, row_group_size=GROUP)


def groups(lines: Iterable[bytes], schema: Any) -> Iterator[Any]:
    """Yield tables of about GROUP rows; the last is smaller, or the only one and empty."""
    waiting: list[Any] = []
    for line in lines:
        columns = [
            pyarrow.array(values, field.type)
            for values, field in zip(json.loads(line), schema, strict=True)
        ]
        waiting.append(pyarrow.Table.from_arrays(columns, schema=schema))
        if sum(table.num_rows for table in waiting) >= GROUP:
            yield pyarrow.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pyarrow.concat_tables(waiting)


if __name__ == "__main__":
    write(sys.stdin.buffer, sys.stdout.buffer)
