"""One card for a board: who leads each corner, and never a survivor while others are complete."""

import pytest

from catalog.models import Protocol
from experiments.models import Experiment
from jobs.models import Status
from leaderboards import highlights, ranking
from leaderboards.highlights import Leader
from tests import factories

pytestmark = pytest.mark.django_db


def make_experiment(*labels: str, seeds: int = 2) -> tuple[Experiment, Protocol]:
    experiment = factories.make_experiment(
        entries=[{"algorithm": "gan.sngan", "label": label} for label in labels],
        seeds=range(seeds),
    )
    return experiment, experiment.protocols.get()


def score(experiment: Experiment, label: str, fd: float, *, failed: bool = False) -> None:
    """Give an entry the same value for each of its seeds; with `failed` the last one failed."""
    entry = experiment.entries.get(label=label)
    *survivors, last = experiment.seeds
    seeds = survivors if failed else experiment.seeds
    values = [{"fd": fd, "recall": 1.0 / fd} for _ in seeds]
    factories.make_scores(entry=entry, protocol=experiment.protocols.get(), values=values)
    if failed:
        factories.make_run(entry=entry, seed=last, status=Status.FAILED)


def leaders(protocol: Protocol) -> dict[str, Leader]:
    found = highlights.highlight(ranking.rank(protocol)).leaders
    return {leader.corner: leader for leader in found}


def test_a_row_with_failed_seeds_leads_no_corner_while_another_is_complete() -> None:
    experiment, protocol = make_experiment("survived", "whole")
    score(experiment, "survived", 1.0, failed=True)
    score(experiment, "whole", 5.0)
    entry = experiment.entries.get(label="survived")
    entry.sample_sets.update(images_per_second=1e6)

    found = leaders(protocol)

    assert found.keys() == {"Quality", "Coverage", "Speed"}
    assert {leader.row.entry.label for leader in found.values()} == {"whole"}
    assert {leader.tied for leader in found.values()} == {0}


def test_where_nobody_is_complete_the_best_of_the_survivors_is_shown() -> None:
    experiment, protocol = make_experiment("worse", "better")
    score(experiment, "worse", 5.0, failed=True)
    score(experiment, "better", 1.0, failed=True)

    quality = leaders(protocol)["Quality"]

    assert (quality.row.entry.label, quality.text, quality.tied) == ("better", "1.00", 0)
    assert (quality.row.seeds_scored, quality.row.seeds_total) == (1, 2)


def test_rows_of_equal_value_are_tied() -> None:
    experiment, protocol = make_experiment("a", "b", "c", "d")
    for label, fd in {"a": 2.0, "b": 2.0, "c": 3.0}.items():
        score(experiment, label, fd)
    score(experiment, "d", 2.0, failed=True)

    found = leaders(protocol)

    assert (found["Quality"].row.entry.label, found["Quality"].tied) == ("a", 1)
    assert found["Speed"].tied == 2  # d is as fast, too, but lost a seed


def test_a_board_without_values_has_no_leader() -> None:
    _, protocol = make_experiment("a")

    assert leaders(protocol) == {}


def test_a_distance_corrected_below_zero_leads_with_zero() -> None:
    experiment, protocol = make_experiment("a", seeds=1)
    value = {"value": 0.9, "bias_corrected": -0.5, "low": 0.0, "high": 0.4}
    entry = experiment.entries.get(label="a")
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": value}])

    assert leaders(protocol)["Quality"].text == "0.0"
