"""Entries that differ by the values of options, submitted as one."""

from typing import Any

import pytest

from experiments.models import Experiment
from experiments.services import submit_data
from experiments.submission.grids import read_values
from experiments.submission.plain import read_yaml
from experiments.submission.record import record_of
from experiments.submission.specification import SpecificationError
from tests import factories


def submission(*entries: dict[str, Any]) -> dict[str, Any]:
    return factories.experiment_data(protocol=factories.make_protocol(), entries=list(entries))


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("1, 2, 4", ["1", "2", "4"]),
        ("1..8 step 3", [1, 4, 7]),
        ("2..4", [2, 3, 4]),
        ("0..0.3 step 0.1", [0, 0.1, 0.2, 0.3]),
        ("1e-4..1e-2 log 5", [0.0001, 0.000316228, 0.001, 0.00316228, 0.01]),
        ("1..8 log 4", [1, 2, 4, 8]),
        ([1, 4], [1, 4]),
        (3, [3]),
    ],
)
def test_a_list_and_a_range_are_values(given: Any, values: list[Any]) -> None:
    assert read_values(given) == values


@pytest.mark.parametrize(
    "given", ["", "1,,2", [], [[1]], None, "8..1", "a..b", "1..8 step 0", "0..1 log 3", "1..9 x 2"]
)
def test_what_is_no_list_and_no_range_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_values(given)


@pytest.mark.django_db
def test_a_grid_in_yaml_is_the_entries_written_one_by_one() -> None:
    grid = read_yaml("{variant: [beta], beta: [1, 4], latent_dim: 8..16 step 8}")
    entry = {"algorithm": "vae.conv", "label": "VAE", "preset": "tiny"}
    data = submission({**entry, "grid": grid}, {"algorithm": "gan.sngan"})

    made = submit_data(data, user=None)

    one_by_one = [
        {
            **entry,
            "label": f"VAE beta={beta}, latent_dim={dim}",
            "config": {"variant": "beta", "beta": beta, "latent_dim": dim},
        }
        for beta in (1, 4)
        for dim in (8, 16)
    ]
    plain = {**data, "name": "plain", "entries": [*one_by_one, {"algorithm": "gan.sngan"}]}
    again = submit_data(plain, user=None)
    assert record_of(made)["entries"] == record_of(again)["entries"]
    assert len(record_of(made)["entries"]) == 5


@pytest.mark.django_db
def test_what_is_wrong_with_a_grid_is_said_at_it() -> None:
    def refusal(*entries: dict[str, Any]) -> dict[str, str]:
        with pytest.raises(SpecificationError) as caught:
            submit_data(submission({"algorithm": "gan.sngan"}, *entries), user=None)
        assert not Experiment.objects.exists()
        return caught.value.errors

    def vae(**changes: Any) -> dict[str, Any]:
        return {"algorithm": "vae.conv", **changes}

    assert refusal(vae(grid={"beta": [1, "x"]})) == {
        "entries.1.grid.beta": "expected a number in 0..1000, got 'x'"
    }
    assert set(refusal(vae(grid={"betta": [1, 2]}))) == {"entries.1.grid.betta"}
    assert set(refusal(vae(grid={"beta": "4..1"}))) == {"entries.1.grid.beta"}
    assert set(refusal(vae(grid={"beta": [1, 2]}, config={"beta": 3}))) == {"entries.1.grid.beta"}
    assert refusal(vae(grid={"beta": "1..8", "latent_dim": "8..16 step 1"}))["entries.1.grid"] == (
        "makes 72 entries, expected at most 50"
    )
    several = [vae(label=str(i), grid={"beta": "1..30"}) for i in range(2)]
    assert refusal(*several) == {"entries": "their grids and searches make 61, expected at most 50"}
