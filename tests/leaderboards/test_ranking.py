"""One board: order, ranks, seeds, intervals, and what never stands together."""

import math
from collections.abc import Mapping, Sequence

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, strategies as st

from catalog.models import Protocol
from evaluation.protocols.extractor_specs import INCEPTION, INCEPTION_2015_SHA256
from experiments.models import Entry, Experiment, MetricValue
from jobs.models import Status
from leaderboards.board import CORNERS, COSTS, Board, Cell, Column, Row, columns_of
from leaderboards.ranking import judged, rank
from leaderboards.statistics.spread import Seed, mean_interval
from tests import factories

pytestmark = pytest.mark.django_db

SCHEMES = ("beta", "sigma")


Value = float | Mapping[str, float] | None
Scores = Mapping[str, Sequence[Value]]


def make_board(
    scores: Scores, *, metric: str = "fd", sort: str = "", failed: Mapping[str, int] | None = None
) -> Board:
    """Return the board of one experiment: an entry per label, one value per seed.

    `failed` says how many more seeds of an entry failed.
    """
    return rank(scored(scores, metric=metric, failed=failed).protocols.get(), sort=sort)


def scored(
    scores: Scores, *, metric: str = "fd", failed: Mapping[str, int] | None = None
) -> Experiment:
    failed = failed or {}
    seeds = max(len(values) + failed.get(label, 0) for label, values in scores.items())
    experiment = factories.make_experiment(
        entries=[{"algorithm": "gan.sngan", "label": label} for label in scores],
        seeds=range(seeds),
    )
    protocol = experiment.protocols.get()
    for entry in factories.contenders_of(experiment):
        values = [{metric: value} for value in scores[entry.label]]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
        for seed in range(len(values), len(values) + failed.get(entry.label, 0)):
            factories.make_run(entry=entry, seed=seed, status=Status.FAILED)
        entry.runs.filter(status=Status.QUEUED).delete()  # none is still to come
    return experiment


def order(board: Board) -> list[tuple[int | None, str]]:
    """Return ranks and labels without the controls that stand last."""
    *rows, copy, noise, blur = board.rows
    assert [row.control for row in (copy, noise, blur)] == ["copy", "noise", "blur"]
    return [(row.cells[board.sort_key].rank, row.entry.label) for row in rows]


def contenders(protocol: Protocol) -> list[Row]:
    """Return the rows of a protocol's board that are no controls."""
    return [row for row in rank(protocol).rows if not row.is_control]


def row_of(board: Board, label: str) -> Row:
    return next(row for row in board.rows if row.entry.label == label)


def cell(board: Board, label: str, key: str = "fd") -> Cell:
    return row_of(board, label).cells[key]


CONTROL = (None, "Real test images")


def test_lower_is_better_puts_the_smallest_first_and_what_is_missing_last() -> None:
    board = make_board({"none": [None], "bad": [9.0], "good": [1.0]})

    assert order(board) == [CONTROL, (1, "good"), (2, "bad"), (None, "none")]


def test_higher_is_better_puts_the_largest_first_and_what_is_missing_last() -> None:
    board = make_board({"none": [None], "bad": [1.0], "good": [9.0]}, metric="is", sort="is")

    assert order(board) == [CONTROL, (1, "good"), (2, "bad"), (None, "none")]


@pytest.mark.parametrize("metric", ["fd", "is"])
def test_worst_first_turns_the_order_around_but_missing_stays_last_and_ranks_stay(
    metric: str,
) -> None:
    scores: Scores = {"a": [1.0], "b": [2.0], "none": [None]}
    best_first = make_board(scores, metric=metric, sort=metric)
    worst_first = make_board(scores, metric=metric, sort=f"-{metric}")

    first, second = order(best_first)[1:3]
    assert order(worst_first) == [CONTROL, second, first, (None, "none")]


def test_ties_share_a_rank_and_the_next_one_is_skipped() -> None:
    board = make_board({"d": [3.0], "b": [2.0], "c": [2.0], "a": [1.0]})

    assert order(board) == [CONTROL, (1, "a"), (2, "b"), (2, "c"), (4, "d")]


# --- survivors are not the sample -----------------------------------------------------------


SURVIVORS: Scores = {
    "bad": [9.0],
    "good": [2.0],
    "none": [None],
    "survived": [1.0],
    "survived too": [1.0],
    "barely": [3.0],
}
LOST = {"survived": 1, "survived too": 2, "barely": 1, "none": 1}


