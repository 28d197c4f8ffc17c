"""Who leads at the same budget, as it is kept with a board's judgement, and when it is not."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from catalog.models import Protocol
from experiments.models import Experiment
from leaderboards.board import Column, columns_of
from leaderboards.budgeting import same_budget
from leaderboards.budgeting.same_budget import Leader, View
from leaderboards.leading.by_budget import MEASURED, SPEED, WAYS, Range
from leaderboards.models import Judging, Score, Standing
from leaderboards.scores import judging, standstill
from tests import factories
from tests.static import static_root
from tests.web.html import get

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db
BUDGETS = ({"images": 1000}, {"images": 5000}, {"device_seconds": 60})
EACH = 4  # entries of a budget

Found = list[tuple[int, list[tuple[str, int] | None]]]  # how many are of a budget, who leads


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """Return a protocol with entries of three budgets; no board is small enough for a request."""
    monkeypatch.setattr(standstill, "MOST_AT_ONCE", 0)
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    for budget in BUDGETS:
        entries = [{"algorithm": "gan.sngan", "label": f"{k}"} for k in range(EACH)]
        made = factories.make_experiment(protocols=[protocol], entries=entries, budget=budget)
        for place, entry in enumerate(factories.contenders_of(made)):
            values = [{"fd": {"value": place + 1.0, "low": place + 0.4, "high": place + 1.6}}]
            factories.make_scores(entry=entry, protocol=protocol, values=values)
    return protocol


def scatter(protocol: Protocol, seed: int) -> None:
    """Give every row random seeds and numbers, some of them absent, equal, or of survivors."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    for standing in Standing.objects.filter(protocol=protocol, control=""):
        standing.seeds_total = chance.choice([1, 1, 1, 2])
        standing.seeds_scored = chance.choice([1, 1, 1, 0])
        standing.seeds_failed = chance.choice([0, 0, 0, 1])
        standing.save()
        for score in standing.scores.all():
            value = chance.choice([None, 2.0, *(chance.uniform(0.1, 9) for _ in range(6))])
            score.value = value and value * 10.0 ** chance.choice([0, 1])
            half = chance.choice([None, 0.1, 3.0])
            score.low, score.high = (
                (score.value - half, score.value + half) if score.value and half else (None, None)
            )
            score.seeds = [] if score.value is None else [[score.value, 0.1]]
            score.seeds_lost = chance.choice([0, 0, 0, 1])
            score.save()


def plain(protocol: Protocol, by: str) -> tuple[Found, int]:
    """Return the leaders at each budget, and how many have none, by looking at every pair."""
    first = {corner: next(c for c in columns_of(protocol) if c.corner == corner)
             for corner in ("quality", "coverage")}  # fmt: skip
    speed = next(column for column in columns_of(protocol) if column.key == SPEED)
    rows = list(Standing.objects.filter(protocol=protocol, control="", seeds_scored__gt=0))
    budgets = [budget_of(row, by) for row in rows]
    found: Found = []
    for place in sorted({budget for budget in budgets if budget is not None}):
        mine = [row for row, budget in zip(rows, budgets, strict=True) if budget == place]
        leaders = [leader_among(mine, column) for column in (*first.values(), speed)]
        found.append((len(mine), leaders))
    return found, budgets.count(None)


def budget_of(row: Standing, by: str) -> tuple[float, float] | None:
    experiment = row.entry.experiment
    known = {"images": experiment.budget_images, "seconds": experiment.budget_seconds}
    if by in known:
        return (known[by] or 0.0, 0.0) if known[by] else None
    value = row.scores.get(metric=MEASURED[by == "parameters"]).value
    return (Range.of(value).low, Range.of(value).high) if value else None


def leader_among(rows: Iterable[Standing], column: Column) -> tuple[str, int] | None:
    whole = [
        (row, score)
        for row in rows
        for score in row.scores.filter(metric=column.key, value__isnull=False, seeds_lost=0)
        if not row.seeds_failed and row.seeds_total == row.seeds_scored
    ]
    if not whole:
        return None
    turn = -1 if column.higher_is_better else 1
    row, score = min(whole, key=lambda pair: turn * (pair[1].value or 0.0))
    alike = sum(meet(score, other) for _, other in whole if other != score)
    return str(row), alike


def meet(one: Score, other: Score) -> bool:
    ends = [(s.value, s.value) if s.low is None else (s.low, s.high) for s in (one, other)]
    (low, high), (low_2, high_2) = ends
    return bool(max(low or 0.0, low_2 or 0.0) <= min(high or 0.0, high_2 or 0.0))


