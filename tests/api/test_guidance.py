"""The guidance curve over REST."""

import pytest
from rest_framework.test import APIClient

from experiments.models import Experiment
from leaderboards import guidance
from tests import factories
from tests.web import scenes


@pytest.fixture
def experiment(db: None) -> Experiment:
    return scenes.guided_comparison(seeds=2)


def address(experiment: Experiment) -> str:
    return f"/api/leaderboards/{experiment.protocols.get().fingerprint}/guidance/"


def test_anyone_reads_the_numbers_of_the_chart(anyone: APIClient, experiment: Experiment) -> None:
    answer = anyone.get(address(experiment), {"experiment": experiment.pk}).json()

    chart = guidance.chart(experiment.protocols.get(), experiment=experiment)
    assert chart is not None and answer == guidance.to_dict(chart)
    assert (answer["following"]["key"], answer["diversity"]["key"]) == ("following", "prompt_vendi")
    (curve,) = (each for each in answer["curves"] if len(each["points"]) > 1)
    assert [point["guidance"] for point in curve["points"]] == [0, 1, 2, 4]
    assert [point["following"]["value"] for point in curve["points"]] == [0.11, 0.52, 0.71, 0.79]
    assert {point["seeds_scored"] for point in curve["points"]} == {2}


def test_an_attribute_is_chosen_and_what_nobody_measures_is_refused(
    anyone: APIClient, experiment: Experiment
) -> None:
    colour = anyone.get(address(experiment), {"following": "following_colour"})
    wrong = anyone.get(address(experiment), {"following": "fd"})
    other = anyone.get(address(experiment), {"experiment": factories.make_experiment().pk})

    assert colour.json()["following"]["key"] == "following_colour"
    assert wrong.status_code == other.status_code == 400
    assert wrong.json()["errors"]["following"].startswith("expected a metric of following (foll")
    assert "on this board" in other.json()["errors"]["experiment"]


def test_a_protocol_without_claims_has_none(anyone: APIClient, db: None) -> None:
    answer = anyone.get(f"/api/leaderboards/{factories.make_protocol().fingerprint}/guidance/")

    assert answer.status_code == 404
    assert "measures no following" in answer.json()["detail"]
