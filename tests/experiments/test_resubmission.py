"""Submitting a file again: the same experiment is found, another one under its name is refused."""

from typing import Any

import pytest

from catalog.models import Protocol
from experiments import services
from experiments.models import Experiment
from experiments.submission.specification import SpecificationError
from tests import factories


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol(dataset=factories.make_dataset(slug="digits"))


def data(protocol: Protocol, **changes: Any) -> dict[str, Any]:
    entries = [
        {"algorithm": "vae.conv", "label": "VAE", "config": {"latent_dim": 8}},
        {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 10}]},
    ]
    ours = {"name": "ours", "seeds": [0, 1], "entries": entries, **changes}
    return factories.experiment_data(protocol=protocol, **ours)


def test_the_same_specification_is_found_however_it_is_written(protocol: Protocol) -> None:
    first, is_new = services.submit_once(data(protocol), user=None)
    assert is_new

    again, is_new = services.submit_once(
        data(
            protocol,
            seeds=2,
            protocols=[protocol.name],
            entries=[
                {"algorithm": "vae.conv", "label": "VAE", "config": {"latent_dim": "8"}},
                {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 1e1}]},
            ],
        ),
        user=None,
    )

    assert (again, is_new) == (first, False)
    assert Experiment.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"memory_gb": 24}, {"memory_gb": "0 when it was submitted, 24 now"}),
        ({"seeds": 3}, {"seeds": "[0, 1] when it was submitted, [0, 1, 2] now"}),
        (
            {"budget": {"device_seconds": 60}},
            {"budget": "1,000 images seen when it was submitted, 60 device-seconds now"},
        ),
        (
            {"entries": [{"algorithm": "vae.conv", "label": "VAE"}]},
            {"entries": "['VAE', 'DDPM'] when it was submitted, ['VAE'] now"},
        ),
        (
            {
                "entries": [
                    {"algorithm": "vae.conv", "label": "VAE", "config": {"beta": 4}},
                    {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 10}]},
                ]
            },
            {
                "entries.0.config.latent_dim": "8 when it was submitted, 0 now",
                "entries.0.config.beta": "1.0 when it was submitted, 4.0 now",
            },
        ),
    ],
    ids=["memory", "seeds", "budget", "entries", "config"],
)
def test_another_specification_under_the_name_is_refused_with_what_differs(
    protocol: Protocol, changes: dict[str, Any], errors: dict[str, str]
) -> None:
    services.submit_once(data(protocol), user=None)

    with pytest.raises(SpecificationError) as refused:
        services.submit_once(data(protocol, **changes), user=None)

    assert refused.value.errors == {"name": "another experiment is named 'ours'", **errors}
    assert Experiment.objects.count() == 1


def test_other_samplers_are_named(protocol: Protocol) -> None:
    services.submit_once(data(protocol), user=None)
    entries = [*data(protocol)["entries"][:1], {"algorithm": "diffusion.ddpm"}]

    with pytest.raises(SpecificationError) as refused:
        services.submit_once(data(protocol, entries=entries), user=None)

    assert refused.value.errors.keys() == {"name", "entries.1.samplers"}


def test_a_protocol_is_known_by_its_name_where_only_one_has_it(protocol: Protocol) -> None:
    elsewhere = factories.make_protocol(name=protocol.name)
    experiment = services.submit_data(data(protocol, protocols=[protocol.name]), user=None)
    assert list(experiment.protocols.all()) == [protocol]

    twin = factories.make_protocol(dataset=protocol.dataset, name=elsewhere.name)
    with pytest.raises(SpecificationError) as refused:
        services.submit_data(data(protocol, name="x", protocols=[protocol.name]), user=None)

    assert refused.value.errors == {
        "protocols.0": "expected the fingerprint or name of one protocol, got "
        f"{protocol.name!r}, which {protocol.label} and {twin.label} have"
    }
