"""What is wrong with an algorithm's entry or a family is named when it is made."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from generators.specs import (
    DirectSampler,
    Family,
    Preset,
    SamplerConfig,
    SpecError,
    TrainingConfig,
    option,
    samplers_by_name,
)
from generators.specs.registry import ALGORITHMS, FAMILIES, parse_config, register
from tests.generators.conftest import exactly
from tests.toy_vae.spec import SPEC

FLOWS = Family("flows", "Normalising flow", "invertible maps: exact likelihoods", "#aa3377")


@dataclass(frozen=True)
class OutOfLimits(TrainingConfig):
    size: int = option(80, "size", minimum=1, maximum=9)
    kind: str = option("c", "kind", choices=("a", "b"))


@dataclass(frozen=True)
class PlainDefault(TrainingConfig):
    size: int = 8


class Undecorated(TrainingConfig):
    size: int = option(8, "size", minimum=1, maximum=9)


@dataclass(frozen=True)
class Wide(SamplerConfig):
    name: ClassVar[str] = "wide"

    def label(self) -> str:
        return "w" * 101


@dataclass(frozen=True)
class Unwilling(SamplerConfig):
    name: ClassVar[str] = "unwilling"

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        return {"name": "expected another model"} if config.batch_size == 3 else {}


@dataclass(frozen=True)
class Never(SamplerConfig):
    name: ClassVar[str] = "never"

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        return {"name": "expected another model"}


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Toy VAE"}, "name: expected text such as 'vae.conv', got 'Toy VAE'"),
    ({"name": "v" * 51}, f"name: expected text such as 'vae.conv', got '{'v' * 51}'"),
    ({"label": ""}, "label: expected text such as 'Conv VAE', got ''"),
    ({"source": None}, "source: expected text such as 'Author, year, title', got None"),
    (
        {"implementation": "toy_vae.model.ToyVAE"},
        "implementation: expected text such as 'module:class', got 'toy_vae.model.ToyVAE'",
    ),
    ({"config": SPEC}, "config: expected a subclass of TrainingConfig, got AlgorithmSpec("),
    ({"config": Undecorated}, "config: expected @dataclass(frozen=True) above Undecorated"),
    (
        {"config": PlainDefault},
        "config.size: expected option(default, help), got a plain default or none",
    ),
    (
        {"config": OutOfLimits, "presets": {}},
        "config.size: expected a whole number in 1..9, got 80; "
        "config.kind: expected one of a, b, got 'c'",
    ),
    ({"samplers": None}, "samplers: expected a mapping, got None"),
    ({"samplers": {}}, "default_sampler: expected one of samplers (at least one sampler), got 'd"),
    ({"default_sampler": "ddim"}, "default_sampler: expected one of samplers (direct), got 'ddim'"),
    (
        {"samplers": {"one": DirectSampler}, "default_sampler": "one"},
        "samplers.one: expected the class's own name, 'direct'",
    ),
    (
        {"samplers": samplers_by_name(DirectSampler, Wide)},
        "samplers.wide: label: expected text such as 'DDIM 50', got 'wwww",
    ),
    (
        {"presets": {"huge": Preset(images=9)}},
        "presets: expected names among tiny, small, paper, got 'huge'",
    ),
    (
        {"presets": {"tiny": Preset(images=0, config={"directions": 0, "direction": 1})}},
        "presets.tiny.images: expected a whole number from 1, got 0; "
        "presets.tiny.direction: unknown field, did you mean 'directions'?; "
        "presets.tiny.directions: expected a whole number in 1..256, got 0",
    ),
    ({"presets": {"tiny": {"images": 9}}}, "presets.tiny: expected a Preset, got {'images': 9}"),
    (
        {
            "samplers": samplers_by_name(Unwilling),
            "default_sampler": "unwilling",
            "presets": {"small": Preset(images=9, config={"batch_size": 3})},
        },
        "default_sampler: with small: expected another model",
    ),
    (
        {
            "samplers": samplers_by_name(Never),
            "default_sampler": "never",
            "presets": {},
        },
        "default_sampler: with the defaults: expected another model",
    ),
    ({"preview": {"name": "ddim"}}, "preview.name: expected one of direct, got 'ddim'"),
    (
        {"preview": {"temperature": 5}},
        "preview.temperature: expected a number in 0.01..2, got 5",
    ),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_faulty_entry_is_refused_when_it_is_made(changes: dict[str, Any], message: str) -> None:
    name = changes.get("name", SPEC.name)

    with pytest.raises(SpecError) as caught:
        replace(SPEC, **changes)

    assert str(caught.value).startswith(f"{name}: {message}")


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        replace(SPEC, label="", default_sampler="ddim", presets={"huge": Preset(images=9)})

    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == [
        "vae.toy",
        "default_sampler",
        "presets",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "My flows"}, "family name: expected text such as 'vae', got 'My flows'"),
        ({"name": "control"}, "family name: 'control' means something else, expected another"),
        ({"label": " "}, "family label: expected text such as 'VAE', got ' '"),
        ({"description": 3}, "family description: expected text such as a sentence, got 3"),
        ({"colour": "red"}, "family colour: expected text such as '#0b7567', got 'red'"),
        ({"colour": "#fff;}"}, "family colour: expected text such as '#0b7567', got '#fff;}'"),
    ],
)
def test_a_family_that_no_page_could_show_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=exactly(message)):
        replace(FLOWS, **values)


# --- registering --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Take back what a test registers."""
    algorithms, families = dict(ALGORITHMS), dict(FAMILIES)
    yield
    ALGORITHMS.clear()
    ALGORITHMS.update(algorithms)
    FAMILIES.clear()
    FAMILIES.update(families)


def test_an_algorithm_brings_its_family() -> None:
    register(replace(SPEC, name="flows.one", family=FLOWS))
    register(replace(SPEC, name="flows.two", family=replace(FLOWS)))
    register(replace(SPEC, name="flows.three", family="flows"))

    assert FAMILIES["flows"] == FLOWS
    assert {ALGORITHMS[f"flows.{n}"].family_name for n in ("one", "two", "three")} == {"flows"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Preset(images=1), "expected an AlgorithmSpec, got Preset(images=1, config={})"),
        (
            replace(SPEC, name="vae.conv"),
            "name: 'vae.conv' is taken by another algorithm, expected another name",
        ),
        (
            replace(SPEC, family="flow"),
            "family: expected one of gan, vae, diffusion, or a Family, got 'flow'",
        ),
        (
            replace(SPEC, family=replace(FLOWS, name="gan")),
            "family: 'gan' is there already, and looks different",
        ),
    ],
)
def test_what_clashes_is_not_registered(spec: object, message: str) -> None:
    before = dict(ALGORITHMS)

    with pytest.raises(SpecError, match=exactly(message)):
        register(spec)

    assert before == ALGORITHMS


def test_an_algorithm_without_presets_says_so() -> None:
    register(replace(SPEC, presets={}))

    with pytest.raises(ValueError, match=exactly("preset: vae.toy has no presets, got 'tiny'")):
        parse_config("vae.toy", {}, preset="tiny")
