"""How fast whole lists become files: `DATA_DIR=… python -m tests.benchmarks.sites.exports`.

Prints a line of JSON for each list and format: rows, seconds of the processor, rows a second of it, and
how much the process grew meanwhile, in MiB. Parquet's own process is not counted.
"""

import argparse
import json
import os
import resource
import time
from typing import Any

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from django.db.models import QuerySet

from api.exports.tables import Table  # needs the lines above
from api.urls import router
from leaderboards.formats.parquet import missing, parquet_pieces
from leaderboards.formats.rows import csv_pieces, json_lines

FORMATS: dict[str, Any] = {"csv": csv_pieces, "jsonl": json_lines, "parquet": parquet_pieces}


def measure(table: Table, found: QuerySet[Any], written: Any) -> dict[str, Any]:
    """Return what it costs to write a list once."""
    rows = 0

    def counted() -> Any:
        nonlocal rows
        for chunk in table.chunks(found):
            rows += len(chunk)
            yield chunk

    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    size = sum(len(piece) for piece in written(table.fields, counted()))
    seconds = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    speed = round(rows / seconds)
    return {"rows": rows, "bytes": size, "seconds": seconds, "rows_s": speed, "grown_mib": grown}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--only", default="", help="lists that hold this text")
    reader.add_argument("--rows", type=int, help="of a list; by default all")
    given = reader.parse_args()
    views: list[tuple[str, Any, str]] = router.registry
    for name, view, _ in views:
        if not hasattr(view, "table") or given.only not in name:
            continue
        for kind in FORMATS if not missing() else ("csv", "jsonl"):
            found = view.queryset.order_by("pk")
            if given.rows:  # a query that was cut cannot be put in order
                found = found.filter(pk__in=list(found.values_list("pk", flat=True)[: given.rows]))
            told = {"list": name, "format": kind, **measure(view.table, found, FORMATS[kind])}
            print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
