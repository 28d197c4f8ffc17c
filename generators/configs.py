"""Frozen configurations of every algorithm and sampler, and the one way to read them from data.

This module is part of the torch-free rim: forms, the API and `--help` read it without loading torch.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

SMALLEST_SIDE, LARGEST_SIDE = 8, 64  # pixels; the architectures are sized for these
FieldType = Literal["int", "float", "bool", "str"]
Value = int | float | bool | str

ConfigT = TypeVar("ConfigT")

_WORDS_FOR_TRUE = {"true", "yes", "on", "1"}
_WORDS_FOR_FALSE = {"false", "no", "off", "0"}


class ConfigError(ValueError):
    """Wrong values in a configuration; `errors` maps each field to what was expected of it."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors.items()))


@dataclass(frozen=True)
class FieldSpec:
    """One field of a configuration, as forms, the API and `--help` need it."""

    name: str
    type: FieldType
    default: Value
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None


def _option(
    default: Value,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    metadata = {"help": help_text, "min": minimum, "max": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


# --- algorithms ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig:
    """What every algorithm's training has in common."""

    batch_size: int = _option(64, "images per step", minimum=1, maximum=65536)
    learning_rate: float = _option(1e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    warmup: float = _option(
        0.02, "part of the budget over which the learning rate rises from 0", minimum=0, maximum=0.5
    )
    decay: str = _option(
        "cosine",
        "how the learning rate falls over the budget",
        choices=("constant", "linear", "cosine"),
    )
    ema_halflife: float = _option(
        0.05,
        "half-life of the averaged weights, as a part of the images seen so far (0 = no averaging)",
        minimum=0,
        maximum=1,
    )
    clip_norm: float = _option(
        0.0, "largest gradient norm, per phase (0 = no clipping)", minimum=0, maximum=1e6
    )
    horizontal_flip: bool = _option(False, "mirror half of the training images at random")
    conditional: bool = _option(True, "use the labels where the dataset has them")


@dataclass(frozen=True)
class SNGANConfig(TrainingConfig):
    """Spectrally normalised GAN with the hinge loss and a DCGAN-size backbone."""

    learning_rate: float = _option(
        4e-4, "generator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    discriminator_learning_rate: float = _option(
        4e-4, "discriminator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    beta1: float = _option(0.0, "Adam's first decay rate", minimum=0, maximum=0.999)
    beta2: float = _option(0.9, "Adam's second decay rate", minimum=0, maximum=0.99999)
    decay: str = _option(
        "linear",
        "how the learning rate falls over the budget",
        choices=("constant", "linear", "cosine"),
    )
    discriminator_steps: int = _option(
        2, "discriminator steps for each generator step", minimum=1, maximum=20
    )
    latent_dim: int = _option(64, "size of the latent vector", minimum=1, maximum=4096)
    generator_channels: int = _option(
        0, "generator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )
    discriminator_channels: int = _option(
        0, "discriminator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )


@dataclass(frozen=True)
class ConvVAEConfig(TrainingConfig):
    """Convolutional variational autoencoder, beta or sigma variant."""

    learning_rate: float = _option(2e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    variant: str = _option(
        "sigma",
        "beta: unit-variance Gaussian likelihood with weighted KL; "
        "sigma: likelihood with the optimal variance, computed analytically",
        choices=("beta", "sigma"),
    )
    beta: float = _option(1.0, "weight of the KL term", minimum=0, maximum=1000)
    latent_dim: int = _option(
        0, "size of the latent vector (0 = by resolution)", minimum=0, maximum=4096
    )
    base_channels: int = _option(
        0, "channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )


@dataclass(frozen=True)
class DDPMConfig(TrainingConfig):
    """Denoising diffusion with a U-Net."""

    learning_rate: float = _option(2e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    clip_norm: float = _option(
        1.0, "largest gradient norm (0 = no clipping)", minimum=0, maximum=1e6
    )
    timesteps: int = _option(1000, "noise levels T", minimum=2, maximum=10000)
    schedule: str = _option("cosine", "noise schedule", choices=("cosine", "linear"))
    prediction: str = _option(
        "v", "what the network predicts: the velocity or the noise", choices=("v", "epsilon")
    )
    base_channels: int = _option(
        0,
        "channels at full resolution (0 = by resolution)",
        minimum=0,
        maximum=1024,
    )
    residual_blocks: int = _option(
        0, "residual blocks per resolution (0 = by resolution)", minimum=0, maximum=8
    )
    dropout: float = _option(0.0, "dropout in residual blocks", minimum=0, maximum=0.9)
    label_dropout: float = _option(
        0.1,
        "part of the labels hidden in training, for classifier-free guidance",
        minimum=0,
        maximum=0.9,
    )


# --- samplers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SamplerConfig:
    """What every sampler has in common: a name."""

    name: ClassVar[str]


@dataclass(frozen=True)
class DirectSampler(SamplerConfig):
    """One pass from a latent vector to an image."""

    name: ClassVar[str] = "direct"
    temperature: float = _option(
        1.0, "standard deviation of the latent vectors", minimum=0.01, maximum=2
    )


@dataclass(frozen=True)
class DiffusionSampler(SamplerConfig):
    """What the samplers of diffusion models have in common."""

    steps: int = _option(50, "steps", minimum=1, maximum=10000)
    guidance: float = _option(
        1.0,
        "classifier-free guidance scale (1 = off; otherwise twice the network evaluations)",
        minimum=0,
        maximum=30,
    )


@dataclass(frozen=True)
class DDPMSampler(DiffusionSampler):
    """Ancestral sampling."""

    name: ClassVar[str] = "ddpm"
    steps: int = _option(0, "steps (0 = one for each training timestep)", minimum=0, maximum=10000)
    variance: str = _option(
        "small",
        "variance of the reverse step: the posterior's (small) or beta (large)",
        choices=("small", "large"),
    )


@dataclass(frozen=True)
class DDIMSampler(DiffusionSampler):
    """Denoising diffusion implicit models."""

    name: ClassVar[str] = "ddim"
    eta: float = _option(0.0, "part of the ancestral noise that is kept", minimum=0, maximum=1)


@dataclass(frozen=True)
class DPMSolverSampler(DiffusionSampler):
    """DPM-Solver++, multistep."""

    name: ClassVar[str] = "dpmsolver++"
    steps: int = _option(20, "steps", minimum=2, maximum=1000)
    order: int = _option(2, "order of the solver", minimum=1, maximum=3)


# --- reading and writing ------------------------------------------------------------------------


def describe(config_class: type[Any]) -> list[FieldSpec]:
    """Return every field of a configuration class, in order."""
    types = _field_types(config_class)
    return [_field_spec(item, types[item.name]) for item in fields(config_class)]


def parse(config_class: type[ConfigT], mapping: Mapping[str, Any]) -> ConfigT:
    """Return a configuration with the mapping's values; absent fields keep their defaults.

    Numbers may come as text (forms, YAML's `2e-4`). Every wrong field is reported at once.

    Raises:
        ConfigError: if a field is unknown, or its value has the wrong type or is out of range.
    """
    specs = {spec.name: spec for spec in describe(config_class)}
    values: dict[str, Value] = {}
    errors: dict[str, str] = {}
    for name, raw in mapping.items():
        if name not in specs:
            errors[str(name)] = _unknown_field(str(name), list(specs))
            continue
        try:
            values[name] = _read(specs[name], raw)
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise ConfigError(errors)
    return config_class(**values)


def to_dict(config: object) -> dict[str, Value]:
    """Return every field of a configuration, JSON-serialisable; `parse` reads it back."""
    return {item.name: getattr(config, item.name) for item in fields(config)}  # type: ignore[arg-type]  # any dataclass


def _field_types(config_class: type[Any]) -> dict[str, FieldType]:
    names: dict[type, FieldType] = {int: "int", float: "float", bool: "bool", str: "str"}
    hints = get_type_hints(config_class)
    return {item.name: names[hints[item.name]] for item in fields(config_class)}


def _field_spec(item: "Field[Any]", type_: FieldType) -> FieldSpec:
    return FieldSpec(
        name=item.name,
        type=type_,
        default=item.default,  # type: ignore[arg-type]  # _option always gives one
        help=item.metadata["help"],
        minimum=item.metadata["min"],
        maximum=item.metadata["max"],
        choices=item.metadata["choices"],
    )


def _unknown_field(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"unknown field, did you mean {close[0]!r}?"
    return f"unknown field, expected one of: {', '.join(known)}"


def _read(spec: FieldSpec, raw: object) -> Value:
    value = _convert(spec.type, raw)
    if value is None or not _allowed(spec, value):
        raise ValueError(f"expected {_expectation(spec)}, got {raw!r}"[:300])
    return value


def _convert(type_: FieldType, raw: object) -> Value | None:
    if type_ == "str":
        return raw if isinstance(raw, str) else None
    if type_ == "bool":
        return _to_bool(raw)
    return _to_number(type_, raw)


def _to_bool(raw: object) -> bool | None:
    if isinstance(raw, bool):
        return raw
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in _WORDS_FOR_TRUE:
        return True
    return False if word in _WORDS_FOR_FALSE else None


def _to_number(type_: FieldType, raw: object) -> int | float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if type_ == "float":
        return number
    return int(number) if number.is_integer() else None


def _allowed(spec: FieldSpec, value: Value) -> bool:
    if isinstance(value, str):
        return spec.choices is None or value in spec.choices
    above = spec.minimum is None or value >= spec.minimum
    return above and (spec.maximum is None or value <= spec.maximum)


def _expectation(spec: FieldSpec) -> str:
    if spec.choices is not None:
        return f"one of {', '.join(spec.choices)}"
    if spec.type in ("bool", "str"):
        return {"bool": "true or false", "str": "text"}[spec.type]
    noun = "a whole number" if spec.type == "int" else "a number"
    return f"{noun} in {spec.minimum:g}..{spec.maximum:g}"
