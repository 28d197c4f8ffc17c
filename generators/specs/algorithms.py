"""What the registry knows of a family, an algorithm and its presets (torch-free rim)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generators.specs.options import SamplerConfig, TrainingConfig, Value

PRESETS = ("tiny", "small", "paper")  # CPU minutes, a GPU hour, the published setting


@dataclass(frozen=True)
class Family:
    """A family of generative models, one corner-seeker of the trilemma."""

    name: str
    label: str
    description: str


@dataclass(frozen=True)
class Preset:
    """A named setting: what differs from the defaults, and the budget it is meant for."""

    images: int  # budget, images seen
    config: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class AlgorithmSpec:
    """One published model: what it is called, how it is configured and where its code is."""

    name: str
    family: str  # key of FAMILIES
    label: str
    config: type[TrainingConfig]
    samplers: Mapping[str, type[SamplerConfig]]
    default_sampler: str  # key of samplers
    implementation: str  # "module:class", loaded only where torch is wanted
    source: str
    presets: Mapping[str, Preset]  # by name, one for each of PRESETS
    preview: Mapping[str, Value] = field(default_factory=dict)  # a fast sampler, for previews


def samplers_by_name(*samplers: type[SamplerConfig]) -> dict[str, type[SamplerConfig]]:
    """Return the samplers under their names."""
    return {sampler.name: sampler for sampler in samplers}