def told(view: View) -> Found:
    return [
        (bucket.entries, [named(leader) if leader else None for leader in bucket.leaders])
        for bucket in view.buckets
    ]


def named(leader: Leader) -> tuple[str, int]:
    return f"{leader.row.entry.label}, {leader.row.sampler_label}", leader.alike


def test_leaders_kept_and_of_now_are_those_of_all_rows_compared_in_pairs(
    protocol: Protocol,
) -> None:
    for seed in range(3):
        scatter(protocol, seed)
        Judging.objects.all().delete()
        expected = {by: plain(protocol, by) for by in WAYS}
        now = {by: same_budget.view(protocol, by) for by in WAYS}

        judging.judge(protocol)
        kept = {by: same_budget.view(protocol, by) for by in WAYS}

        for by, (buckets, unknown) in expected.items():
            assert told(now[by]) == told(kept[by]) == buckets
            assert (kept[by].unknown, kept[by].left_out) == (unknown, 0)
            assert now[by].judged_at is None and kept[by].judged_at == judged_at(protocol)
            assert replace(kept[by], judged_at=None) == now[by]
        leaders = [leader for *_, found in expected["images"][0] for leader in found]
        assert any(leaders)


def judged_at(protocol: Protocol) -> Any:
    return Judging.objects.get(protocol=protocol).judged_at


def first_leader(protocol: Protocol) -> Standing:
    leader = same_budget.view(protocol, "images").buckets[0].leaders[0]
    assert leader is not None
    return Standing.objects.get(entry=leader.row.entry, protocol=protocol)


def score_anew(experiment: Experiment, label: str, fd: float) -> None:
    """Score one more entry of an experiment's protocol."""
    protocol = experiment.protocols.get()
    entries = [{"algorithm": "gan.sngan", "label": label}]
    budget = {"images": experiment.budget_images or 0}
    made = factories.make_experiment(protocols=[protocol], entries=entries, budget=budget)
    (entry,) = factories.contenders_of(made)
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd}])


def test_a_large_board_says_since_when_its_leaders_were_found(
    protocol: Protocol, client: Client, static_root: None
) -> None:
    judging.judge(protocol)
    address = f"/leaderboards/{protocol.fingerprint}/budgets/"
    assert "judged_at" not in client.get(f"/api/v1{address}").json()
    assert "Leaders were found" not in get(client, address).text

    score_anew(protocol.experiments.order_by("pk")[0], "later", fd=0.1)
    waiting = same_budget.view(protocol, "images")
    page, body = get(client, address), client.get(f"/api/v1{address}").json()
    judging.judge(protocol)
    after = same_budget.view(protocol, "images")

    assert waiting.waiting and after.waiting == 0
    changed = f"{waiting.waiting} rows changed since. A worker judges the board anew."
    assert "Leaders were found" in page.text and changed in page.text
    assert body["waiting"] == waiting.waiting and body["judged_at"]
    labels = [each.buckets[0].leaders[0] for each in (waiting, after)]
    assert [leader and leader.row.entry.label for leader in labels] == ["0", "later"]


def lose_seed(leader: Standing) -> None:
    factories.make_run(entry=leader.entry, seed=1, status="failed")
    Standing.objects.filter(pk=leader.pk).update(seeds_failed=1, is_judged=False)


def delete(leader: Standing) -> None:
    leader.delete()


def forget(leader: Standing) -> None:
    """As a site of before leaves it, whose boards were judged without this."""
    Standing.objects.filter(pk=leader.pk).update(seeds_failed=1)
    Judging.objects.filter(protocol=leader.protocol).update(budgets={})


@pytest.mark.parametrize("change", [lose_seed, delete, forget])
def test_leaders_are_found_now_where_one_of_them_changed_or_none_are_kept(
    protocol: Protocol, change: Callable[[Standing], None]
) -> None:
    judging.judge(protocol)
    leader = first_leader(protocol)

    change(leader)
    found = same_budget.view(protocol, "images")

    assert found.judged_at is None
    assert told(found) == plain(protocol, "images")[0]
    next_best = found.buckets[0].leaders[0]
    assert next_best is not None and next_best.row.entry.label == "1"
    assert Judging.objects.get(protocol=protocol).rung_at is not None


def test_kept_leaders_cost_few_questions(
    protocol: Protocol, django_assert_max_num_queries: Any
) -> None:
    judging.judge(protocol)

    for by in WAYS:
        with django_assert_max_num_queries(6):
            same_budget.view(protocol, by)
