"""What the registry knows of a family, an algorithm and its presets (torch-free rim)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from generators.specs.options import (
    ConfigError,
    SamplerConfig,
    TrainingConfig,
    Value,
    describe,
    parse,
    to_dict,
)

PRESETS = ("tiny", "small", "paper")  # CPU minutes, a GPU hour, the published setting
RESERVED_FAMILIES = ("control", "missing")  # shown as families are, and none
LONGEST_NAME, LONGEST_LABEL = 50, 100  # characters, as the database has them

_FAMILY_NAME = r"[a-z][a-z0-9_-]*"
_ALGORITHM_NAME = r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*"
_COLOUR = r"#[0-9a-fA-F]{6}"
_IMPLEMENTATION = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"


class SpecError(ValueError):
    """A family or an algorithm's entry that cannot be used; the message says all that is wrong."""


@dataclass(frozen=True)
class Family:
    """A family of generative models, one corner-seeker of the trilemma."""

    name: str
    label: str
    description: str
    colour: str  # "#rrggbb", of its chips and markers on a light page
    dark_colour: str = ""  # the same on a dark page, empty = made from the other

    def __post_init__(self) -> None:
        """Refuse what no page could show.

        Raises:
            SpecError: if a name, a text or a colour is not one.
        """
        wrong = [*_text_faults("family name", self.name, _FAMILY_NAME, "'vae'", LONGEST_NAME)]
        wrong += _text_faults("family label", self.label, r".*\S.*", "'VAE'", LONGEST_LABEL)
        wrong += _text_faults("family description", self.description, r".*\S.*", "a sentence", 300)
        wrong += _text_faults("family colour", self.colour, _COLOUR, "'#0b7567'", 7)
        if self.dark_colour:
            wrong += _text_faults("dark_colour", self.dark_colour, _COLOUR, "'#54cbb8'", 7)
        if self.name in RESERVED_FAMILIES:
            wrong.append(f"family name: {self.name!r} means something else, expected another")
        if wrong:
            raise SpecError("; ".join(wrong))


@dataclass(frozen=True)
class Preset:
    """A named setting: what differs from the defaults, and the budget it is meant for."""

    images: int  # budget, images seen
    config: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class AlgorithmSpec:
    """One published model: what it is called, how it is configured and where its code is."""

    name: str  # "vae.conv"
    family: str | Family  # the name of one that there is, or one of its own
    label: str
    config: type[TrainingConfig]
    samplers: Mapping[str, type[SamplerConfig]]
    default_sampler: str  # key of samplers
    implementation: str  # "module:class", loaded only where torch is wanted
    source: str
    presets: Mapping[str, Preset] = field(default_factory=dict)  # by name, some of PRESETS
    preview: Mapping[str, Value] = field(default_factory=dict)  # a fast sampler, for previews

    def __post_init__(self) -> None:
        """Refuse now what would fail only in a form, on a board or in a worker.

        Raises:
            SpecError: if a name, an option, a sampler or a preset is wrong; all are named.
        """
        if faults := [*_name_faults(self), *_part_faults(self)]:
            raise SpecError(f"{self.name}: " + "; ".join(faults))

    @property
    def family_name(self) -> str:
        """Return the key of the family in the registry's FAMILIES."""
        return self.family.name if isinstance(self.family, Family) else self.family


def samplers_by_name(*samplers: type[SamplerConfig]) -> dict[str, type[SamplerConfig]]:
    """Return the samplers under their names."""
    return {sampler.name: sampler for sampler in samplers}


# --- what is wrong with an entry ----------------------------------------------------------------


def _text_faults(
    what: str, text: object, pattern: str, example: str, longest: int
) -> Iterator[str]:
    """Yield what was expected of a text, if it is none that fits the pattern."""
    if not isinstance(text, str) or len(text) > longest or not re.fullmatch(pattern, text):
        yield f"{what}: expected text such as {example}, got {text!r}"[:300]


