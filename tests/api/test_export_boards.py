"""A board with trials, tags and budgets: from rows, from values, over the API and in every file."""

import random
from typing import Any

import pytest
from rest_framework.test import APIClient

from catalog.models import Protocol
from experiments import services
from experiments.models import Experiment
from leaderboards import export
from leaderboards.ranking import rank
from leaderboards.scores import judging, parts, standstill
from tests import factories
from tests.api.test_exports import as_cells, asked, of_csv, of_lines, of_parquet

SEARCHED: dict[str, Any] = {
    "algorithm": "vae.conv",
    "label": "tuned",
    "preset": "tiny",
    "search": {"options": {"latent_dim": "8..64"}, "objective": "fd", "trials": 2, "seed": 5},
}


@pytest.fixture
def filled(db: None) -> Protocol:
    """Return the protocol of a tagged experiment with trials, and of one of another budget."""
    protocol = factories.make_protocol(metrics=["fd", "kd"])
    entries: list[dict[str, Any]] = [SEARCHED, {"algorithm": "gan.sngan"}]
    tagged = factories.make_experiment(protocols=[protocol], entries=entries, name="=tagged")
    services.change_tags(tagged, ["ablation"], user=None)
    other = factories.make_experiment(
        protocols=[protocol],
        algorithms=["gan.sngan", "gan.r3gan"],
        budget={"images": 5000},
        name="Other",
    )
    chance = random.Random(3)  # noqa: S311  # makes up numbers
    for entry in [*factories.contenders_of(tagged), *factories.contenders_of(other)]:
        value = {"fd": chance.lognormvariate(0, 2), "kd": chance.choice([None, 1e-300, -0.5])}
        factories.make_scores(entry=entry, protocol=protocol, values=[value])
    judging.judge(protocol)
    return protocol


QUERIES: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({}, {"=tagged", "Other"}),
    ({"experiment": "=tagged"}, {"=tagged"}),
    ({"tag": "ablation"}, {"=tagged"}),
    ({"tag": "none"}, set()),
    ({"budget": "5000"}, {"Other"}),
    ({"group": "none", "sort": "-kd"}, {"=tagged", "Other"}),
)


@pytest.mark.parametrize("is_large", [False, True])
def test_a_part_of_a_board_is_the_same_from_rows_from_values_and_in_every_format(
    filled: Protocol, writer_here: None, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    if is_large:  # read in parts, its order by the database
        monkeypatch.setattr(parts, "PART", 2)
        monkeypatch.setattr(standstill, "MOST_AT_ONCE", 0)

    for query, names in QUERIES:
        lines = alike_in_every_format(filled, query)
        assert {row["experiment"] for row in lines if not row["control"]} == names
        assert ("experiment" in query) == any(" trial " in row["entry"] for row in lines)


def alike_in_every_format(protocol: Protocol, query: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a part of a board, having seen that they are everywhere the same."""
    experiments = Experiment.objects.filter(name=query.get("experiment"))
    of_one = experiments.first()
    wanted: dict[str, Any] = query | ({"experiment": of_one.pk} if of_one else {})
    address = f"leaderboards/{protocol.fingerprint}"
    files = {kind: asked(address, kind, **wanted) for kind in ("csv", "jsonl", "parquet")}
    assert files == {kind: asked(address, kind, **wanted) for kind in files}

    lines = of_lines(files["jsonl"])
    assert APIClient().get(f"/api/v1/{address}/", wanted).json()["rows"] == lines
    flat = [{key: row[key] for key in columns(protocol)} for row in lines]
    assert of_parquet(files["parquet"]) == flat
    assert of_csv(files["csv"]) == [as_cells(told(row)) for row in flat]
    if "group" not in query:
        whole = export.to_dict(rank(protocol, experiment=of_one))["rows"]
        assert [row for row in whole if row in lines] == lines
        assert len(lines) == len(whole) or {"tag", "budget"} & query.keys()
    return lines


def columns(protocol: Protocol) -> list[str]:
    return export.columns(rank(protocol))


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as CSV has it: unknown costs say so, and names are defused."""
    costs = [key.removesuffix(" is") for key in row if key.endswith(" is")]
    unknown = [key for key in costs if row[f"{key} is"] in ("unknown", "declared")]
    changed: dict[str, Any] = dict.fromkeys(unknown, "unknown")
    return row | changed | {"experiment": row["experiment"].replace("=tagged", "'=tagged")}
