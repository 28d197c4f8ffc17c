"""Marks of copies: tests against unseen real images, which rarely accuse the innocent."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from catalog.models import Protocol
from experiments.models import Experiment, MetricValue
from leaderboards.board import Board
from leaderboards.marks import LEVEL, rejected
from leaderboards.ranking import rank
from tests import factories
from tests.leaderboards.simulation import most
from tests.leaderboards.test_ranking import Value, cell, contenders, known, score_controls, scored

pytestmark = pytest.mark.django_db

METRICS = ["fd", "kd", "is", "precision", "authenticity", "copies", "ct"]


def board_of(control: Value, *contender: Value, metric: str = "fd") -> Board:
    """Return the board of one entry, a value for each seed, beside a control of this value."""
    protocol = factories.make_protocol(metrics=METRICS)
    experiment = factories.make_experiment(
        protocols=[protocol],
        entries=[{"algorithm": "gan.sngan", "label": "a"}],
        seeds=range(len(contender)),
    )
    (entry,) = factories.contenders_of(experiment)
    values = [{metric: value} for value in contender]
    factories.make_scores(entry=entry, protocol=protocol, values=values)
    factories.make_scores(
        entry=factories.control_of(experiment), protocol=protocol, values=[{metric: control}]
    )
    return rank(protocol)


def marked(control: Value, *contender: Value, metric: str = "fd") -> bool:
    """Return whether the contender's cell is marked, and the control's is not."""
    board = board_of(control, *contender, metric=metric)
    assert board.control is not None
    real, found = board.control.cells[metric], cell(board, "a", metric)
    assert not real.beats_control and not real.near_training
    return found.beats_control or found.near_training


@pytest.mark.parametrize("metric", ["fd", "kd", "authenticity"])
def test_a_value_is_marked_that_lies_below_the_controls_by_more_than_both_errors(
    metric: str,
) -> None:
    assert marked(known(0.5, 0.02), known(0.4, 0.02), metric=metric)
    assert not marked(known(0.5, 0.02), known(0.5, 0.02), metric=metric)
    assert not marked(known(0.5, 0.02), known(0.6, 0.02), metric=metric)


def test_the_controls_own_error_counts() -> None:
    assert marked(known(0.5, 0.001), known(0.4, 0.04))
    assert not marked(known(0.5, 0.2), known(0.4, 0.04))


def test_more_seeds_find_more_however_much_they_differ() -> None:
    seeds = [known(value, 0.04) for value in (0.46, 0.45, 0.46, 0.45)]

    assert not marked(known(0.5, 0.01), seeds[0])
    assert not marked(known(0.5, 0.01), *seeds[:2])
    assert marked(known(0.5, 0.01), *seeds)


def test_without_both_errors_nothing_is_accused() -> None:
    assert not marked(known(0.5, 0.01), 0.1)
    assert not marked(0.5, known(0.1, 0.01))
    assert not marked(known(0.5, 0.01), known(0.1, 0.01), 0.1)
    assert not marked(None, known(0.4, 0.01))
    assert not marked(known(0.5, 0.01), None)


def test_what_is_shown_is_compared_not_the_plug_in_estimate() -> None:
    def corrected(value: float) -> dict[str, float]:
        return {"value": 2.0, "bias_corrected": value, "standard_error": 0.01}

    assert marked(corrected(0.5), corrected(0.4))
    assert not marked(corrected(0.4), corrected(0.5))
    assert not marked(corrected(-0.1), corrected(-0.2))  # both are shown as 0


@pytest.mark.parametrize("metric", ["is", "precision"])
def test_only_distances_and_what_speaks_of_copies_is_marked(metric: str) -> None:
    assert not marked(known(0.5, 0.01), known(0.1, 0.01), metric=metric)


def test_every_experiment_is_compared_with_the_one_control_of_the_board() -> None:
    protocol = factories.make_protocol()
    for control in (0.5, 0.1):
        experiment = factories.make_experiment(protocols=[protocol])
        score_controls(experiment, test=known(control, 0.01))
        (entry,) = factories.contenders_of(experiment)
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": known(0.4, 0.01)}])

    assert [row.cells["fd"].beats_control for row in contenders(protocol)] == [True, True]
    own = [row for row in rank(protocol, experiment=experiment).rows if not row.is_control]
    assert [row.cells["fd"].beats_control for row in own] == [False]


def test_a_training_copy_is_marked_by_its_distance_and_noise_is_not() -> None:
    experiment = scored({"a": [known(2.0, 0.1)]})
    controls = {"test": 1.0, "copy": 0.25, "noise": 99.0, "blur": 5.0}
    score_controls(experiment, **{name: known(value, 0.1) for name, value in controls.items()})

    rows = rank(experiment.protocols.get()).rows

    assert [row.control for row in rows if row.cells["fd"].beats_control] == ["copy"]


# --- one error for a whole board ------------------------------------------------------------


def test_the_least_p_value_is_held_against_the_number_of_tests() -> None:
    def places(*values: float) -> dict[tuple[int, str], float]:
        return {(at, "fd"): p for at, p in enumerate(values)}

    assert rejected(places(0.04)) == {(0, "fd")}
    assert rejected(places(0.04, 0.9)) == set()
    assert rejected(places(0.9, 0.001, 0.04)) == {(1, "fd")}
    assert rejected(places(0.9, 0.001, 0.02)) == {(1, "fd"), (2, "fd")}
    assert rejected({}) == set()


@given(st.lists(st.sampled_from([0.0, 1e-15, 0.001, 0.02, LEVEL, 0.06, 1.0]) | st.floats(0, 1)))
def test_only_what_holm_rejects_is_rejected(values: list[float]) -> None:
    ordered = sorted(values)
    passed = [p <= LEVEL / (len(values) - at) for at, p in enumerate(ordered)]
    least = ordered[: passed.index(False)] if False in passed else ordered

    found = rejected({(at, "fd"): p for at, p in enumerate(values)})

    assert sorted(values[at] for at, _ in found) == least


@pytest.mark.slow
def test_few_boards_of_ideal_models_accuse_any_of_them() -> None:
    """Twenty rows and three metrics, none nearer than real images: at most 5 % of boards."""
    experiment = ideal_experiment()
    protocol = experiment.protocols.get()
    rng = np.random.default_rng(0)
    boards, accused = 60, 0
    for _ in range(boards):
        draw_again(protocol, rng)
        found = rank(protocol).rows
        accused += any(
            c.beats_control or c.near_training for row in found for c in row.cells.values()
        )
    assert accused <= boards * most(LEVEL, boards)


def ideal_experiment() -> Experiment:
    protocol = factories.make_protocol(metrics=["fd", "kd", "authenticity"])
    experiment = factories.make_experiment(
        protocols=[protocol],
        entries=[{"algorithm": "gan.sngan", "label": f"ideal {n}"} for n in range(20)],
    )
    entries = [factories.control_of(experiment), *factories.contenders_of(experiment)]
    for entry in entries:
        values = {name: known(1.0, 0.1) for name in protocol.metrics}
        factories.make_scores(entry=entry, protocol=protocol, values=[values])
    return experiment


def draw_again(protocol: Protocol, rng: np.random.Generator) -> None:
    """Give every value of the protocol anew the true value and an error."""
    values = list(MetricValue.objects.filter(evaluation__protocol=protocol))
    for value in values:
        value.value = 1.0 + 0.1 * rng.standard_normal()
    MetricValue.objects.bulk_update(values, ["value"])


# --- counts of copies and C_T -------------------------------------------------------------------


def counted(below: int) -> dict[str, Any]:
    details = {"generated": 1000, "below": below, "held_out": 1000, "rank": 10}
    return {"value": below / 1000, "details": details}


def nearness(value: float) -> dict[str, Any]:
    details = {"null_variance_generated": 0.18, "null_variance_held_out": 0.18}  # 0.6 together
    return {"value": value, "standard_error": 0.6, "details": details}


def test_more_copies_than_chance_finds_are_marked() -> None:
    assert marked(counted(10), counted(109), metric="copies")
    assert not marked(counted(10), counted(12), metric="copies")
    assert not marked(counted(10), counted(25), metric="copies")  # as of a single class alone


def test_counts_of_seeds_add_up() -> None:
    details = {"generated": 50, "below": 2, "held_out": 1000, "rank": 10}
    few: dict[str, Any] = {"value": 0.04, "details": details}

    assert not marked(counted(10), few, metric="copies")
    assert marked(counted(10), *[few] * 4, metric="copies")


def test_a_c_t_far_below_0_is_marked_by_its_own_standard_deviation() -> None:
    assert marked(0.0, nearness(-1.8), metric="ct")  # three standard deviations, not 1.8
    assert not marked(0.0, nearness(-0.9), metric="ct")
    assert not marked(0.0, nearness(5.0), metric="ct")


def test_values_of_before_that_say_less_are_not_tested() -> None:
    assert not marked(0.0, -9.0, metric="ct")
    assert not marked(0.01, 0.5, metric="copies")
