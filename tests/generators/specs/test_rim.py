import json
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from generators.specs.diffusion_configs import DDPMConfig
from generators.specs.diffusion_samplers import DDIMSampler, DDPMSampler, DPMSolverSampler
from generators.specs.gan import SNGANConfig
from generators.specs.options import (
    ConfigError,
    DirectSampler,
    FieldSpec,
    SamplerConfig,
    TrainingConfig,
    describe,
    option,
    parse,
    to_dict,
)
from generators.specs.registry import (
    ALGORITHMS,
    FAMILIES,
    algorithm_names,
    get_spec,
    parse_sampler,
    sampler_to_dict,
)
from generators.specs.vae import ConvVAEConfig
from tests.generators.conftest import exactly

# by their configuration's `problems`, and `autoencoder` when the training begins
CHECKED_TEXTS = {
    *("channel_multipliers", "stochastic_layers", "encoder_blocks", "autoencoder"),
    "text_encoder",
}
BEGINNINGS = {"diffusion": ("diffusion.", "latent.")}  # of names, where not the family's
SAMPLERS = sorted({(a.name, s) for a in ALGORITHMS.values() for s in a.samplers})
CONFIGS = sorted({a.config for a in ALGORITHMS.values()}, key=lambda config: config.__name__)


def test_the_rim_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, generators.specs.registry, generators.specs.options; "
        "print([m for m in ('torch', 'numpy', 'diffusers', 'PIL') if m in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


# --- registry -----------------------------------------------------------------------------------


def test_every_algorithm_belongs_to_a_family_and_has_its_default_sampler() -> None:
    for name, spec in ALGORITHMS.items():
        assert spec.name == name
        assert spec.family in FAMILIES
        assert name.startswith(BEGINNINGS.get(spec.family_name, f"{spec.family}."))
        assert spec.default_sampler in spec.samplers
        assert all(sampler.name == key for key, sampler in spec.samplers.items())


def test_all_three_families_have_an_algorithm() -> None:
    assert {spec.family for spec in ALGORITHMS.values()} == {"gan", "vae", "diffusion"}
    assert [family.label for family in FAMILIES.values()] == ["GAN", "VAE", "Diffusion"]


def test_an_unknown_algorithm_is_refused_with_those_that_exist() -> None:
    message = f"unknown algorithm 'gan.biggan', expected one of: {', '.join(ALGORITHMS)}"

    with pytest.raises(ValueError, match=exactly(message)):
        get_spec("gan.biggan")

    assert algorithm_names() == list(ALGORITHMS)
    assert algorithm_names()[:4] == ["gan.dcgan", "gan.sngan", "gan.wgan_gp", "gan.r3gan"]


# --- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_a_complete_configuration_survives_json(config: type) -> None:
    stored = json.loads(json.dumps(to_dict(config())))

    assert parse(config, stored) == config()
    assert list(stored) == [field.name for field in describe(config)]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_is_described_and_its_default_is_allowed(config: type) -> None:
    for field in describe(config):
        assert field.help
        assert parse(config, {field.name: field.default}) == config()
        if field.type in ("int", "float"):
            assert field.minimum is not None and field.maximum is not None
        else:
            assert field.type == "bool" or field.choices or field.name in CHECKED_TEXTS


def test_a_field_is_described_for_forms() -> None:
    fields = {field.name: field for field in describe(ConvVAEConfig)}

    assert fields["batch_size"] == FieldSpec(
        "batch_size", "int", 64, "images per step", minimum=1, maximum=65536, choices=None
    )
    assert fields["variant"].choices == ("beta", "sigma")


def test_numbers_may_come_as_text() -> None:
    config = parse(DDPMConfig, {"learning_rate": "2e-4", "timesteps": "100", "conditional": "no"})

    assert config == DDPMConfig(learning_rate=2e-4, timesteps=100, conditional=False)
    assert parse(DDPMConfig, {"timesteps": 100.0}).timesteps == 100


def test_all_wrong_fields_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(
            DDPMConfig,
            {
                "batch_siz": 3,
                "zebra": 1,
                "learning_rate": "abc",
                "timesteps": 1.5,
                "schedule": "sine",
                "dropout": 2,
                "conditional": "maybe",
                "label_dropout": float("nan"),
                "residual_blocks": True,
                "base_channels": None,
            },
        )

    known = ", ".join(field.name for field in describe(DDPMConfig))
    assert caught.value.errors == {
        "batch_siz": "unknown field, did you mean 'batch_size'?",
        "zebra": f"unknown field, expected one of: {known}",
        "learning_rate": "expected a number in 1e-08..1, got 'abc'",
        "timesteps": "expected a whole number in 2..10000, got 1.5",
        "schedule": "expected one of cosine, linear, sigmoid, got 'sine'",
        "dropout": "expected a number in 0..0.9, got 2",
        "conditional": "expected true or false, got 'maybe'",
        "label_dropout": "expected a number in 0..0.9, got nan",
        "residual_blocks": "expected a whole number in 0..48, got True",
        "base_channels": "expected a whole number in 0..2048, got None",
    }
    assert str(caught.value).startswith("batch_siz: unknown field, did you mean 'batch_size'?; ")


