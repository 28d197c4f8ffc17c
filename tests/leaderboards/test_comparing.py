"""Entries beside a baseline: what may be compared, what is said of it, and the losses' curves."""

import math
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from experiments.models import LossPoint, Run
from jobs.models import Status
from leaderboards.board import columns_of
from leaderboards.charts import front
from leaderboards.comparing import curves, record
from leaderboards.comparing.sides import CompareError, Comparison, read
from leaderboards.comparing.values import Compared, strangers, tables
from leaderboards.scores.baseline import compared
from leaderboards.statistics.quantiles import t_quantile
from tests import factories

pytestmark = pytest.mark.django_db
METRICS = ["fd", "recall", "authenticity"]
TWO = [{"algorithm": "gan.sngan"}, {"algorithm": "vae.conv"}]


def scored(*pairs: tuple[float, float], seeds: int = 3, failing: bool = False) -> Comparison:
    """Return entries of one experiment with Fréchet distances of about so much, so far apart."""
    protocol = factories.make_protocol(metrics=METRICS)
    entries = [{"algorithm": "vae.conv", "label": f"entry {k}"} for k in range(len(pairs))]
    experiment = factories.make_experiment(
        protocols=[protocol], entries=entries, seeds=list(range(seeds))
    )
    made = factories.contenders_of(experiment)
    for entry, (centre, step) in zip(made, pairs, strict=True):
        values = [
            {"fd": centre + step * k, "recall": 0.5 + 0.01 * k, "authenticity": centre / 100}
            for k in range(seeds - failing)
        ]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
        if failing:
            factories.make_run(entry=entry, seed=seeds - 1, status=Status.FAILED)
    return read([str(entry.pk) for entry in made])


def of(comparison: Comparison, metric: str) -> list[Compared]:
    [table] = tables(comparison)
    return list(next(line.cells for line in table.lines if line.column.key == metric))


def test_a_verdict_needs_an_interval_that_excludes_zero() -> None:
    base, near, far, good = of(scored((10, 1), (10.5, 1), (30, 1), (2, 1)), "fd")

    assert base.difference is None and base.verdict == ""
    assert near.difference is not None and not near.difference.is_sure and near.verdict == ""
    assert far.difference is not None and far.difference.value == pytest.approx(20)
    assert (far.verdict, good.verdict) == ("worse", "better")
    # two rows of three seeds with variances 1 have 4 degrees of freedom together
    half = t_quantile(4) * math.sqrt(2 / 3)
    assert far.difference.high == pytest.approx(20 + half)


def test_no_verdict_on_memorisation_nor_on_survivors() -> None:
    _, distant = of(scored((10, 0.01), (30, 0.01)), "authenticity")
    assert distant.verdict in ("", "differs")

    _, survived = of(scored((10, 1), (30, 1), failing=True), "fd")
    assert survived.difference is not None and survived.difference.is_sure
    assert survived.verdict == "" and "seeds were lost" in survived.why


def test_nothing_is_worse_than_what_is_no_merit_as_on_boards() -> None:
    [table] = tables(scored((1, 0.1), (30, 1)))
    (side, base), (other, row) = table.rows
    beyond = base.cells["fd"]._replace(no_merit="beyond what unseen real images reach")
    base = replace(base, cells={**base.cells, "fd": beyond})

    rows = ((side, base), (other, row))
    line = next(each for each in replace(table, rows=rows).lines if each.column.key == "fd")
    on_board = compared(row, base, line.column)

    assert on_board is not None
    assert line.cells[1].verdict == on_board.verdict == "differs"


@pytest.mark.slow
def test_times_of_different_devices_are_not_compared_and_counts_are() -> None:
    comparison = scored((10, 1), (30, 1))
    Run.objects.filter(entry=comparison.sides[1].entry).update(environment={"device": "H200"})
    comparison = read([side.key for side in comparison.sides])

    _, training = of(comparison, "device_seconds")
    _, parameters = of(comparison, "parameters")

    assert training.difference is None
    assert training.why == "measured on H200, the baseline's on cpu"
    assert parameters.ratio == 1


def test_what_shares_no_protocol_says_what_differs() -> None:
    dataset = factories.make_dataset()
    weights = factories.sha256("the same")
    made = [
        factories.make_protocol(
            dataset=dataset, num_images=number, metrics=METRICS, weights_sha256=weights
        )
        for number in (50, 60)
    ]
    entries = [
        factories.contenders_of(factories.make_experiment(protocols=[protocol]))[0]
        for protocol in made
    ]
    elsewhere = factories.contenders_of(factories.make_experiment())[0]
    comparison = read([f"{entries[0].pk},{entries[1].pk}", str(elsewhere.pk)])

    found = tables(comparison)
    other, foreign = map(record.reasons, strangers(comparison, found))

    assert [table.baseline is not None for table in found] == [True, False, False]
    assert all(each.difference is None for line in found[1].lines for each in line.cells)
    assert "num images: 60 and 50" in other
    assert foreign == [f"dataset: {elsewhere.experiment.dataset.name} and {dataset.name}"]