def test_rows_with_failed_seeds_are_ranked_behind_all_without() -> None:
    board = make_board(SURVIVORS, failed=LOST)

    assert order(board) == [
        CONTROL,
        (1, "good"),
        (2, "bad"),
        (3, "survived"),
        (3, "survived too"),
        (5, "barely"),
        (None, "none"),
    ]
    ranges = {row.entry.label: row.cells["fd"].range for row in board.rows if row.cells["fd"].rank}
    assert ranges == {
        "good": "1",
        "bad": "2",  # of one seed and without an error: by value
        "survived": "3–5",
        "survived too": "3–5",
        "barely": "3–5",
    }


def test_worst_first_keeps_rows_with_failed_seeds_behind_the_others() -> None:
    board = make_board(SURVIVORS, failed=LOST, sort="-fd")

    assert order(board) == [
        CONTROL,
        (2, "bad"),
        (1, "good"),
        (5, "barely"),
        (3, "survived"),
        (3, "survived too"),
        (None, "none"),
    ]


def test_the_rule_of_survivors_holds_where_higher_is_better() -> None:
    scores: Scores = {"survived": [9.0], "bad": [1.0], "good": [2.0]}
    board = make_board(scores, failed={"survived": 1}, metric="is", sort="is")

    assert order(board) == [CONTROL, (1, "good"), (2, "bad"), (3, "survived")]
    assert not cell(board, "survived", "is").leads


def test_an_overlapping_interval_of_survivors_does_not_lead() -> None:
    scores: Scores = {"best": [1.0, 1.2, 1.1], "survived": [1.1, 1.2], "near": [1.1, 1.3, 1.2]}
    board = make_board(scores, failed={"survived": 1})

    leaders = {row.entry.label for row in board.rows if row.cells["fd"].leads}

    assert leaders == {"best", "near"}


def test_where_every_row_has_failed_seeds_they_are_ranked_and_none_leads() -> None:
    board = make_board({"b": [2.0], "a": [1.0]}, failed={"a": 1, "b": 1})

    assert order(board) == [CONTROL, (1, "a"), (2, "b")]
    assert not any(row.cells["fd"].leads for row in board.rows)


def test_a_cost_does_not_depend_on_who_survived() -> None:
    board = make_board({"a": [2.0], "b": [1.0]}, failed={"b": 1}, sort="nfe")

    assert order(board) == [CONTROL, (1, "a"), (1, "b")]
    assert cell(board, "b", "nfe").leads


Judged = tuple[int | None, int, bool]  # value, lost seeds, whether seeds are still to come


def judged_rows(found: Sequence[Judged], column: Column) -> list[Row]:
    entry = Entry(kind=Entry.Kind.GENERATOR, experiment=Experiment(budget_images=1))
    rows = []
    for value, lost, to_come in found:
        seeds = () if value is None else (Seed(value, 0.0),)
        cell = Cell(value, seeds=seeds, seeds_lost=lost, provisional=to_come)
        rows.append(Row(entry, "direct", 1, 3, lost, {"fd": cell}, ()))
    return judged(rows, (column,))


FD = Column("fd", "FD", "", False, "quality", "")


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 5)), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_a_rank_is_one_more_than_the_number_of_complete_rows_ahead(found: list[Judged]) -> None:
    complete = [value for value, lost, to_come in found if not lost and not to_come]
    known = [value for value in complete if value is not None]
    survivors = [value for value, lost, _ in found if lost and value is not None]

    for row, (value, lost, to_come) in zip(judged_rows(found, FD), found, strict=True):
        cell = row.cells["fd"]
        if value is None:
            assert cell.rank is None and not cell.leads
        elif lost:
            assert cell.rank == 1 + len(known) + sum(v < value for v in survivors)
            assert (cell.rank_low, cell.rank_high, cell.leads) == (
                len(known) + 1,
                len(known) + len(survivors),
                False,
            )
        else:
            assert cell.rank == 1 + sum(v < value for v in known)
            assert cell.leads == (cell.rank == 1 and not to_come)
            assert cell.range == ("~" * to_come + str(cell.rank) if to_come else cell.range)


def test_who_may_be_any_of_several_ranks_has_their_range() -> None:
    close = {"a": [1.0, 1.2, 1.1], "b": [1.1, 1.3, 1.1], "c": [9.0, 9.1, 9.3]}

    board = make_board(close)

    assert [row.cells["fd"].range for row in board.rows[1:4]] == ["1–2", "1–2", "3"]
    assert [row.cells["fd"].leads for row in board.rows[1:4]] == [True, True, False]


