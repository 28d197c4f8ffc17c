"""Names, labels and families of every algorithm and its samplers (torch-free rim).

Algorithms of other packages are found by their entry points: in the group `trilemma.algorithms`,
each names an `AlgorithmSpec`.
"""

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from generators.specs import diffusion, gan, vae
from generators.specs.algorithms import AlgorithmSpec, Family
from generators.specs.options import (
    ConfigError,
    SamplerConfig,
    TrainingConfig,
    Value,
    parse,
    to_dict,
)

ENTRY_POINTS = "trilemma.algorithms"

logger = logging.getLogger(__name__)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("gan", "GAN", "generative adversarial networks: sharp and fast, may miss modes"),
        Family("vae", "VAE", "variational autoencoders: fast with full coverage, but blurry"),
        Family("diffusion", "Diffusion", "denoising models: sharp with full coverage, but slow"),
    )
}


def _installed_specs() -> list[AlgorithmSpec]:
    """Return the algorithms of other packages; one that cannot be loaded is only logged."""
    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            spec = point.load()
        except Exception:
            logger.exception("algorithm %s of %s cannot be loaded", point.name, point.value)
            continue
        if isinstance(spec, AlgorithmSpec) and spec.family in FAMILIES:
            found.append(spec)
        else:
            logger.error("entry point %s names no AlgorithmSpec of a known family", point.value)
    return found


ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec for spec in (*gan.SPECS, *vae.SPECS, *diffusion.SPECS)
}
for _spec in _installed_specs():
    ALGORITHMS.setdefault(_spec.name, _spec)


def algorithm_names() -> list[str]:
    """Return the names of all algorithms, in the order they are listed."""
    return list(ALGORITHMS)


def get_spec(name: str) -> AlgorithmSpec:
    """Return the algorithm's entry.

    Raises:
        ValueError: if there is no such algorithm; the message lists those that exist.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {name!r}, expected one of: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def parse_config(
    algorithm: str, mapping: Mapping[str, Any], *, preset: str | None = None
) -> TrainingConfig:
    """Return the algorithm's configuration: the defaults, the preset's values, the mapping's.

    Raises:
        ConfigError: if there is no such preset, or a field is wrong.
    """
    spec = get_spec(algorithm)
    if preset is not None and preset not in spec.presets:
        raise ConfigError({"preset": f"expected one of {', '.join(spec.presets)}, got {preset!r}"})
    values = spec.presets[preset].config if preset is not None else {}
    return parse(spec.config, {**values, **mapping})


def parse_sampler(
    algorithm: str, mapping: Mapping[str, Any], config: TrainingConfig | None = None
) -> SamplerConfig:
    """Return the sampler that `{"name": "ddim", "steps": 50}` describes.

    Without a name it is the algorithm's default sampler. With the model's configuration given,
    the sampler is checked against it as well: it cannot take more steps than there are timesteps.

    Raises:
        ConfigError: if the algorithm has no such sampler, or a field is wrong.
    """
    spec = get_spec(algorithm)
    name = mapping.get("name", spec.default_sampler)
    if not isinstance(name, str) or name not in spec.samplers:
        known = ", ".join(spec.samplers)
        raise ConfigError({"name": f"expected one of {known}, got {name!r}"[:300]})
    values = {key: value for key, value in mapping.items() if key != "name"}
    sampler = parse(spec.samplers[name], values)
    if config is not None:
        check_sampler(sampler, config)
    return sampler


def preview_sampler(algorithm: str, config: TrainingConfig) -> SamplerConfig:
    """Return a fast sampler for a look at a training: the spec's, or the default where it fits not.

    A model of fewer timesteps than the preview's steps is walked with all it has.
    """
    spec = get_spec(algorithm)
    values = dict(spec.preview)
    steps, timesteps = values.get("steps"), getattr(config, "timesteps", None)
    if isinstance(steps, int) and isinstance(timesteps, int):
        values["steps"] = min(steps, timesteps)
    return parse_sampler(algorithm, values)


def check_sampler(sampler: SamplerConfig, config: TrainingConfig) -> None:
    """Check that a model trained with this configuration can be sampled this way.

    Raises:
        ConfigError: if it cannot.
    """
    if errors := sampler.problems(config):
        raise ConfigError(errors)


def sampler_to_dict(sampler: SamplerConfig) -> dict[str, Value]:
    """Return the sampler's name and every field; `parse_sampler` reads it back."""
    return {"name": sampler.name, **to_dict(sampler)}