def test_an_entry_is_compared_with_itself_by_its_samplers() -> None:
    samplers = [{"name": "ddim", "steps": 50}, {"name": "dpmsolver++", "steps": 20}]
    experiment = factories.make_experiment(
        entries=[{"algorithm": "diffusion.ddpm", "samplers": samplers}]
    )
    key = factories.contenders_of(experiment)[0].pk

    comparison = read([f"{key}:DPM-Solver++ 20", f"{key}:DDIM 50", str(key)], str(key))

    assert [side.key for side in comparison.sides] == [f"{key}:DPM-Solver++ 20", f"{key}:DDIM 50"]
    assert len(comparison.entries) == 1
    with pytest.raises(CompareError, match="has no sampler 'euler': expected one of DDIM 50"):
        read([f"{key}:euler", str(key)])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "takes 2 to 10 entries; none was chosen"),
        (["1"], "only one was chosen"),
        (["1", "1"], "only one was chosen"),
        ([",".join(map(str, range(11)))], "11 were chosen"),
        (["1", "two"], "expected ids of entries (12, or 12:SAMPLER), got 'two'"),
        (["999999", "999998"], "There are no entries with the ids 999998, 999999"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    client: Client, entries: list[str], said: str
) -> None:
    page = client.get("/compare/", {"entries": entries})
    answer = client.get("/api/v1/compare/", {"entries": entries})

    assert page.status_code == (400 if entries else 200)  # the bare address is a way in
    assert answer.status_code == 400
    assert said in page.content.decode().replace("&#x27;", "'")
    assert said in answer.json()["detail"]


def test_the_front_holds_what_nobody_beats() -> None:
    columns = {c.key: c for c in columns_of(factories.make_protocol(metrics=METRICS))}

    def point(name: str, fd: float, recall: float, speed: float) -> dict[str, Any]:
        found: dict[str, Any] = {"key": name, "images_per_second": speed}
        return found | {"quality": {"value": fd}, "coverage": {"value": recall}}

    points = [
        point("wide", 9.0, 0.9, 1),
        point("sharp", 2.0, 0.5, 1),
        point("beaten", 3.0, 0.4, 1),
        point("fast", 3.0, 0.4, 99),
    ]
    by = (columns["fd"], columns["recall"])

    assert [p["key"] for p in front(points, *by, speed=False)] == ["sharp", "wide"]
    assert {p["key"] for p in front(points, *by, speed=True)} == {"sharp", "wide", "fast"}


def test_seeds_make_a_band_and_ends_are_counted() -> None:
    experiment = factories.make_experiment(entries=TWO, seeds=[0, 1, 2])
    gan, vae = factories.contenders_of(experiment)
    for seed, last in enumerate((100, 100, 50)):  # the third has ended early
        run = factories.make_run(entry=gan, seed=seed, status=Status.COMPLETED)
        LossPoint.objects.bulk_create(
            LossPoint(run=run, images_seen=x, wall_seconds=2 * x, losses={"loss": 1.0 + seed})
            for x in range(0, last + 1, 10)
        )
    comparison = read([f"{gan.pk},{vae.pk}"])

    [curve] = curves.curves(comparison, curves.read(comparison, {"smooth": "strong"}))

    assert (curve["x"][0], curve["x"][-1], curve["seeds"]) == (0, 100, 3)
    assert (curve["n"][0], curve["n"][-1]) == (3, 2)
    assert (curve["mean"][0], curve["raw"][-1]) == (2, 1.5)
    half = t_quantile(2) / math.sqrt(3)
    assert curve["low"][0] == pytest.approx(2 - half, abs=1e-3)
    assert curve["high"][-1] == pytest.approx(1.5 + t_quantile(1) * 0.5, abs=1e-3)

    wanted = curves.read(comparison, {"scale": "log", "x": "device"})
    [curve] = curves.curves(comparison, wanted)
    assert curve["mean"][0] == pytest.approx(6 ** (1 / 3), abs=1e-4)  # the geometric mean
    assert curve["x"][-1] == 10  # what the run used of its device
    assert curve["raw"] == []
    with pytest.raises(CompareError, match="expected one of images, wall, device"):
        curves.read(comparison, {"x": "epochs"})


def test_ten_entries_cost_as_many_queries_as_two(client: Client) -> None:
    many = scored(*[(10.0 + k, 1.0) for k in range(10)], seeds=2)
    few = Comparison(many.sides[:2], many.sides[0])

    def asked(comparison: Comparison, address: str) -> tuple[int, bytes]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(address, comparison.query)
        assert answer.status_code == 200
        return len(queries), answer.content

    for address in ("/compare/", "/api/v1/compare/", "/api/v1/compare/curves/"):
        number, content = asked(many, address)
        assert number == asked(few, address)[0] <= 11, address
        assert len(content) < 300_000
    page = asked(many, "/compare/")[1].decode()
    values = client.get("/api/v1/compare/", many.query).json()["boards"][0]["metrics"][0]["values"]
    assert all(repr(each["value"]) in page for each in values)
