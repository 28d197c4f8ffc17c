"""Lists and boards as files: complete, exact, the same in every format, defused in CSV alone."""

import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pyarrow import parquet
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from api.exports import tables
from catalog.models import Protocol
from experiments.models import Experiment, MetricValue
from jobs.models import Status
from leaderboards import export
from leaderboards.formats import parquet as parquet_file
from leaderboards.formats.parquet import parquet_pieces
from leaderboards.formats.rows import FORMULAS, Field, csv_pieces
from leaderboards.ranking import rank
from leaderboards.scores import judging, parts, standstill
from tests import factories

EXACT = math.pi * 1e-7
LISTS = ("runs", "samplesets", "evaluations", "losses", "events")
Rows = list[dict[str, Any]]


def asked(address: str, kind: str, **parameters: Any) -> bytes:
    answer = APIClient().get(f"/api/v1/{address}/", {"format": kind, **parameters})
    assert answer.status_code == 200, answer.content
    return bytes(answer.getvalue())


def of_lines(data: bytes) -> Rows:
    return [json.loads(line) for line in data.decode().splitlines()]


def of_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def of_parquet(data: bytes) -> Rows:
    rows: Rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


def as_lines(row: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of Parquet as JSON Lines have it: times as text, data as data."""
    return {name: _as_json(value, like[name]) for name, value in row.items()}


def _as_json(value: Any, like: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return json.loads(value) if isinstance(like, dict | list) else value


def as_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of JSON Lines as the text of CSV, where nothing is defused."""
    return {
        name: ""
        if value is None
        else json.dumps(value, ensure_ascii=False)
        if isinstance(value, dict | list)
        else str(value)
        for name, value in row.items()
    }


@pytest.fixture
def filled(db: None) -> Protocol:
    """Return the protocol of an experiment with a seed that is scored, and one that failed."""
    experiment = factories.make_experiment(name="=1+1", seeds=[3, 4])
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    value = {"value": EXACT, "low": 0.0, "high": 1e300, "details": {"groups": [1, 2.5]}}
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": value, "kd": None}])
    failed = factories.make_run(entry=entry, seed=4, status=Status.FAILED, loss_points=2)
    factories.make_evaluation(
        status=Status.FAILED, sample_set=factories.make_sample_set(run=failed), protocol=protocol
    )
    return protocol


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_the_same_rows_in_every_format_and_the_same_bytes_twice(
    filled: Protocol, writer_here: None, name: str
) -> None:
    files = {kind: asked(name, kind) for kind in ("csv", "jsonl", "parquet")}

    rows = of_lines(files["jsonl"])
    assert rows and files == {kind: asked(name, kind) for kind in files}
    assert [as_cells(row) | {"experiment_name": "'=1+1"} for row in rows] == of_csv(files["csv"])
    read = of_parquet(files["parquet"])
    assert [as_lines(row, like) for row, like in zip(read, rows, strict=True)] == rows
    page = APIClient().get(f"/api/v1/{name}/").json()
    alike = [(row, each) for row in rows for each in page["results"] if row.get("id") == each["id"]]
    assert len({each["id"] for _, each in alike}) == page["count"] or name == "losses"
    for row, each in alike:
        same = row.keys() & each.keys()
        assert {key: row[key] for key in same} == {key: each[key] for key in same}


def test_every_value_has_a_row_that_says_what_it_is_of_and_a_failed_seed_has_one(
    filled: Protocol,
) -> None:
    failed, fd, kd = of_lines(asked("evaluations", "jsonl"))

    assert (failed["status"], failed["reason"], failed["metric"]) == (
        "failed", "out of memory", None,
    )  # fmt: skip
    assert (fd["metric_label"], fd["value"], fd["high"]) == ("FD[classifier]", EXACT, 1e300)
    assert (fd["interval_of"], fd["details"]) == ("images", {"groups": [1, 2.5]})
    assert (kd["value"], kd["value_reason"], kd["interval_of"]) == (None, "not defined here", None)
    for row in (failed, fd, kd):
        assert row["protocol"] == filled.fingerprint and row["num_images"] == filled.num_images
        assert (row["label"], row["family"], row["duration_seconds"]) == ("SNGAN", "gan", 60.0)
    assert [row["seed"] for row in (failed, fd, kd)] == [4, 3, 3]


def test_a_curve_has_a_row_for_each_loss_and_filters_and_orders_are_those_of_the_list(
    filled: Protocol,
    writer_here: None,
) -> None:
    points = of_lines(asked("losses", "jsonl", seed=4))
    runs = of_lines(asked("runs", "jsonl", ordering="seed", status="failed"))

    assert [(p["seed"], p["images_seen"], p["loss"], p["value"]) for p in points] == [
        (4, 100, "loss", 1.0), (4, 200, "loss", 0.5),
    ]  # fmt: skip
    assert [run["seed"] for run in runs] == [4] and runs[0]["protocols"] == filled.fingerprint
    ended = {(p["started_at"], p["finished_at"], p["duration_seconds"]) for p in points}
    assert ended == {(runs[0]["started_at"], runs[0]["finished_at"], 60.0)}
    assert asked("losses", "jsonl", seed=3) == b"", "no line without a row"
    assert asked("losses", "csv", seed=3).startswith(b"run,experiment,"), "but a head"
    assert of_parquet(asked("losses", "parquet", seed=3)) == []


def test_an_export_has_no_pages_and_what_cannot_be_written_is_said(
    filled: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = APIClient()
    paged = client.get("/api/v1/runs/?format=csv&page_size=5")
    assert (paged.status_code, paged.json()["errors"]) == (
        400, {"page_size": "an export has no pages: it has all rows"},
    )  # fmt: skip

    monkeypatch.setattr(parquet_file, "find_spec", lambda name: None)
    board = f"/api/v1/leaderboards/{filled.fingerprint}/"
    for address in ("/api/v1/runs/", board):
        refused = client.get(f"{address}?format=parquet")
        assert refused.status_code == 406
        assert refused["Content-Type"] == "application/problem+json"
        assert "pip install 'trilemma[parquet]'" in refused.json()["detail"]
    assert client.get("/api/v1/runs/", headers={"accept": "text/csv"}).streaming
    assert client.head("/api/v1/runs/?format=csv").status_code == 200


def test_rows_are_read_in_chunks_whose_number_alone_grows_queries(
    filled: Protocol,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(tables, "CHUNK", 2)
    factories.make_experiment(seeds=[0, 1, 2])

    with django_assert_num_queries(1 + 3):  # the runs, and the protocols of each chunk
        rows = of_lines(asked("runs", "jsonl"))

    assert len(rows) == 5


@pytest.mark.parametrize("start", FORMULAS)
def test_only_text_of_csv_is_defused(start: str) -> None:
    fields = [Field("text"), Field("number", "number"), Field("data", "json")]
    row = {"text": f"{start}1", "number": -1.5, "data": ["=1"]}

    data = b"".join(csv_pieces(fields, [[row]]))

    assert of_csv(data) == [{"text": f"'{start}1", "number": "-1.5", "data": '["=1"]'}]


def test_another_process_writes_parquet_and_its_failure_ends_the_file_with_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    fields = [Field("a", "whole")]

    assert of_parquet(b"".join(parquet_pieces(fields, [[{"a": 1}], [{"a": None}]]))) == [
        {"a": 1}, {"a": None},
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match=r"parquet_writer\.py ended with 1"):
        b"".join(parquet_pieces(fields, [[{"a": "not a number"}]]))
    assert "ArrowInvalid" in capfd.readouterr().err


def test_a_large_board_is_read_in_parts_whose_rows_are_those_of_the_whole(
    filled: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.make_experiment(protocols=[filled], algorithms=["vae.conv", "gan.sngan"])
    for place, entry in enumerate(factories.contenders_of(other)):
        factories.make_scores(entry=entry, protocol=filled, values=[{"fd": 1.0 + place}])
    judging.judge(filled)
    monkeypatch.setattr(parts, "PART", 2)
    monkeypatch.setattr(standstill, "MOST_AT_ONCE", 0)

    rows = of_lines(asked(f"leaderboards/{filled.fingerprint}", "jsonl", sort="-fd"))

    assert len(rows) > 4
    assert (
        rows
        == APIClient().get(f"/api/v1/leaderboards/{filled.fingerprint}/?sort=-fd").json()["rows"]
    )


def test_a_row_of_a_board_names_its_entry_and_experiment_for_other_addresses(
    filled: Protocol,
) -> None:
    Experiment.objects.update(created_by=factories.make_user(username="ada"))
    address = f"leaderboards/{filled.fingerprint}"

    rows = of_lines(asked(address, "jsonl"))
    (mine,) = [row for row in rows if not row["control"]]

    assert (mine["submitter"], mine["seeds"], mine["seeds_total"]) == ("ada", "3 4", 2)
    assert {(row["submitter"], row["seeds"]) for row in rows if row["control"]} == {("", "")}
    for row in rows:
        beside = of_lines(asked(address, "jsonl", baseline=row["entry_id"]))
        assert [each["entry_id"] for each in beside] == [each["entry_id"] for each in rows]
        found = APIClient().get(f"/api/v1/experiments/{row['experiment_id']}/").json()
        assert found["name"] == row["experiment"]
    runs = of_lines(asked("runs", "jsonl", experiment=mine["experiment_id"]))
    assert sorted(str(run["seed"]) for run in runs) == mine["seeds"].split()
    assert {(run["entry"], run["submitter"]) for run in runs} == {(mine["entry_id"], "ada")}


numbers = st.one_of(st.none(), st.floats(-1e100, 1e100))


@pytest.mark.django_db
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=2))
def test_a_board_of_rows_is_that_of_the_api_of_csv_of_json_lines_and_of_parquet(
    filled: Protocol, writer_here: None, values: list[tuple[float | None, float | None]]
) -> None:
    entry = MetricValue.objects.all()[0].evaluation.sample_set.entry
    scores = [dict(zip(("fd", "kd"), pair, strict=True)) for pair in values]
    factories.make_scores(entry=entry, protocol=filled, values=scores)
    address = f"leaderboards/{filled.fingerprint}"

    board = rank(filled)

    names = export.columns(board)
    lines = of_lines(asked(address, "jsonl"))
    assert APIClient().get(f"/api/v1/{address}/").json()["rows"] == lines
    assert export.to_dict(board)["rows"] == lines
    flat = [{name: row[name] for name in names} for row in lines]
    assert of_parquet(asked(address, "parquet")) == flat
    told = [as_cells(row) | {"experiment": "'=1+1"} for row in export.told_rows(board)]
    assert of_csv(asked(address, "csv")) == told