def test_a_single_seed_without_an_error_has_a_rank_by_value_and_leads_nothing() -> None:
    board = make_board({"a": [1.0], "b": [2.0]})

    found = [cell(board, label) for label in "ab"]
    assert [(c.rank, c.rank_low, c.rank_high, c.leads) for c in found] == [
        (1, None, None, False),
        (2, None, None, False),
    ]


def test_single_seeds_are_told_apart_by_the_errors_of_their_images() -> None:
    board = make_board({"a": [known(1.0, 0.1)], "b": [known(1.2, 0.1)], "c": [known(9.0, 0.1)]})

    assert [cell(board, label).range for label in "abc"] == ["1–2", "1–2", "3"]


def known(value: float, error: float) -> dict[str, float]:
    """Return the fields of a value with a standard error and its interval."""
    half = 1.96 * error
    return {"value": value, "standard_error": error, "low": value - half, "high": value + half}


# --- controls -------------------------------------------------------------------------------


def score_controls(experiment: Experiment, **values: Value) -> None:
    """Give controls of an experiment, by kind, a distance."""
    for kind, value in values.items():
        entry = factories.control_of(experiment, kind)
        factories.make_scores(
            entry=entry, protocol=experiment.protocols.get(), values=[{"fd": value}]
        )


@pytest.mark.parametrize("sort", ["fd", "-fd", "nfe"])
def test_real_images_come_first_and_the_other_controls_after_what_is_missing(sort: str) -> None:
    experiment = scored({"bad": [9.0], "none": [None]})
    score_controls(experiment, test=1.0, copy=0.0, noise=99.0, blur=5.0)

    board = rank(experiment.protocols.get(), sort=sort)

    kinds = [row.control for row in board.rows]
    assert kinds == ["test", "", "", "copy", "noise", "blur"]
    assert [row.cells["fd"].rank for row in board.rows] == [None, 1, None, None, None, None]
    assert not any(row.cells["fd"].leads for row in board.rows if row.is_control)


def test_each_control_stands_once_on_the_board_of_several_experiments() -> None:
    protocol = factories.make_protocol()
    first, second, third = (factories.make_experiment(protocols=[protocol]) for _ in range(3))
    score_controls(third, test=3.0, copy=0.3)
    score_controls(second, test=2.0)

    found = {row.control: row for row in rank(protocol).rows if row.is_control}

    assert len(contenders(protocol)) == 3
    assert len(rank(protocol).rows) == 3 + 4
    assert (found["test"].experiment, found["test"].cells["fd"].value) == (third, 3.0)
    assert (found["copy"].experiment, found["copy"].cells["fd"].value) == (third, 0.3)
    assert found["noise"].experiment == first  # none is scored
    assert len(rank(protocol, experiment=second).rows) == 1 + 4


def test_the_control_is_first_and_unranked_even_when_it_is_worst() -> None:
    experiment = scored({"good": [1.0]})
    protocol = experiment.protocols.get()
    control = factories.control_of(experiment)
    factories.make_scores(entry=control, protocol=protocol, values=[{"fd": 50.0}])

    board = rank(protocol)

    assert order(board) == [CONTROL, (1, "good")]
    assert board.control is not None
    assert board.control.cells["fd"].value == 50.0
    assert not board.control.cells["fd"].leads


def test_controls_have_no_cost() -> None:
    board = rank(scored({"good": [1.0]}).protocols.get())

    for column in COSTS:
        reasons = {row.cells[column.key].reason for row in board.rows if row.is_control}
        assert reasons == {"no model draws these images"}


def test_failed_seeds_are_counted_and_never_dropped_from_the_total() -> None:
    experiment = factories.make_experiment(seeds=range(5))
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    factories.make_scores(
        entry=entry, protocol=protocol, values=[{"fd": 1.0}, {"fd": 2.0}, {"fd": 3.0}]
    )
    factories.make_run(entry=entry, seed=3, status=Status.FAILED)

    (row,) = contenders(protocol)

    assert (row.seeds_scored, row.seeds_total, row.seeds_failed) == (3, 5, 1)
    assert row.cells["fd"].value == 2.0


