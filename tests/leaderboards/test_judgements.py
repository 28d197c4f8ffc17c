"""What a board says of its numbers, on boards whose truth is known."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from django.test import Client

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, Experiment, Run
from jobs.models import Status
from leaderboards import highlights
from leaderboards.board import Board, Cell, Column, Row
from leaderboards.ranking import BEYOND, judged, rank
from leaderboards.statistics.separation import (
    OUTSIDE,
    Ranks,
    _apart,
    _factor,
    _rounded_up,
    rank_ranges,
)
from leaderboards.statistics.spread import Estimate, Seed, estimates, scale_of
from tests import factories
from tests.leaderboards import simulation
from tests.leaderboards.simulation import (
    BEHIND,
    BESIDE,
    EQUAL,
    THREEFOLD,
    TIED,
    TWICE,
    UNEQUAL,
    Spread,
    most,
)
from tests.leaderboards.test_ranking import Scores, cell, known, make_board, score_controls, scored

BOARDS = 150


# --- ranks and leads --------------------------------------------------------------------------


def test_twice_the_distance_is_told_apart_with_two_seeds() -> None:
    """FD 4 against 2, standard deviation 0.3 over seeds, on boards of eight entries."""
    found = simulation.outcome(Spread("normal", 0.3), TWICE, 2, boards=BOARDS)

    assert found.told_apart >= 0.9
    assert found.wrong_leader <= OUTSIDE


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("kind", "sd"), [("normal", 0.3), ("log-normal", 0.1)])
def test_equal_rows_are_seldom_told_apart(seeds: int, kind: str, sd: float) -> None:
    found = simulation.outcome(Spread(kind, sd), TIED, seeds, boards=BOARDS)

    assert found.wrong_range <= most(OUTSIDE, BOARDS)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(("kind", "sd"), [("normal", 0.2), ("log-normal", 0.07)])
@pytest.mark.parametrize(
    "multiples", [EQUAL, UNEQUAL, THREEFOLD], ids=["equal", "unequal", "threefold"]
)
@pytest.mark.parametrize(
    "means", [TIED, TWICE, BEHIND, BESIDE], ids=["tied", "twice", "behind", "beside"]
)
def test_at_most_one_board_in_twenty_is_wrong(
    seeds: int, kind: str, sd: float, multiples: tuple[float, ...], means: simulation.Floats
) -> None:
    found = simulation.outcome(Spread(kind, sd, multiples), means, seeds, boards=1000)

    assert max(found.wrong_leader, found.wrong_range) <= most(0.05, 1000)


def test_a_row_that_varies_much_more_than_the_others_is_not_judged_by_their_variance() -> None:
    quiet = [[Seed(4.0 + 0.01 * n), Seed(4.0 - 0.01 * n)] for n in range(1, 8)]
    loud = [Seed(1.0), Seed(9.0)]
    rows = [*quiet, loud]

    assert rank_ranges(estimates(rows, scale_of(rows)))[-1] == Ranks(1, 8)


def test_a_single_seed_has_the_variance_of_the_boards_other_rows() -> None:
    rows = [[Seed(1.0), Seed(1.4)], [Seed(2.0), Seed(2.4)], [Seed(1.6, error=0.001)]]

    alone, beside = estimates(rows[2:], float)[0], estimates(rows, float)[2]

    assert alone.error == 0.001
    assert beside.error == pytest.approx(0.08**0.5)


def test_errors_of_images_are_the_least_that_seeds_may_have() -> None:
    lucky = [[Seed(1.0, error=0.5), Seed(1.0001, error=0.5)] for _ in range(4)]

    assert {round(found.error, 6) for found in estimates(lucky, float)} == {round(0.5 / 2**0.5, 6)}


def test_what_has_no_error_and_differs_is_apart_and_what_is_unknown_never_is() -> None:
    exact, unknown = Estimate(1.0, 0.0), Estimate(0.0, float("inf"))

    assert rank_ranges([exact, Estimate(1.5, 0.0), exact]) == [
        Ranks(1, 2),
        Ranks(3, 3),
        Ranks(1, 2),
    ]
    assert rank_ranges([exact, unknown]) == [Ranks(1, 2), Ranks(1, 2)]
    assert rank_ranges([]) == []


def test_ranges_of_many_rows_hold_those_of_few() -> None:
    """More than a hundred rows are compared by rounded bounds: ranges may only grow."""
    rows = [Estimate(float(n), 0.3 + 0.01 * (n % 7), 40) for n in range(101)]

    for place, ranks in enumerate(rank_ranges(rows), start=1):
        assert ranks.low <= place <= ranks.high
        assert ranks.high - ranks.low <= 8


def test_many_rows_are_apart_where_their_difference_is_beyond_both_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn = zip(rng.normal(size=150), rng.choice([0.0, 0.1, 0.3, math.inf], 150), strict=True)
    rows = [Estimate(float(mean), float(bound)) for mean, bound in drawn]
    bounds = [_rounded_up(row.error) for row in rows]

    found = _apart(rows, [row.error for row in rows])

    for (better, worse), row, bound in zip(found, rows, bounds, strict=True):
        beyond = [
            (row.mean - other.mean) / math.hypot(bound, other_bound)
            for other, other_bound in zip(rows, bounds, strict=True)
            if bound or other_bound  # of two exact rows every difference tells
        ]
        exact = [row.mean - o.mean for o, b in zip(rows, bounds, strict=True) if bound == b == 0]
        assert better == sum(x > 1 for x in beyond) + sum(x > 0 for x in exact)
        assert worse == sum(x < -1 for x in beyond) + sum(x < 0 for x in exact)


@pytest.mark.parametrize("seed", range(20))
def test_few_rows_are_apart_only_where_no_way_of_being_tied_is_left(seed: int) -> None:
    """Against all 52 ways in which five rows may be tied, each tried at the whole level."""
    rng = np.random.default_rng(seed)
    rows = [Estimate(float(mean), 1.0, 8) for mean in rng.normal(scale=6, size=5)]
    left = [ties for ties in partitions(range(5)) if not is_refuted(ties, rows)]

    for place, ranks in enumerate(rank_ranges(rows)):
        tied = {other for ties in left for block in ties if place in block for other in block}
        better = {other for other in range(5) if rows[other].mean < rows[place].mean}
        assert ranks.low <= 1 + len(better - tied)
        assert ranks.high >= 1 + len(better | (tied - {place}))


def partitions(rows: Iterable[int]) -> Iterator[list[list[int]]]:
    """Yield the ways in which rows may be tied."""
    first, *rest = rows
    for ties in partitions(rest) if rest else [[]]:
        yield [[first], *ties]
        for at, block in enumerate(ties):
            yield [*ties[:at], [first, *block], *ties[at + 1 :]]


def is_refuted(ties: list[list[int]], rows: list[Estimate]) -> bool:
    """Return whether some of the rows said to be tied differ by more than chance."""
    blocks = [[rows[place] for place in block] for block in ties if len(block) > 1]
    tied = sum(map(len, blocks))
    ends = [sorted(row.mean for row in block) for block in blocks]
    return any(
        high - low > math.sqrt(2) * _factor(8, 2 + len(between), tied)
        for low, *between, high in ends
    )


# --- survivors, and whoever cancels what goes badly -------------------------------------------


@pytest.mark.django_db
def test_a_cancelled_seed_counts_as_a_failed_one() -> None:
    experiment = scored({"honest": [2.0, 2.2], "cancelled": [1.0]}, failed={"cancelled": 1})
    Run.objects.filter(entry__label="cancelled", seed=1).update(status=Status.CANCELLED)

    board = rank(experiment.protocols.get())

    assert [board.rows[n].entry.label for n in (1, 2)] == ["honest", "cancelled"]
    assert (cell(board, "cancelled").range, cell(board, "cancelled").leads) == ("2", False)
    (quality,) = [x for x in highlights.highlight(board).leaders if x.corner == "Quality"]
    assert quality.row.entry.label == "honest"


@pytest.mark.django_db
def test_a_row_whose_seeds_are_still_to_come_leads_nothing() -> None:
    experiment = scored({"done": [2.0, 2.2], "running": [1.0]})
    factories.make_run(entry=experiment.entries.get(label="running"), seed=1)

    board = rank(experiment.protocols.get())

    found = cell(board, "running")
    assert (found.rank, found.range, found.provisional, found.leads) == (1, "~1", True, False)
    assert (cell(board, "done").range, cell(board, "done").leads) == ("1", True)
    (quality,) = [x for x in highlights.highlight(board).leaders if x.corner == "Quality"]
    assert quality.row.entry.label == "done"


@pytest.mark.django_db
@pytest.mark.parametrize("worst", [None, float("inf")])
def test_a_seed_without_a_finite_value_counts_as_worst(worst: float | None) -> None:
    scores: Scores = {"whole": [0.3, 0.32, 0.31], "broken": [0.0, 0.01, worst]}

    board = make_board(scores, metric="is", sort="-is")  # any metric may be undefined for a seed

    found = cell(board, "broken", "is")
    assert (found.seeds_lost, len(found.seeds), found.leads) == (1, 2, False)
    assert (cell(board, "whole", "is").rank, found.rank) == (1, 2)


@pytest.mark.django_db
def test_a_distance_that_too_few_images_leave_out_does_not_count_as_worst() -> None:
    protocol = factories.make_protocol(metrics=["fd", "fd_population"])
    experiment = factories.make_experiment(protocols=[protocol], seeds=range(3))
    (entry,) = factories.contenders_of(experiment)
    values = [{"fd": 1.0, "fd_population": value} for value in (2.0, 2.1, None)]
    factories.make_scores(entry=entry, protocol=protocol, values=values)

    (row,) = [row for row in rank(protocol).rows if not row.is_control]

    found = row.cells["fd_population"]
    assert (found.seeds_lost, len(found.seeds), found.rank) == (0, 2, 1)


# --- better than real is not better -----------------------------------------------------------


def collapsed_board(*, recall: float) -> Board:
    protocol = factories.make_protocol(metrics=["fd", "is", "precision", "recall"])
    experiment = factories.make_experiment(
        protocols=[protocol],
        entries=[{"algorithm": "vae.conv", "label": name} for name in ("sharp", "fair")],
    )
    values = {
        "sharp": {"fd": 10.0, "is": 10.0, "precision": 0.88, "recall": recall},
        "fair": {"fd": 4.0, "is": 9.0, "precision": 0.8, "recall": 0.7},
    }
    real = {"fd": 1.0, "is": 9.68, "precision": 0.89, "recall": 0.9}
    for entry in factories.contenders_of(experiment):
        numbers = {name: known(value, 0.002) for name, value in values[entry.label].items()}
        factories.make_scores(entry=entry, protocol=protocol, values=[numbers])
    factories.make_scores(
        entry=factories.control_of(experiment),
        protocol=protocol,
        values=[{name: known(value, 0.002) for name, value in real.items()}],
    )
    return rank(protocol, sort="is")


@pytest.mark.django_db
def test_a_value_beyond_unseen_real_images_leads_nobody_and_is_in_nobodys_way() -> None:
    board = collapsed_board(recall=0.6)

    beyond, fair = cell(board, "sharp", "is"), cell(board, "fair", "is")
    assert (beyond.no_merit, beyond.leads) == (BEYOND, False)
    assert (fair.no_merit, fair.leads, fair.range) == ("", True, "1")
    assert cell(board, "sharp", "precision").leads  # it covers enough, and is not beyond


@pytest.mark.django_db
def test_sharpness_without_coverage_is_no_merit() -> None:
    board = collapsed_board(recall=0.006)

    found = cell(board, "sharp", "precision")
    assert found.no_merit == "no merit without coverage: PR[classifier] recall 0.006"
    assert not found.leads and cell(board, "fair", "precision").leads


def asked_row(label: str, kind: str, following: float) -> Row:
    """Return a row of a board with prompts: a control, or "" for a contender."""
    config = {"control": kind} if kind else {}
    entry = Entry(
        experiment=Experiment(budget_images=1),
        kind=Entry.Kind.CONTROL if kind else Entry.Kind.GENERATOR,
        label=label,
        config=config,
    )
    found = Cell(following, following - 0.02, following + 0.02, seeds=(Seed(following, 0.01),))
    return Row(entry, "direct", 1, 1, 0, {"following": found}, ())


def test_who_follows_prompts_better_than_images_that_were_not_asked_has_merit() -> None:
    column = Column("following", "Following", "", True, "quality", "")
    rows = [
        asked_row("Real test images", controls.TEST, 0.04),
        asked_row("good", "", 0.5),
        asked_row("bad", "", 0.2),
        asked_row("Real scenes for the prompts", controls.ASKED, 0.9),
    ]

    good, bad = (row.cells["following"] for row in judged(rows, (column,))[1:3])

    assert (good.no_merit, good.leads, good.range) == ("", True, "1")
    assert (bad.no_merit, bad.leads, bad.range) == ("", False, "2")
    beyond = judged([*rows, asked_row("beyond", "", 0.99)], (column,))[-1]
    assert beyond.cells["following"].no_merit == BEYOND


# --- every value lies in its interval -----------------------------------------------------------


@pytest.mark.django_db
def test_values_and_intervals_stay_within_the_range_of_the_quantity() -> None:
    below = {"value": 0.9, "bias_corrected": -0.5, "low": 0.0, "high": -0.2}
    board = make_board({"below": [below], "edge": [0.0, 0.0, 0.3]})

    for label in ("below", "edge"):
        found = cell(board, label)
        assert found.value is not None and found.low is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high


@pytest.mark.django_db
def test_seeds_of_one_value_have_the_interval_of_their_images() -> None:
    wide, narrow = known(0.5, 0.1), known(0.5, 0.01)
    board = make_board({"same": [narrow, wide], "unknown": [narrow, 0.5], "apart": [0.5, 0.6]})

    same, unknown, apart = (cell(board, label) for label in ("same", "unknown", "apart"))

    assert (same.low, same.high, same.interval_of) == (wide["low"], wide["high"], "images")
    assert (unknown.value, unknown.low, unknown.interval_of) == (0.5, None, "")
    assert unknown.reason == "no interval: all seeds have one value, so their spread is unknown"
    assert apart.interval_of == "seeds"


# --- a protocol that failed its admission test --------------------------------------------------


def fail_admission(protocol: Protocol, **more: Any) -> None:
    record = {
        "version": 2,
        "passed": False,
        "reasons": [],
        "count": 100,
        "floor": {"absent": True, "reason": ""},
        "ladders": {},
        "batch_invariance": 0.0,
    }
    protocol.facts = {**protocol.facts, "admission": record | more}
    protocol.save()


@pytest.mark.django_db
def test_metrics_that_lack_images_have_no_ranks_and_the_others_have() -> None:
    protocol = factories.make_protocol(metrics=["fd", "kd"])
    experiment = factories.make_experiment(protocols=[protocol], seeds=range(2))
    (entry,) = factories.contenders_of(experiment)
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 1.0, "kd": 1.0}] * 2)
    fail_admission(protocol, unranked={"fd": "needs 320 images"})

    board = rank(protocol)

    assert (board.sort, dict(board.unranked)) == ("kd", {"fd": "needs 320 images"})
    cells = next(row.cells for row in board.rows if not row.is_control)
    assert (cells["fd"].rank, cells["kd"].rank, cells["nfe"].rank) == (None, 1, 1)


@pytest.mark.django_db
def test_a_protocol_that_failed_its_admission_test_ranks_nothing_and_says_so(
    client: Client,
) -> None:
    experiment = scored({"a": [1.0, 1.1], "b": [2.0, 2.1]})
    score_controls(experiment, test=known(0.5, 0.01))
    protocol = experiment.protocols.get()
    fail_admission(protocol, reasons=["blur: 1 at level 2 is no more than 1 of clean images"])

    board = rank(protocol)

    assert set(board.unranked) == {column.key for column in board.columns}
    assert board.why_unranked == ["blur: 1 at level 2 is no more than 1 of clean images"]
    assert {c.rank for row in board.rows for c in row.cells.values()} == {None}
    assert not any(c.leads for row in board.rows for c in row.cells.values())
    assert [row.entry.label for row in board.rows[1:3]] == ["a", "b"]
    home = client.get("/").content.decode()
    assert "Nothing is ranked here: the protocol failed its admission test. blur: 1" in home
    page = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()
    assert "<li>blur: 1 at level 2 is no more than 1 of clean images</li>" in page
