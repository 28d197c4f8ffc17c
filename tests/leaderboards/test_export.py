"""Exports: complete, at full precision, the same every time."""

import csv
import io
import json
import math

import pytest

from jobs.models import Status
from leaderboards import export
from leaderboards.board import Board
from leaderboards.ranking import rank
from tests import factories

pytestmark = pytest.mark.django_db

EXACT = math.pi * 1e-7


@pytest.fixture
def board() -> Board:
    experiment = factories.make_experiment(name="=1+1", seeds=[0, 1])
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    factories.make_scores(
        entry=entry,
        protocol=protocol,
        values=[{"fd": EXACT, "kd": -EXACT}, {"fd": EXACT, "kd": -EXACT}],
    )
    factories.make_run(status=Status.FAILED)
    return rank(protocol)


def read_csv(board: Board) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.to_csv(board))))


def contender(board: Board) -> dict[str, str]:
    """Return the only row of the CSV that is no control."""
    (row,) = [row for row in read_csv(board) if row["control"] == "False"]
    return row


def test_csv_holds_every_digit(board: Board) -> None:
    row = contender(board)

    assert float(row["FD[classifier]"]) == EXACT
    assert float(row["KD[classifier]"]) == -EXACT


def test_csv_and_json_hold_the_same_rows(board: Board) -> None:
    def as_text(value: object) -> str:
        return "" if value is None else str(value)

    rows = json.loads(json.dumps(export.to_dict(board)))["rows"]

    for row in rows:
        del row["details"], row["judgements"]
    texts = [{name: as_text(value) for name, value in row.items()} for row in rows]
    assert [dict(row, experiment="'=1+1") for row in texts] == read_csv(board)


def test_text_that_a_spreadsheet_would_run_is_quoted_and_a_negative_number_is_not(
    board: Board,
) -> None:
    row = contender(board)

    assert row["experiment"] == "'=1+1"
    assert row["KD[classifier]"].startswith("-3.14")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_text_begins_like_a_formula(board: Board, start: str) -> None:
    (row,) = [row for row in board.rows if not row.is_control]
    row.entry.label = f"{start}HYPERLINK(1)"

    assert contender(board)["entry"] == f"'{start}HYPERLINK(1)"


def test_every_row_names_its_fingerprint(board: Board) -> None:
    assert {row["protocol"] for row in read_csv(board)} == {board.protocol.fingerprint}


def test_what_is_missing_is_empty_never_zero(board: Board) -> None:
    row = contender(board)

    assert row["CS[classifier]"] == ""
    assert row["CS[classifier] low"] == ""


def test_the_same_board_is_exported_the_same(board: Board) -> None:
    assert export.to_csv(board) == export.to_csv(rank(board.protocol))


def test_each_column_says_where_its_value_is_in_a_row(board: Board) -> None:
    data = export.to_dict(board)

    assert [column["key"] for column in data["columns"]] == [c.key for c in board.columns]
    for row in data["rows"]:
        assert list(row) == [*export.columns(board), "details", "judgements"]
        assert {column["field"] for column in data["columns"]} <= row.keys()


def test_json_holds_what_else_is_known_of_a_value_for_each_seed() -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    values = [{"fd": {"value": 1.0, "details": {"groups": groups}}} for groups in (20, 5)]
    factories.make_scores(entry=entry, protocol=protocol, values=values)

    board = rank(protocol)

    (row,) = [row for row in export.to_dict(board)["rows"] if not row["control"]]
    assert row["details"] == {"fd": [{"groups": 20}, {"groups": 5}]}
    assert "details" not in contender(board)


def test_every_row_says_which_control_it_is(board: Board) -> None:
    kinds = [(row["control"], row["control_kind"]) for row in read_csv(board)]

    assert kinds == [
        ("True", "test"), ("False", ""), ("True", "copy"), ("True", "noise"), ("True", "blur"),
    ]  # fmt: skip
