"""Rows by columns become the same text as rows one by one, whatever is in them."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from api.exports.jobs import LOSSES, RUNS
from api.views import runs
from experiments.models import LossPoint, Run
from leaderboards.formats.parquet import parquet_pieces
from leaderboards.formats.rows import (
    Columns,
    Field,
    columns_of,
    csv_pieces,
    defused,
    encoded,
    json_lines,
    time_text,
)
from tests import factories

FIELDS = [
    Field("a name", "text"),
    Field("=head, with %s", "text"),
    Field("whole", "whole"),
    Field("number", "number"),
    Field("flag", "flag"),
    Field("at", "time"),
    Field("data", "json"),
]
texts = st.text(st.sampled_from("ab,\"'\r\n=+-@\té😀\x00%"), max_size=6)
floats = st.floats() | st.sampled_from([-0.0, 1e300, 5e-324, 1e16, 0.1])
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
data = st.recursive(texts | floats | st.booleans() | st.integers(), st.lists, max_leaves=4)
values = st.tuples(texts, texts, st.integers(-(2**60), 2**60), floats, st.booleans(), times, data)
rows = st.lists(values.flatmap(lambda row: st.tuples(*(st.none() | st.just(v) for v in row))))


def named(found: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip((field.name for field in FIELDS), row, strict=True)) for row in found]


def by_columns(found: list[dict[str, Any]]) -> list[Columns]:
    return [Columns(columns_of(FIELDS, found))]


def by_the_csv_module(found: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([defused(field.name) for field in FIELDS])
    for row in found:
        told = {field.name: row[field.name] for field in FIELDS} | {"at": time_text(row["at"])}
        told["data"] = None if row["data"] is None else encoded(row["data"])
        texts = [defused(told[f.name]) if f.kind == "text" else told[f.name] for f in FIELDS]
        writer.writerow(texts)
    return out.getvalue().encode()


@settings(max_examples=100)
@given(lines=rows)
def test_csv_is_that_of_the_csv_module_whether_by_rows_or_by_columns(
    lines: list[tuple[Any, ...]],
) -> None:
    found = named(lines)

    written = b"".join(csv_pieces(FIELDS, [found]))

    assert written == by_the_csv_module(found)
    assert b"".join(csv_pieces(FIELDS, by_columns(found))) == written


@settings(max_examples=100)
@given(lines=rows)
def test_json_lines_are_the_same_by_rows_and_by_columns(lines: list[tuple[Any, ...]]) -> None:
    found = named(lines)

    assert b"".join(json_lines(FIELDS, by_columns(found))) == b"".join(json_lines(FIELDS, [found]))


def test_parquet_is_the_same_by_rows_and_by_columns(writer_here: None) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600, timezone(timedelta(hours=2)))
    found = named([("é", "=1", -3, 0.1, True, at, {"a": [1.5, "é"]}), (None,) * len(FIELDS)])

    pieces = b"".join(parquet_pieces(FIELDS, by_columns(found)))

    assert pieces == b"".join(parquet_pieces(FIELDS, [found]))


@pytest.mark.django_db
def test_data_and_times_are_those_of_the_models_and_a_point_has_a_row_for_each_loss() -> None:
    run = factories.make_run(losses={"é": 1e-07, "n": None, "deep": {"b": 1, "a": [True]}})
    Run.objects.filter(pk=run.pk).update(queued_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    LossPoint.objects.create(run=run, images_seen=7, wall_seconds=1, losses={})
    LossPoint.objects.create(run=run, images_seen=8, wall_seconds=2, losses={"z": 1, "a": 0.5})
    run.refresh_from_db()

    (columns,) = RUNS.chunks(runs().filter(pk=run.pk).order_by("pk"))
    told = dict(zip((field.name for field in RUNS.fields), columns.values, strict=True))
    points = LOSSES.chunks(LossPoint.objects.filter(images_seen__gt=6, run=run).order_by("pk"))
    (rows,) = (list(zip(*each.values, strict=True)) for each in points)

    assert told["losses"] == [encoded(run.losses)] and told["config"] == [encoded(run.entry.config)]
    assert told["queued_at"] == ["2026-01-02T03:04:05Z"]
    assert told["finished_at"] == [time_text(run.finished_at)]
    assert [(row[-4], *row[-2:]) for row in rows] == [(8, "a", 0.5), (8, "z", 1)]
