"""Samplers at several guidance scales, submitted as one."""

from typing import Any

import pytest
from django.http import QueryDict

from experiments.models import Experiment
from experiments.services import submit_data, submit_once
from experiments.submission.plain import read_yaml
from experiments.submission.specification import MAX_SAMPLERS, SpecificationError
from tests import factories
from web.submit.draft import to_data
from web.submit.fields import EntryPart
from web.submit.filling import begun

pytestmark = pytest.mark.django_db
GUIDED = {"label_dropout": 0.1}


def submitted(*samplers: Any, algorithm: str = "diffusion.flow", **changes: Any) -> dict[str, Any]:
    entry = {"algorithm": algorithm, "config": GUIDED, "samplers": list(samplers), **changes}
    return factories.experiment_data(protocol=factories.make_protocol(), entries=[entry])


def labels(data: dict[str, Any]) -> list[str]:
    (entry,) = factories.contenders_of(submit_data(data, user=None))
    return entry.sampler_labels


def refusal(data: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SpecificationError) as caught:
        submit_data(data, user=None)
    assert not Experiment.objects.exists()
    return caught.value.errors


def test_one_sampler_with_several_scales_is_one_at_each_of_them() -> None:
    many = {"name": "euler", "steps": 16, "guidance": [0, 1, 2, 4.5]}

    assert labels(submitted(many, {"name": "heun"})) == [
        *("Euler 16 w=0", "Euler 16", "Euler 16 w=2", "Euler 16 w=4.5"),
        "Heun 25",
    ]


def test_yaml_and_the_form_say_the_same() -> None:
    written = read_yaml("- {name: euler, steps: 16, guidance: [0, 1, 2.5]}")
    sent = {"name": "euler", "steps": "16", "guidance": "0,1,2.5"}
    draft = begun(QueryDict("entry=diffusion.flow")) | {"protocols": []}
    draft["entries"][0]["samplers"] = [sent]
    (entry,) = to_data(draft)["entries"]

    for samplers in (entry["samplers"], written):
        assert labels(submitted(*samplers)) == ["Euler 16 w=0", "Euler 16", "Euler 16 w=2.5"]


def test_the_same_submission_again_is_the_same_experiment() -> None:
    data = submitted({"name": "euler", "guidance": [1, 2]})

    first, is_new = submit_once(data, user=None)
    again, is_new_again = submit_once(data, user=None)

    assert (first, is_new, is_new_again) == (again, True, False)


def test_a_scale_that_is_there_twice_is_refused_at_the_sampler_as_it_was_given() -> None:
    again = submitted({"name": "heun"}, {"name": "euler", "guidance": [2, 1, 2.0]})

    assert refusal(again) == {"entries.0.samplers.1": "Euler 50 w=2 is there already"}


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([0, 31], "expected a number in 0..30, got 31"),
        ([1, "x"], "expected a number in 0..30, got 'x'"),
        ([1, [2]], "expected a number in 0..30, got [2]"),
        ([], "expected a number in 0..30, got []"),
        ("1, 2", "expected a number in 0..30, got '1, 2'"),
    ],
)
def test_a_wrong_scale_is_refused_at_its_field(scales: Any, message: str) -> None:
    data = submitted({"name": "heun"}, {"name": "euler", "guidance": scales})

    assert refusal(data) == {"entries.0.samplers.1.guidance": message}


def test_a_model_that_knows_no_guidance_is_refused_at_the_sampler_as_it_was_given() -> None:
    unconditional = factories.make_protocol(dataset=factories.make_dataset(classes=()))
    many = {"name": "euler", "guidance": [1, 2]}
    entry = {"algorithm": "diffusion.flow", "samplers": [many, {"name": "heun", "guidance": 3}]}
    data = factories.experiment_data(protocol=unconditional, entries=[entry | {"config": GUIDED}])

    assert refusal(data).keys() == {
        "entries.0.samplers.0.guidance",
        "entries.0.samplers.1.guidance",
    }
    gan = submitted({"guidance": [1, 2]}, algorithm="gan.sngan", config={})
    assert refusal(gan).keys() == {"entries.0.samplers.0.guidance"}


def test_scales_count_as_samplers() -> None:
    most = [scale / 2 for scale in range(MAX_SAMPLERS)]

    assert refusal(submitted({"name": "euler", "guidance": [*most, 30]})) == {
        "entries.0.samplers": "expected a list of 1 to 20 samplers, each guidance scale is one"
    }
    assert len(labels(submitted({"name": "euler", "guidance": most}))) == MAX_SAMPLERS


def test_the_form_says_how_several_scales_are_typed_where_there_is_guidance() -> None:
    def said(algorithm: str) -> dict[str, str]:
        (entry,) = begun(QueryDict(f"entry={algorithm}"))["entries"]
        (row,) = EntryPart(0, entry, {}, objectives=(), is_open=True).samplers
        return {field.path.rpartition(".")[2]: field.about for field in row.fields}

    assert "0, 1, 2, 4 draws at each of these scales" in said("diffusion.flow")["guidance"]
    assert "guidance" not in said("gan.sngan")
