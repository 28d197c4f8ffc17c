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
from leaderboards.ranking import _ranked as ranked, rank
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
    assert [row.entry.label for row in board.rows if row.cells["fd"].leads] == ["good"]


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
    scores: Scores = {"best": [1.0, 1.2], "survived": [1.1, 1.2], "near": [1.1, 1.3]}
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


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 5)), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    )
)
def test_a_rank_is_one_more_than_the_number_of_rows_ahead(
    pairs: list[tuple[int | None, int]],
) -> None:
    column = Column("fd", "FD", "", False, "quality", "")
    entry = Entry(kind=Entry.Kind.GENERATOR)
    rows = [Row(entry, "direct", 1, 3, lost, {"fd": Cell(value)}, ()) for value, lost in pairs]

    for row, (value, lost) in zip(ranked(rows, column), pairs, strict=True):
        present = [(other_lost > 0, v) for v, other_lost in pairs if v is not None]
        ahead = sum(place < (lost > 0, value) for place in present if value is not None)
        assert row.cells["fd"].rank == (None if value is None else ahead + 1)
        assert row.cells["fd"].leads == (value is not None and ahead == 0 and not lost)


# --- nearer to the reference than unseen real images ----------------------------------------


def marked(control: Value, contender: Value, *, metric: str = "fd") -> bool:
    """Return whether the contender's cell is marked beside a control of this value."""
    experiment = scored({"a": [contender]}, metric=metric)
    protocol = experiment.protocols.get()
    factories.make_scores(
        entry=factories.control_of(experiment), protocol=protocol, values=[{metric: control}]
    )
    board = rank(protocol)
    assert board.control is not None and not board.control.cells[metric].beats_control
    return cell(board, "a", metric).beats_control


def corrected(value: float, half: float = 0.0) -> dict[str, float]:
    low, high = value - half, value + half
    return {"value": 2.0, "bias_corrected": value, "low": low, "high": high}


@pytest.mark.parametrize("metric", ["fd", "kd"])
def test_a_distance_below_the_controls_is_marked(metric: str) -> None:
    assert marked(0.5, 0.4, metric=metric)
    assert not marked(0.5, 0.5, metric=metric)
    assert not marked(0.5, 0.6, metric=metric)


def test_what_is_shown_is_compared_not_the_plug_in_estimate() -> None:
    assert marked(corrected(0.5), corrected(0.4))
    assert not marked(corrected(0.4), corrected(0.5))


def test_overlapping_intervals_do_not_take_the_mark_away() -> None:
    assert marked(corrected(0.5, 0.3), corrected(0.4, 0.3))


def test_two_distances_that_are_both_shown_as_zero_are_not_apart() -> None:
    assert not marked(corrected(-0.1), corrected(-0.2))
    assert marked(corrected(0.1), corrected(-0.2))


@pytest.mark.parametrize("metric", ["is", "precision", "recall"])
def test_only_distances_to_the_reference_are_marked(metric: str) -> None:
    assert not marked(0.5, 0.4, metric=metric)
    assert not marked(0.5, 0.6, metric=metric)


def test_without_a_value_of_control_or_contender_nothing_is_marked() -> None:
    assert not marked(None, 0.4)
    assert not marked(0.5, None)


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


def test_every_experiment_is_compared_with_the_one_control_of_the_board() -> None:
    protocol = factories.make_protocol()
    for control in (0.5, 0.1):
        experiment = factories.make_experiment(protocols=[protocol])
        score_controls(experiment, test=control)
        (entry,) = factories.contenders_of(experiment)
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 0.4}])

    assert [row.cells["fd"].beats_control for row in contenders(protocol)] == [True, True]
    own = [row for row in rank(protocol, experiment=experiment).rows if not row.is_control]
    assert [row.cells["fd"].beats_control for row in own] == [False]


def test_a_training_copy_is_marked_by_its_distance_and_noise_is_not() -> None:
    experiment = scored({"a": [2.0]})
    score_controls(experiment, test=1.0, copy=0.25, noise=99.0, blur=5.0)

    rows = rank(experiment.protocols.get()).rows

    assert [row.control for row in rows if row.cells["fd"].beats_control] == ["copy"]


# --- nearer to single training images -------------------------------------------------------


def around(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def test_an_authenticity_wholly_below_the_controls_is_marked() -> None:
    assert copied(around(0.6, 0.1), around(0.3, 0.1))
    assert not copied(around(0.6, 0.1), around(0.5, 0.1))
    assert not copied(around(0.6, 0.1), around(0.9, 0.05))
    assert not copied(around(0.6, 0.1), around(0.6, 0.1))


def test_without_both_intervals_nothing_is_called_a_copy() -> None:
    assert not copied(around(0.6, 0.1), 0.0)
    assert not copied(0.6, around(0.1, 0.05))
    assert not copied(around(0.6, 0.1), None)


def copied(control: Value, contender: Value) -> bool:
    """Return whether an authenticity is marked beside the control's of this value."""
    experiment = factories.make_experiment(
        protocols=[factories.make_protocol(metrics=["fd", "authenticity"])]
    )
    protocol = experiment.protocols.get()
    entries = (factories.control_of(experiment), *factories.contenders_of(experiment))
    for entry, value in zip(entries, (control, contender), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"authenticity": value}])
    board = rank(protocol)
    assert board.control is not None and not board.control.cells["authenticity"].near_training
    return row_of(board, "SNGAN").cells["authenticity"].near_training


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=12))
def test_a_rank_is_one_more_than_the_number_of_better_values(values: list[int | None]) -> None:
    column = Column("fd", "FD", "", False, "quality", "")
    entry = Entry(kind=Entry.Kind.GENERATOR)
    rows = [Row(entry, "direct", 1, 1, 0, {"fd": Cell(value)}, ()) for value in values]

    for row, value in zip(ranked(rows, column), values, strict=True):
        better = sum(v is not None and value is not None and v < value for v in values)
        assert row.cells["fd"].rank == (None if value is None else better + 1)


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
        missing = Cell(None, reason="no model draws these images")
        assert {row.cells[column.key] for row in board.rows if row.is_control} == {missing}


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


def test_a_seed_whose_samples_or_evaluation_failed_is_a_failed_seed() -> None:
    experiment = factories.make_experiment(seeds=range(3))
    protocol = experiment.protocols.get()
    (entry,) = factories.contenders_of(experiment)
    runs = [
        factories.make_run(entry=entry, seed=seed, status=Status.COMPLETED) for seed in range(3)
    ]
    factories.make_sample_set(run=runs[0], status=Status.FAILED)
    drawn = factories.make_sample_set(run=runs[1])
    factories.make_evaluation(sample_set=drawn, protocol=protocol, status=Status.FAILED)

    (row,) = contenders(protocol)

    assert (row.seeds_scored, row.seeds_total, row.seeds_failed) == (0, 3, 2)
    assert row.cells["fd"] == Cell(None, reason="not scored yet")


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


def test_who_leads_is_the_best_and_all_whose_interval_overlaps_its_own() -> None:
    board = make_board({"best": [1.0, 1.2], "near": [1.1, 1.3], "far": [9.0, 9.1]})

    leaders = {row.entry.label for row in board.rows if row.cells["fd"].leads}

    assert leaders == {"best", "near"}


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

    assert row.cells["fd"] == Cell(None, reason="not scored yet")
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
        "parameters, device_seconds), got '-fid'"
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