@pytest.mark.parametrize("end", [Status.FAILED, Status.CANCELLED])
def test_a_seed_whose_samples_or_evaluation_failed_or_was_cancelled_is_lost(end: Status) -> None:
    experiment = factories.make_experiment(seeds=range(3))
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    runs = [
        factories.make_run(entry=entry, seed=seed, status=Status.COMPLETED) for seed in range(3)
    ]
    factories.make_sample_set(run=runs[0], status=end)
    drawn = factories.make_sample_set(run=runs[1])
    factories.make_evaluation(sample_set=drawn, protocol=protocol, status=end)

    (row,) = contenders(protocol)

    assert (row.seeds_scored, row.seeds_total, row.seeds_failed) == (0, 3, 2)
    cell = row.cells["fd"]
    assert (cell.value, cell.reason, cell.seeds_lost) == (None, "not scored yet", 2)


def test_a_board_shows_the_mean_over_seeds_never_the_best() -> None:
    board = make_board({"a": [1.0, 2.0, 6.0]})

    mean = cell(board, "a")
    half = 4.302652729911275 * 7**0.5 / 3**0.5  # t of 2 degrees of freedom, variance 7
    assert mean.value == 3.0
    assert (mean.low, mean.high) == pytest.approx((0.0, 3.0 + half))  # FD cannot be negative
    assert mean.interval_of == "seeds"


def test_one_seed_has_the_interval_over_its_images() -> None:
    experiment = factories.make_experiment()
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    value = {"value": 4.0, "bias_corrected": 3.5, "low": 3.0, "high": 4.0}
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": value}])

    (row,) = contenders(protocol)
    found = row.cells["fd"]

    assert (found.value, found.plug_in) == (3.5, 4.0)
    assert (found.low, found.high, found.interval_of) == (3.0, 4.0, "images")


def test_undefined_seeds_are_named_beside_the_mean_of_the_others() -> None:
    board = make_board({"a": [1.0, None, 3.0]})

    found = cell(board, "a")

    assert found.value == 2.0
    assert found.reason == "1 of 3 seeds: not defined here"


def test_an_infinite_value_is_missing_not_first() -> None:
    board = make_board({"a": [math.inf], "b": [2.0]}, metric="is", sort="is")

    assert order(board) == [CONTROL, (1, "b"), (None, "a")]
    assert cell(board, "a", "is").reason == "not finite"


def test_costs_are_means_over_what_was_completed() -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    for seed, seconds in ((0, 10.0), (1, 20.0)):
        run = factories.make_run(
            entry=entry, seed=seed, status=Status.COMPLETED, device_seconds=seconds
        )
        factories.make_sample_set(run=run, images_per_second=seconds, nfe=50)

    (row,) = contenders(protocol)
    cells = row.cells

    assert cells["device_seconds"].value == 15.0
    assert cells["images_per_second"].value == 15.0
    assert cells["nfe"].value == 50.0
    assert cells["parameters"].value == 12345.0


def test_every_sampler_of_an_entry_has_a_row_of_its_own() -> None:
    samplers = [{"name": "ddim", "steps": 10}, {"name": "ddim", "steps": 50}]
    experiment = factories.make_experiment(
        entries=[{"algorithm": "diffusion.ddpm", "samplers": samplers}]
    )
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    for sampler, fd in zip(samplers, (5.0, 2.0), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, sampler=sampler, values=[{"fd": fd}])

    rows = contenders(protocol)

    assert [(row.sampler_label, row.cells["fd"].value) for row in rows] == [
        ("DDIM 50", 2.0),
        ("DDIM 10", 5.0),
    ]


def test_values_of_another_fingerprint_never_enter_a_board() -> None:
    dataset = factories.make_dataset()
    protocols = [factories.make_protocol(dataset=dataset) for _ in range(2)]
    experiment = factories.make_experiment(protocols=protocols)
    (entry,) = factories.contenders_of(experiment)
    for protocol, fd in zip(protocols, (1.0, 100.0), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd}])

    rows = [contenders(protocol)[0] for protocol in protocols]

    assert [row.cells["fd"].value for row in rows] == [1.0, 100.0]
    assert [row.seeds_scored for row in rows] == [1, 1]


def test_a_running_evaluation_shows_nothing_of_its_values() -> None:
    evaluation = factories.make_evaluation(status=Status.RUNNING)
    MetricValue.objects.create(evaluation=evaluation, metric="fd", value=1.0)

    (row,) = contenders(evaluation.protocol)

    assert (row.cells["fd"].value, row.cells["fd"].reason) == (None, "not scored yet")
    assert row.seeds_scored == 0


def test_a_board_holds_all_experiments_of_a_protocol_or_one() -> None:
    protocol = factories.make_protocol()
    first, second = (factories.make_experiment(protocols=[protocol]) for _ in range(2))

    assert {row.experiment for row in rank(protocol).rows} == {first, second}
    assert {row.experiment for row in rank(protocol, experiment=first).rows} == {first}