def _name_faults(spec: AlgorithmSpec) -> Iterator[str]:
    yield from _text_faults("name", spec.name, _ALGORITHM_NAME, "'vae.conv'", LONGEST_NAME)
    yield from _text_faults("label", spec.label, r".*\S.*", "'Conv VAE'", LONGEST_LABEL)
    yield from _text_faults("source", spec.source, r".*\S.*", "'Author, year, title'", 1000)
    implementation = spec.implementation
    yield from _text_faults(
        "implementation", implementation, _IMPLEMENTATION, "'module:class'", 300
    )


def _part_faults(spec: AlgorithmSpec) -> Iterator[str]:
    """Yield what is wrong with the configuration, then with what is read by it."""
    faults = [
        f"{name}: expected a mapping, got {getattr(spec, name)!r}"[:300]
        for name in ("samplers", "presets", "preview")
        if not isinstance(getattr(spec, name), Mapping)
    ]
    faults += _class_faults("config", spec.config, TrainingConfig)
    if not faults:
        faults += _sampler_faults(spec)
        for name, preset in spec.presets.items():
            faults += _preset_faults(spec, name, preset)
    yield from faults or _fit_faults(spec)


def _fit_faults(spec: AlgorithmSpec) -> Iterator[str]:
    """Yield where the default sampler cannot draw from a model of the defaults or of a preset."""
    sampler = spec.samplers[spec.default_sampler]()
    settings = {"the defaults": {}, **{name: p.config for name, p in spec.presets.items()}}
    for name, values in settings.items():
        problems = sampler.problems(parse(spec.config, values))
        yield from (f"default_sampler: with {name}: {text}" for text in problems.values())


def _class_faults(path: str, config: Any, base: type[Any]) -> Iterator[str]:
    """Yield what is wrong with a class of options: one that no form could show or no reader read."""
    if not (isinstance(config, type) and issubclass(config, base)):
        yield f"{path}: expected a subclass of {base.__name__}, got {config!r}"
    elif "__dataclass_params__" not in vars(config):
        yield f"{path}: expected @dataclass(frozen=True) above {config.__name__}"
    else:
        try:
            describe(config)
        except TypeError as error:
            yield f"{path}.{error}"
        else:
            yield from _value_faults(path, config, to_dict(config()))


def _value_faults(path: str, config: type[Any], values: Mapping[str, Any]) -> Iterator[str]:
    try:
        parse(config, values)
    except ConfigError as error:
        yield from (f"{path}.{name}: {message}" for name, message in error.errors.items())


def _sampler_faults(spec: AlgorithmSpec) -> Iterator[str]:
    for name, sampler in spec.samplers.items():
        if faults := [*_class_faults(f"samplers.{name}", sampler, SamplerConfig)]:
            yield from faults
            continue
        if getattr(sampler, "name", None) != name:
            yield f"samplers.{name}: expected the class's own name, {sampler.name!r}"
        yield from _text_faults(
            f"samplers.{name}: label", sampler().label(), ".+", "'DDIM 50'", 100
        )
    if spec.default_sampler not in spec.samplers:
        known = ", ".join(spec.samplers) or "at least one sampler"
        yield f"default_sampler: expected one of samplers ({known}), got {spec.default_sampler!r}"
        return
    values = {**spec.preview}
    preview = values.pop("name", spec.default_sampler)
    if preview in spec.samplers:
        yield from _value_faults("preview", spec.samplers[str(preview)], values)
    else:
        yield f"preview.name: expected one of {', '.join(spec.samplers)}, got {preview!r}"


def _preset_faults(spec: AlgorithmSpec, name: str, preset: Any) -> Iterator[str]:
    if name not in PRESETS:
        yield f"presets: expected names among {', '.join(PRESETS)}, got {name!r}"
    if not (isinstance(preset, Preset) and isinstance(preset.config, Mapping)):
        yield f"presets.{name}: expected a Preset, got {preset!r}"[:300]
        return
    images: Any = preset.images
    if not isinstance(images, int) or images is True or images < 1:
        yield f"presets.{name}.images: expected a whole number from 1, got {images!r}"
    yield from _value_faults(f"presets.{name}", spec.config, preset.config)