@dataclass(frozen=True)
class Plain(TrainingConfig):
    size: int = 8


@dataclass(frozen=True)
class Unlimited(TrainingConfig):
    size: int = option(8, "size", minimum=1)


@dataclass(frozen=True)
class Optional(TrainingConfig):
    size: int | None = option(8, "size", minimum=1, maximum=9)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Plain, "size: expected option(default, help), got a plain default or none"),
        (Unlimited, "size: expected a minimum and a maximum, a number needs both"),
        (Optional, "size: expected the type int, float, bool, str, got int | None"),
    ],
)
def test_a_field_that_no_form_could_show_is_named(config: type, message: str) -> None:
    with pytest.raises(TypeError, match=exactly(message)):
        describe(config)


def test_a_class_is_described_once() -> None:
    assert describe(SNGANConfig) is describe(SNGANConfig)


def test_a_hundred_thousand_unknown_fields_are_refused_at_once() -> None:
    begun = time.process_time()

    with pytest.raises(ConfigError) as caught:
        parse(DDPMConfig, {f"f{number}": number for number in range(100_000)})

    assert len(caught.value.errors) == 100_000
    assert time.process_time() - begun < 2  # it took 22 seconds to compare each with all there are


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from([f.name for f in describe(SNGANConfig)]) | st.text(), value=json_values)
def test_any_value_gives_a_valid_configuration_or_an_error_at_its_field(
    name: str, value: object
) -> None:
    errors: dict[str, str] = {}
    try:
        config = parse(SNGANConfig, {name: value})
    except ConfigError as error:
        errors = error.errors

    if errors:
        assert list(errors) == [name]
        assert len(errors[name]) <= 500
    else:
        assert parse(SNGANConfig, to_dict(config)) == config


# --- samplers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "sampler"), SAMPLERS)
def test_a_sampler_survives_json(algorithm: str, sampler: str) -> None:
    parsed = parse_sampler(algorithm, {"name": sampler})

    stored = json.loads(json.dumps(sampler_to_dict(parsed)))

    assert stored["name"] == sampler
    assert parse_sampler(algorithm, stored) == parsed


@pytest.mark.parametrize(
    ("sampler", "label"),
    [
        (DirectSampler(), "direct"),
        (DirectSampler(temperature=0.7), "direct T=0.7"),
        (DDIMSampler(), "DDIM 50"),
        (DDIMSampler(steps=20, eta=0.5), "DDIM 20 η=0.5"),
        (DDIMSampler(steps=20, guidance=2), "DDIM 20 w=2"),
        (DDPMSampler(), "DDPM"),
        (DDPMSampler(steps=100, variance="large"), "DDPM 100 large variance"),
        (DPMSolverSampler(), "DPM-Solver++ 20"),
        (DPMSolverSampler(steps=15, order=3), "DPM-Solver++ 15 order 3"),
    ],
)
def test_a_sampler_has_a_label(sampler: SamplerConfig, label: str) -> None:
    assert sampler.label() == label


def test_without_a_name_it_is_the_default_sampler() -> None:
    assert parse_sampler("diffusion.ddpm", {"steps": 7}) == DDIMSampler(steps=7)


def test_a_sampler_of_another_algorithm_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sampler("diffusion.ddpm", {"name": "direct"})

    assert caught.value.errors == {"name": "expected one of ddpm, ddim, dpmsolver++, got 'direct'"}


@pytest.mark.parametrize("name", [None, 3, [], {}])
def test_a_sampler_name_that_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sampler("gan.sngan", {"name": name})

    assert caught.value.errors == {"name": f"expected one of direct, got {name!r}"}


def test_a_sampler_is_checked_against_the_model_it_draws_from() -> None:
    config = DDPMConfig(timesteps=10, label_dropout=0)

    with pytest.raises(ConfigError) as caught:
        parse_sampler("diffusion.ddpm", {"name": "ddim", "steps": 20, "guidance": 2}, config)

    assert caught.value.errors == {
        "steps": "expected at most the model's 10 timesteps, got 20",
        "guidance": "expected 1: the model was trained without label dropout",
    }
