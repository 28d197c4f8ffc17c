"""A large board that is read by columns: the same bytes as its rows one by one give, whatever they hold."""

import json
from itertools import product
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from catalog.models import Protocol
from experiments.models import Entry, Experiment, Run
from leaderboards import export
from leaderboards.bulk import standing
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import csv_pieces, json_lines
from leaderboards.models import Judgement, Score
from leaderboards.scores import judging, keeping, parts, reading, standstill
from leaderboards.scores.parts import Large, Parts
from leaderboards.scores.query import Query
from tests import factories
from tests.api.test_export_boards import SEARCHED

pytestmark = pytest.mark.django_db
LATENT: dict[str, Any] = {"algorithm": "latent.flow", "label": "Latent", "preset": "tiny"}
LOST: dict[str, Any] = {
    "images": 40,
    "psnr": {"value": 20.5, "low": 20.0, "high": 21.0},
    "ssim": {"value": None, "reason": "not defined"},
    "rfd": {},
}
NAME = 'é "quoted", = and \\'


@pytest.fixture
def filled() -> Protocol:
    """Return the protocol of rows of every kind that a board has."""
    protocol = factories.make_protocol(metrics=["fd", "kd", "recall"])
    entries = [SEARCHED, LATENT, {"algorithm": "gan.sngan"}]
    first = factories.make_experiment(protocols=[protocol], entries=entries, name="=first")
    again = factories.make_experiment(protocols=[protocol], seeds=[0, 1], name="again")
    mine = Experiment.objects.filter(pk=again.pk)
    mine.update(created_by=factories.make_user(username="=ada"))
    for place, entry in enumerate(factories.contenders_of(first) + factories.contenders_of(again)):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 2.0 + place}])
    declared = factories.make_external(first, costs={"nfe": 50}, findings=["few images", NAME])
    factories.make_scores(entry=declared, protocol=protocol, values=[{"fd": 1.0, "recall": 0.5}])
    _reconstruct(Entry.objects.get(experiment=first, label="Latent"))
    list(keeping.rescore())
    judging.judge(protocol)
    _tell_more(protocol)
    return protocol


def _reconstruct(latent: Entry) -> None:
    """Let a training know what its autoencoder cost, and what it loses."""
    run = Run.objects.get(entry=latent)
    Run.objects.filter(pk=run.pk).update(autoencoder_seconds=3.5)
    shown = factories.control_of(latent.experiment, "reconstructed")
    drawn = factories.make_sample_set(run=run)
    drawn.pk, drawn.entry, drawn.reconstruction, drawn.sampler_label = None, shown, LOST, "shown"
    drawn.save(force_insert=True)


def _tell_more(protocol: Protocol) -> None:
    """Write what few boards hold: scores that are missing, names that are escaped, odd errors."""
    scores = Score.objects.filter(protocol=protocol)
    shown = scores.filter(metric="fd", value__isnull=False, standing__is_trial=False)
    some = list(shown.order_by("pk"))
    scores.filter(pk=some[0].pk).update(details=[{"name": NAME, "at": [1e-300, None]}])
    scores.filter(pk=some[1].pk).update(details=[{}], seeds=[[1.0, "inf"], [-0.0, None]])
    scores.filter(metric="recall", standing=some[2].standing_id).delete()
    said = {"fd": [1, 1, 3, True, True, False, NAME], "kd": [None] * 3 + [False, False, True, ""]}
    Judgement.objects.filter(standing=some[0].standing_id).update(found=said)
    Judgement.objects.filter(standing=some[3].standing_id).delete()


def both(protocol: Protocol, kind: str, query: Query, sort: str = "") -> tuple[bytes, bytes]:
    """Return a board's file as it is read by columns, and as it is of its rows."""
    found = parts.parts(protocol, sort=sort, experiment=None, query=query)
    assert isinstance(found, Large)
    boards = (reading.of_keys(found.board, keys, None) for keys in found.pieces)
    costs = iter([reading.of_keys(found.board, found.keys, None)])
    files = (
        export.file_of(found, kind, query.columns),
        export.file_of(Parts(boards, costs), kind, query.columns),
    )
    write = json_lines if kind == "jsonl" else csv_pieces
    by_columns, of_rows = (b"".join(write(file.fields, file.chunks)) for file in files)
    return by_columns, of_rows


QUERIES = (
    (Query(), ""),
    (Query(), "-recall"),
    (Query(), "date"),
    (Query(filters={"text": "first"}), "device_seconds"),
    (Query(columns=Choice(("kd", "nfe"))), "fd"),
)


def test_a_board_by_columns_is_that_of_its_rows(
    filled: Protocol,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(standstill, "MOST_AT_ONCE", 0)
    with django_assert_max_num_queries(20):  # whatever its rows
        found = parts.parts(filled, sort="", experiment=None, query=Query())
        assert isinstance(found, Large)
        assert sum(map(len, export.file_of(found, "jsonl").chunks)) == 10
    monkeypatch.setattr(parts, "PART", 3)
    monkeypatch.setattr(standing, "MOST_KNOWN", 1)

    lines, _ = both(filled, "jsonl", Query())
    assert_it_holds_what_few_boards_do([json.loads(line) for line in lines.splitlines()])
    for kind, (query, sort) in product(export.TOLD, QUERIES):
        by_columns, of_rows = both(filled, kind, query, sort)

        assert by_columns == of_rows and by_columns.count(b"\n") > 5, (kind, query, sort)


def seeds_of_jobs(entry: Entry) -> str:
    """Return the seeds of an entry's runs, of its sets where it has none; of controls nothing."""
    if entry.kind == Entry.Kind.CONTROL:
        return ""
    jobs = entry.runs.all() if entry.algorithm else entry.sample_sets.all()
    return " ".join(str(job.seed) for job in jobs.order_by("seed"))


def assert_it_holds_what_few_boards_do(rows: list[dict[str, Any]]) -> None:
    told = {row["entry_id"]: row for row in rows}
    for entry in Entry.objects.filter(pk__in=told).select_related("experiment"):
        row, is_control = told[entry.pk], entry.kind == Entry.Kind.CONTROL
        assert (row["entry"], row["experiment_id"]) == (entry.label, entry.experiment_id)
        is_hers = row["experiment"] == "again" and not is_control
        assert (row["submitter"], row["seeds"]) == ("=ada" * is_hers, seeds_of_jobs(entry))
    assert {row["submitter"] for row in rows} == {"", "=ada"}
    assert {row["device_seconds is"] for row in rows} >= {"unknown", "none"}
    assert {row["nfe declared"] for row in rows} == {None, 50}
    assert any(row["reconstruction PSNR dB"] == 20.5 and row["reconstructions"] for row in rows)
    assert any(row["device_seconds of autoencoder"] == 3.5 for row in rows)
    assert any(row["same_as"] for row in rows) and any(row["findings"] for row in rows)
    assert any(row["chosen_by"].startswith("chosen by search of 2 trials") for row in rows)
    assert any(NAME in row["FD[classifier] remarks"] for row in rows)
    assert any({"name": NAME, "at": [1e-300, None]} in row["details"].get("fd", []) for row in rows)
