"""How fast whole lists become files: `DATA_DIR=… python -m tests.benchmarks.sites.exports`.

Prints a line of JSON for each list and the largest board in each format: rows, seconds of the processor,
rows a second of it, by how much the process grew meanwhile, and how large it ever was, in MiB.
Parquet's own process is not counted. That memory is constant is seen of a format alone, asked of
sites of different sizes: `--format csv`.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from django.db.models import Count

from api.urls import router  # needs the lines above
from catalog.models import Protocol
from leaderboards.export import File, file_of
from leaderboards.formats.parquet import missing, parquet_pieces
from leaderboards.formats.rows import csv_pieces, json_lines
from leaderboards.scores.parts import parts
from leaderboards.scores.query import Query

FORMATS: dict[str, Any] = {"csv": csv_pieces, "jsonl": json_lines, "parquet": parquet_pieces}


def measure(opened: Callable[[], File], written: Any) -> dict[str, Any]:
    """Return what it costs to write a list once."""
    rows = 0

    def counted(chunks: Iterable[Any]) -> Iterator[Any]:
        nonlocal rows
        for chunk in chunks:
            rows += len(chunk)
            yield chunk

    before, begin = _peak(), time.process_time()
    file = opened()
    size = sum(len(piece) for piece in written(file.fields, counted(file.chunks)))
    seconds = time.process_time() - begin
    told = {"rows": rows, "bytes": size, "seconds": seconds, "rows_s": round(rows / seconds)}
    return {**told, "grown_mib": _peak() - before, "peak_mib": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lists(rows: int | None) -> Iterator[tuple[str, Callable[[str], File]]]:
    """Yield every list by its name, and the largest board, with what opens it in a format."""
    views: list[tuple[str, Any, str]] = router.registry
    for name, view, _ in views:
        if hasattr(view, "table"):
            yield name, partial(_list, view, rows)
    boards = Protocol.objects.annotate(rows=Count("standings")).order_by("-rows", "pk")
    for protocol in boards[:1]:
        yield "leaderboards", partial(_board, protocol)


def _list(view: Any, rows: int | None, kind: str) -> File:
    found = view.queryset.order_by("pk")
    if rows:  # a query that was cut cannot be put in order
        found = found.filter(pk__in=list(found.values_list("pk", flat=True)[:rows]))
    return File(view.table.fields, view.table.chunks(found))


def _board(protocol: Protocol, kind: str) -> File:
    has_details = kind == "jsonl"
    found = parts(protocol, sort="", experiment=None, query=Query(), has_details=has_details)
    return file_of(found, kind)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--only", default="", help="lists that hold this text")
    reader.add_argument("--format", choices=FORMATS, help="by default each")
    reader.add_argument("--rows", type=int, help="of a list; by default all")
    given = reader.parse_args()
    kinds = [given.format] if given.format else list(FORMATS)
    for name, opened in lists(given.rows):
        if given.only not in name:
            continue
        for kind in kinds:
            if kind == "parquet" and missing():
                continue
            told = measure(partial(opened, kind), FORMATS[kind])
            print(json.dumps({"list": name, "format": kind, **told}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