COMMON = ["fd", "kd", "is", "precision", "recall"]


def test_an_unknown_column_to_sort_by_is_refused() -> None:
    protocol = factories.make_protocol(metrics=COMMON)

    with pytest.raises(ValueError, match="column to sort by") as refused:
        rank(protocol, sort="-fid")

    assert str(refused.value) == (
        "expected a column to sort by (fd, kd, is, precision, recall, images_per_second, nfe, "
        "parameters, device_seconds, name, budget, device, date), got '-fid'"
    )


def labels_of(protocol: Protocol) -> Sequence[str]:
    return [f"{c.label} {c.arrow}" for c in columns_of(protocol) if c.corner != "cost"]


def test_only_inception_with_known_weights_is_called_fid() -> None:
    known = factories.make_protocol(
        extractor=INCEPTION, weights_sha256=INCEPTION_2015_SHA256, metrics=COMMON
    )
    own = factories.make_protocol(metrics=COMMON)

    assert labels_of(known) == ["FID ↓", "KID ↓", "IS ↑", "Precision ↑", "Recall ↑"]
    assert labels_of(own) == [
        "FD[classifier] ↓",
        "KD[classifier] ↓",
        "CS[classifier] ↑",
        "PR[classifier] precision ↑",
        "PR[classifier] recall ↑",
    ]


def test_nobody_leads_a_metric_of_memorisation_but_it_can_be_sorted_by() -> None:
    experiment = factories.make_experiment(
        protocols=[factories.make_protocol(metrics=["fd", "authenticity"])],
        algorithms=["gan.sngan", "vae.conv"],
    )
    protocol = experiment.protocols.get()
    for entry, value in zip(factories.contenders_of(experiment), (0.9, 0.6), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"authenticity": value}])

    board = rank(protocol, sort="authenticity")

    assert order(board) == [CONTROL, (1, "SNGAN"), (2, "Conv VAE")]
    assert not any(row.cells["authenticity"].leads for row in board.rows)


def test_columns_of_one_corner_stand_together_whatever_the_protocols_order() -> None:
    protocol = factories.make_protocol(metrics=["authenticity", "recall", "ct", "fd", "coverage"])

    corners = [column.corner for column in columns_of(protocol)]

    assert list(dict.fromkeys(corners)) == ["quality", "coverage", "memorisation", "cost"]
    assert corners == sorted(corners, key=CORNERS.index)


def test_where_the_best_is_a_number_the_nearest_to_it_is_first() -> None:
    experiment = factories.make_experiment(
        protocols=[factories.make_protocol(metrics=["fd", "ct"])],
        entries=[{"algorithm": "gan.sngan", "label": label} for label in "abc"],
    )
    protocol = experiment.protocols.get()
    for entry, value in zip(factories.contenders_of(experiment), (-9.0, 1.0, 2.0), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"ct": value}])

    board = rank(protocol, sort="ct")

    assert order(board) == [CONTROL, (1, "b"), (2, "c"), (3, "a")]
    (column,) = [column for column in board.columns if column.key == "ct"]
    assert (column.arrow, column.direction) == ("→ 0", "Nearer to 0 is better.")


def test_every_metric_of_the_protocol_has_a_cell_in_every_row() -> None:
    board = make_board({"a": [1.0]})

    keys = {*board.protocol.metrics, *(column.key for column in COSTS)}
    assert all(row.cells.keys() == keys for row in board.rows)


def test_the_number_of_queries_does_not_grow_with_the_board() -> None:
    small, large = scored({"a": [1.0]}), scored({c: [1.0, 2.0] for c in "abcdef"})

    counts = []
    for experiment in (small, large):
        protocol = experiment.protocols.get()
        with CaptureQueriesContext(connection) as queries:
            rank(protocol)
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("huge", [1e76, 1e200, 1.7e308, -1e200])
def test_a_number_beyond_all_measure_is_absent_and_the_board_stands(huge: float) -> None:
    experiment = scored({"a": [1.0, 2.0], "b": [huge, huge * 0.9], "c": [3.0, huge]})
    MetricValue.objects.filter(metric="fd", value=3.0).update(standard_error=abs(huge))

    board = rank(experiment.protocols.get())

    assert [cell(board, label).value for label in "abc"] == [1.5, None, 3.0]
    assert cell(board, "b").reason == "2 of 2 seeds: beyond 1e+70"
    assert cell(board, "c").seeds_lost == 1
    assert mean_interval([huge, huge])[0] == huge  # of losses, on pages that compare
