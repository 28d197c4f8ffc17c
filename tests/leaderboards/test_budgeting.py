"""The NFE curve, and who leads among entries of about the same budget."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from catalog.models import Protocol
from leaderboards.board import columns_of
from leaderboards.budgeting import nfe, same_budget
from leaderboards.leading.by_budget import Range
from leaderboards.models import Score
from leaderboards.ranking import rank
from leaderboards.scores import points, reading
from leaderboards.scores.query import read
from tests import factories
from tests.static import static_root
from tests.web.html import get

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db
METRICS = ["fd", "recall"]
DDIM: list[dict[str, Any]] = [{"name": "ddim", "steps": steps} for steps in (50, 10)]
SOLVER: list[dict[str, Any]] = [{"name": "dpmsolver++", "steps": 20}]


def values(fd: float, half: float = 0.5, recall: float = 0.5) -> dict[str, Any]:
    interval = {"low": fd - half, "high": fd + half, "standard_error": half / 2}
    return {"fd": {"value": fd, **interval}, "recall": recall}


def drawn_with_many_samplers() -> Protocol:
    """Return the protocol of a GAN and a diffusion model with three samplers, all scored."""
    protocol = factories.make_protocol(metrics=METRICS)
    samplers = [*DDIM, *SOLVER]
    ddpm_entry = {"algorithm": "diffusion.ddpm", "samplers": samplers}
    entries: list[dict[str, Any]] = [{"algorithm": "gan.sngan"}, ddpm_entry]
    experiment = factories.make_experiment(protocols=[protocol], entries=entries)
    gan, ddpm = factories.contenders_of(experiment)
    factories.make_scores(entry=gan, protocol=protocol, values=[values(9)])
    for sampler, fd in zip(samplers, (3, 8, 4), strict=True):
        run = factories.make_run(entry=ddpm, status="completed")
        steps = sampler["steps"]
        drawn = factories.make_sample_set(run=run, sampler=sampler, nfe=steps)
        factories.make_evaluation(sample_set=drawn, protocol=protocol, values=values(fd))
    return protocol


def test_samplers_of_one_kind_are_a_line_and_others_points() -> None:
    protocol = drawn_with_many_samplers()

    found = nfe.drawn(reading.board(protocol))

    assert found is not None and found == nfe.drawn(rank(protocol))
    lines = {
        (each["label"], each["kind"]): [(p["nfe"], p["quality"]["value"]) for p in each["points"]]
        for each in found["curves"]
    }
    assert {kind: points for (_, kind), points in lines.items() if kind} == {
        "DDIM": [(10, 8), (50, 3)]
    }
    assert [(1, 9)] in lines.values() and [(20, 4)] in lines.values()
    assert found["curves"][-1]["points"][0]["quality"].keys() == {"value", "low", "high"}


def test_a_page_draws_all_samplers_of_its_models_and_says_how_many_rows_it_leaves_out() -> None:
    protocol = drawn_with_many_samplers()
    everything = nfe.drawn(reading.board(protocol))
    assert everything is not None and (everything["beyond"], everything["left_out"]) == (0, 0)

    for asked, beyond in (({"page_size": "2"}, 2), ({"fd_max": "3.5"}, 2), ({"text": "none"}, 0)):
        query = read(asked, columns_of(protocol))
        page = reading.board(protocol, query=query)
        found = nfe.drawn(page, query)
        here = [row.sampler_label for row in page.rows if not row.is_control]
        assert here == (["DDIM 50"] if beyond else [])
        if found is None:
            assert not beyond
            continue
        points = [p["sampler"] for curve in found["curves"] for p in curve["points"]]
        assert sorted(points) == ["DDIM 10", "DDIM 50", "DPM-Solver++ 20"]
        assert page.rows_in_all is not None
        rest = page.rows_in_all - len(page.rows)
        assert (found["beyond"], found["left_out"]) == (2, rest - 2 if rest else 0)
        few = nfe.drawn(page, query, most=1)
        assert few is not None and few["left_out"] == (rest - 1 if rest else 0)


@pytest.mark.parametrize("sort", ["", "-fd", "recall", "name"])
def test_charts_of_a_page_draw_the_same_from_rows_that_were_read_as_from_the_database(
    sort: str,
) -> None:
    protocol = drawn_with_many_samplers()

    for number in (1, 2, 3, 4):
        query = read({"page_size": "1", "page": str(number)}, columns_of(protocol))
        board = reading.board(protocol, sort=sort, query=query)
        unread = replace(board, elsewhere=None)

        assert board.elsewhere is not None and len(board.elsewhere) in (3, 4)  # or a control
        assert points.others(board, query) == points.others(unread, query) != []
        assert nfe.drawn(board, query) == nfe.drawn(unread, query)
        assert points.others(board, query, most=1) == points.others(unread, query, most=1)


def test_without_several_step_counts_there_is_no_curve() -> None:
    protocol = factories.make_protocol(metrics=METRICS)
    experiment = factories.make_experiment(protocols=[protocol])
    [gan] = factories.contenders_of(experiment)
    factories.make_scores(entry=gan, protocol=protocol, values=[values(9)])

    assert nfe.drawn(rank(protocol)) is None


def test_the_board_and_the_experiment_show_the_curve(client: Client, static_root: None) -> None:
    protocol = drawn_with_many_samplers()
    experiment = protocol.experiments.get()

    for address in (f"/leaderboards/{protocol.fingerprint}/", f"/experiments/{experiment.pk}/"):
        page = get(client, address)
        page.one("div", data_chart="nfe")  # it is there
        assert "DDIM 10" in page.text


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(1000, 1000, 3000), (2999, 1000, 3000), (3000, 3000, 10_000), (0.02, 0.01, 0.03), (9, 3, 10)],
)
def test_what_is_measured_stands_in_ranges(value: float, low: float, high: float) -> None:
    assert (Range.of(value).low, Range.of(value).high) == pytest.approx((low, high))


def at(budgets: Sequence[dict[str, float]]) -> Protocol:
    """Return a protocol with two scored GANs at each budget, the second the better."""
    protocol = factories.make_protocol(metrics=METRICS)
    for budget in budgets:
        entries = [{"algorithm": "gan.sngan", "label": f"{k}"} for k in range(2)]
        made = factories.make_experiment(protocols=[protocol], entries=entries, budget=budget)
        for place, entry in enumerate(factories.contenders_of(made)):
            factories.make_scores(entry=entry, protocol=protocol, values=[values(9 - 4 * place)])
    return protocol


def test_the_best_of_each_budget_leads_it_and_no_other() -> None:
    protocol = at([{"images": 1000}, {"images": 5000}, {"device_seconds": 60}])

    found = same_budget.view(protocol, "images")

    assert [bucket.words for bucket in found.buckets] == [
        "1,000 images seen",
        "5,000 images seen",
    ]
    assert found.unknown == 2
    for bucket in found.buckets:
        best = bucket.leaders[0]
        assert best is not None and bucket.entries == 2
        assert (best.row.entry.label, best.cell.value, best.alike) == ("1", 5, 0)
    [seconds] = same_budget.view(protocol, "seconds").buckets
    assert seconds.filter == "60s"


def test_parameters_are_put_in_ranges_and_those_without_are_counted() -> None:
    protocol = at([{"images": 1000}])
    parameters = Score.objects.filter(metric="parameters", standing__control="")
    first, second = parameters.order_by("pk")
    Score.objects.filter(pk=first.pk).update(value=2_000_000)
    Score.objects.filter(pk=second.pk).update(value=None, reason="not measured yet")

    found = same_budget.view(protocol, "parameters")

    assert [bucket.words for bucket in found.buckets] == ["1,000,000 to 3,000,000 parameters"]
    assert found.unknown == 1


def test_survivors_lead_nothing_and_overlapping_intervals_are_counted() -> None:
    protocol = factories.make_protocol(metrics=METRICS)
    entries = [{"algorithm": "gan.sngan", "label": f"{k}"} for k in range(3)]
    experiment = factories.make_experiment(protocols=[protocol], entries=entries, seeds=[0, 1])
    lucky, good, near = factories.contenders_of(experiment)
    factories.make_scores(entry=lucky, protocol=protocol, values=[values(1)])
    factories.make_run(entry=lucky, seed=1, status="failed")
    for entry, fd in ((good, 5.0), (near, 5.2)):
        scored = [values(fd), values(fd + 0.1)]
        factories.make_scores(entry=entry, protocol=protocol, values=scored)

    [bucket] = same_budget.view(protocol, "images").buckets

    best = bucket.leaders[0]
    assert best is not None
    assert (best.row.entry.label, best.alike) == (good.label, 1)


def test_the_page_names_leaders_and_refuses_other_budgets(
    client: Client, static_root: None
) -> None:
    protocol = at([{"images": 1000}, {"images": 5000}])
    address = f"/leaderboards/{protocol.fingerprint}/budgets/"

    page = get(client, address)
    assert "apart from all others" in page.text and "5,000 images seen" in page.text
    assert get(client, f"{address}?by=parameters").text.count("10,000 to 30,000 parameters") == 1
    get(client, f"{address}?by=weight", status=404)
    told = client.get(f"/api/v1{address}").json()
    [first, second] = told["budgets"]
    assert (first["budget"], first["filter"], first["entries"]) == ("1,000 images seen", "1000", 2)
    best = second["leaders"][0]
    assert (best["metric"], best["label"], best["value"], best["low"]) == ("fd", "1", 5, 4.5)
    refused = client.get(f"/api/v1{address}?by=weight")
    assert refused.status_code == 400 and "expected one of images" in str(refused.json())
