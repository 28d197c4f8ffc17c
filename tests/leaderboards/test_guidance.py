"""The guidance curve: what is joined, in which order, and what stands alone."""

import pytest

from experiments.models import Experiment
from leaderboards import guidance
from tests import factories
from tests.web import scenes

pytestmark = pytest.mark.django_db


def chart(experiment: Experiment, following: str = "") -> guidance.Chart:
    found = guidance.chart(experiment.protocols.get(), experiment=experiment, following=following)
    assert found is not None
    return found


def names(found: guidance.Chart) -> dict[str, list[str]]:
    return {curve.label: [point.name for point in curve.points] for curve in found.curves}


def test_scales_of_one_model_are_joined_in_their_order_and_others_stand_alone() -> None:
    found = chart(scenes.guided_comparison())

    assert names(found) == {
        "SNGAN": ["SNGAN"],
        "Conv VAE": ["Conv VAE"],
        "Flow matching, Euler 16": ["w=0", "w=1", "w=2", "w=4"],
        "Real scenes for the prompts": ["ceiling"],
        "Real scenes for other prompts": ["floor"],
    }
    (curve,) = (curve for curve in found.curves if len(curve.points) > 1)
    assert [point.following.value for point in curve.points] == [0.11, 0.52, 0.71, 0.79]
    assert [point.diversity.value for point in curve.points] == [1.9, 1.7, 1.5, 1.2]


def test_samplers_that_differ_in_more_than_guidance_are_not_joined() -> None:
    samplers = [
        {"name": "euler", "steps": 16, "guidance": [4, 0.5]},
        {"name": "euler", "steps": 8, "guidance": 4},
        {"name": "heun", "steps": 16, "guidance": 4},
    ]
    entry = {
        "algorithm": "diffusion.flow",
        "config": {"label_dropout": 0.1},
        "label": "Flow",
        "samplers": samplers,
    }
    experiment = factories.make_scenes_experiment(entries=[entry, entry | {"label": "Other"}])

    found = names(chart(experiment))

    assert [labels for label, labels in found.items() if label.startswith("Flow")] == [
        ["w=0.5", "w=4"],
        ["w=4"],
        ["w=4"],
    ]
    assert list(found)[:3] == ["Flow, Euler 16", "Flow, Euler 8", "Flow, Heun 16"]
    assert found["Other, Euler 16"] == ["w=0.5", "w=4"]


def test_a_chosen_attribute_takes_the_place_of_all_together() -> None:
    experiment = scenes.guided_comparison()

    found = chart(experiment, "following_colour")

    assert found.following.key == "following_colour"
    (gan,) = (curve for curve in found.curves if curve.label == "SNGAN")
    assert gan.points[0].following.value == pytest.approx(0.56)
    offered = [column.key for column in guidance.choices(experiment.protocols.get())]
    assert offered[0] == "following" and "following_colour" in offered
    with pytest.raises(ValueError, match=r"expected a metric of following .*got 'fd'"):
        chart(experiment, "fd")


def test_without_values_there_are_points_with_reasons_and_nothing_to_draw() -> None:
    found = chart(factories.make_scenes_experiment())

    assert not found.is_drawn
    point = guidance.to_dict(found)["curves"][0]["points"][0]
    assert point["following"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "not scored yet",
    }


def test_a_protocol_that_asks_nothing_has_no_curve() -> None:
    assert guidance.chart(factories.make_protocol()) is None
    prompts_alone = factories.make_asked_experiment().protocols.get()
    assert guidance.chart(prompts_alone) is None  # nothing of them can be checked
