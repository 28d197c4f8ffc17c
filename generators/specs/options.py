"""Frozen configurations of every algorithm and sampler, and the one way to read them from data.

This module is part of the torch-free rim: forms, the API and `--help` read it without loading torch.
"""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

SMALLEST_SIDE, LARGEST_SIDE = 8, 256  # pixels; the architectures are sized for these
MOST_PLANES = 64  # of an image, which has 1 or 3; of other data that is shaped like one
MAX_GUESSES = 20  # unknown fields that are compared with those there are: strangers send 100,000
Shape = tuple[int, int, int]  # planes (channels), height, width
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


def option(
    default: Value,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    later: bool = False,
) -> Any:
    """Return a configuration's field with a default, a help text and its limits.

    Numbers have a minimum and a maximum; text has choices, or is checked by `problems`. An option
    that came `later` than its algorithm has what was done before as its default.
    """
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata={"help": help_text, **limits, "later": later})


# --- algorithms ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig:
    """What every algorithm's training has in common."""

    batch_size: int = option(64, "images per step", minimum=1, maximum=65536)
    microbatch: int = option(
        0,
        "images per forward pass, gradients are summed up to the batch (0 = the whole batch)",
        minimum=0,
        maximum=65536,
    )
    learning_rate: float = option(1e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    warmup: float = option(
        0.02, "part of the budget over which the learning rate rises from 0", minimum=0, maximum=0.5
    )
    decay: str = option(
        "cosine",
        "how the learning rate falls over the budget",
        choices=("constant", "linear", "cosine"),
    )
    ema_halflife: float = option(
        0.05,
        "half-life of the averaged weights, as a part of the images seen so far (0 = no averaging)",
        minimum=0,
        maximum=1,
    )
    ema_halflife_kimg: float = option(
        0.0,
        "longest half-life of the averaged weights, in thousands of images (0 = no limit)",
        minimum=0,
        maximum=1e9,
    )
    clip_norm: float = option(
        0.0, "largest gradient norm, per phase (0 = no clipping)", minimum=0, maximum=1e6
    )
    skip_norm: float = option(
        0.0,
        "skip a step whose gradient norm is larger (0 = only if it is not finite)",
        minimum=0,
        maximum=1e9,
    )
    precision: str = option(
        "auto",
        "of forward passes in training; auto is bfloat16 where the device gains by it",
        choices=("auto", "float32", "bfloat16"),
    )
    horizontal_flip: bool = option(False, "mirror half of the training images at random")
    conditional: bool = option(True, "use the labels where the dataset has them")
    captions_as: str = option(
        "words",
        "what is learned of captions: their words, or each distinct one as a class that shares "
        "nothing with others (a control: it cannot be asked for new combinations)",
        choices=("words", "classes"),
        later=True,
    )
    text_encoder: str = option(
        "",
        "folder of a text encoder and its tokenizer, as transformers keeps them, that captions are "
        "encoded by; it is not trained (empty = an encoder of words is trained with the model)",
        later=True,
    )

    has_autoencoder: ClassVar[bool] = False  # one that ends before what draws of its codes begins

    @property
    def autoencoder_part(self) -> float:
        """Return the part of the budget that is spent on an autoencoder of its own, 0..1."""
        return 0.0

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the fields together: field to what was expected of it."""
        if self.microbatch > self.batch_size:
            return {"microbatch": f"expected at most the batch size, {self.batch_size}"}
        if self.text_encoder and self.captions_as == "classes":
            return {"text_encoder": "expected none: a caption that is one class is not encoded"}
        return {}

    def shape_problems(self, shape: Shape) -> dict[str, str]:
        """Return what is wrong with the fields for images of this shape: as `problems` does."""
        return {}


# --- samplers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SamplerConfig:
    """What every sampler has in common: a name, a short label and a check against the model."""

    name: ClassVar[str]

    def label(self) -> str:
        """Return a short name for tables, with what differs from the defaults: `DDIM 50`."""
        return self.name

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        """Return why a model trained with this configuration cannot be sampled this way."""
        return {}


def named(label: str, value: float, default: float) -> list[str]:
    """Return `["η=0.5"]` where the value is not the default, else nothing; for labels."""
    return [] if value == default else [f"{label}={value:g}"]


@dataclass(frozen=True)
class DirectSampler(SamplerConfig):
    """One pass from a latent vector to an image."""

    name: ClassVar[str] = "direct"
    temperature: float = option(
        1.0, "standard deviation of the latent vectors", minimum=0.01, maximum=2
    )

    def label(self) -> str:
        """Return `direct`, with the temperature if it is not 1."""
        return " ".join(["direct", *named("T", self.temperature, 1)])


# --- reading and writing ------------------------------------------------------------------------


def describe(config_class: type[Any]) -> tuple[FieldSpec, ...]:
    """Return every field of a configuration class, in order.

    Raises:
        TypeError: if a field is no `option`, is of another type than int, float, bool and str,
            or is a number without limits.
    """
    return _described(config_class)  # type: ignore[arg-type]  # a class is hashable


@cache
def _described(config_class: Any) -> tuple[FieldSpec, ...]:
    hints = get_type_hints(config_class)
    return tuple(_field_spec(item, hints[item.name]) for item in fields(config_class))


def parse(config_class: type[ConfigT], mapping: Mapping[str, Any]) -> ConfigT:
    """Return a configuration with the mapping's values; absent fields keep their defaults.

    Numbers may come as text (forms, YAML's `2e-4`). Every wrong field is reported at once.

    Raises:
        ConfigError: if a field is unknown, or its value has the wrong type or is out of range.
    """
    specs = {spec.name: spec for spec in describe(config_class)}
    values: dict[str, Value] = {}
    errors = unknown_fields(mapping, specs)
    for name in (name for name in mapping if name in specs):
        try:
            values[name] = _read(specs[name], mapping[name])
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise ConfigError(errors)
    config = config_class(**values)
    if isinstance(config, TrainingConfig) and (found := config.problems()):
        raise ConfigError(found)
    return config


def to_dict(config: object) -> dict[str, Value]:
    """Return every field of a configuration, JSON-serialisable; `parse` reads it back."""
    return {item.name: getattr(config, item.name) for item in fields(config)}  # type: ignore[arg-type]  # any dataclass


def to_record(config: object) -> dict[str, Value]:
    """Return what a manifest says of a configuration; `parse` reads it back.

    An option that came later is there only where it has another value than its default, so that
    what an earlier Trilemma began is known as the same.
    """
    left_out = {
        item.name
        for item in fields(config)  # type: ignore[arg-type]  # any dataclass
        if item.metadata.get("later") and getattr(config, item.name) == item.default
    }
    return {name: value for name, value in to_dict(config).items() if name not in left_out}


def _field_spec(item: "Field[Any]", hint: object) -> FieldSpec:
    names: dict[object, FieldType] = {int: "int", float: "float", bool: "bool", str: "str"}
    if "help" not in item.metadata:
        raise TypeError(f"{item.name}: expected option(default, help), got a plain default or none")
    if hint not in names:
        raise TypeError(f"{item.name}: expected the type {', '.join(names.values())}, got {hint}")
    default: Any = item.default  # `option` always gives one
    known = {name: value for name, value in item.metadata.items() if name != "later"}
    spec = FieldSpec(item.name, names[hint], default, **known)
    if hint in (int, float) and None in (spec.minimum, spec.maximum):
        raise TypeError(f"{item.name}: expected a minimum and a maximum, a number needs both")
    return spec


def unknown_fields(found: Iterable[object], known: Collection[str]) -> dict[str, str]:
    """Return what to say of each name that is not known: the one that was meant, or all."""
    unknown = [str(name) for name in found if name not in known]
    everything = f"unknown field, expected one of: {', '.join(known)}"
    meant = {name: _meant(name, known) for name in unknown[:MAX_GUESSES]}
    return {name: meant.get(name) or everything for name in unknown}


def _meant(name: str, known: Collection[str]) -> str | None:
    close = difflib.get_close_matches(name[:100], known, n=1)
    return f"unknown field, did you mean {close[0]!r}?" if close else None


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
