"""Names, labels and families of every algorithm and its samplers (torch-free rim).

Algorithms of other packages are found by their entry points: in the group `trilemma.algorithms`,
each names an `AlgorithmSpec`.
"""

from collections.abc import Mapping
from typing import Any

from evaluation.imagesets.plugins import LeftOut, Plugin, load_plugins
from generators.specs import diffusion, gan, latent, vae
from generators.specs.algorithms import AlgorithmSpec, Family, SpecError
from generators.specs.options import (
    ConfigError,
    SamplerConfig,
    TrainingConfig,
    Value,
    parse,
    to_dict,
)

ENTRY_POINTS = "trilemma.algorithms"

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "gan",
            "GAN",
            "generative adversarial networks: sharp and fast, may miss modes",
            "#b4500b",
            "#f4a261",
        ),
        Family(
            "vae",
            "VAE",
            "variational autoencoders: fast with full coverage, but blurry",
            "#0b7567",
            "#54cbb8",
        ),
        Family(
            "diffusion",
            "Diffusion",
            "denoising models: sharp with full coverage, but slow",
            "#6741d9",
            "#b197fc",
        ),
    )
}
ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec for spec in (*gan.SPECS, *vae.SPECS, *diffusion.SPECS, *latent.SPECS)
}


def register(spec: object) -> None:
    """Add an algorithm, and its family where it brings one.

    Raises:
        SpecError: if it is no `AlgorithmSpec`, its name is taken, or there is no such family.
    """
    if not isinstance(spec, AlgorithmSpec):
        raise SpecError(f"expected an AlgorithmSpec, got {spec!r}"[:300])
    if spec.name in ALGORITHMS:
        raise SpecError(f"name: {spec.name!r} is taken by another algorithm, expected another name")
    if isinstance(spec.family, Family):
        if FAMILIES.setdefault(spec.family.name, spec.family) != spec.family:
            raise SpecError(f"family: {spec.family.name!r} is there already, and looks different")
    elif spec.family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise SpecError(f"family: expected one of {known}, or a Family, got {spec.family!r}")
    ALGORITHMS[spec.name] = spec


def _register_plugins() -> list[LeftOut]:
    """Add the algorithms of other packages, and return those that were left out."""
    plugins, left_out = load_plugins(ENTRY_POINTS)
    for plugin in sorted(plugins, key=_names_a_family):  # those that bring theirs first
        try:
            register(plugin.value)
        except SpecError as error:
            left_out.append(plugin.left_out(error))
    return left_out


def _names_a_family(plugin: Plugin) -> bool:
    return isinstance(getattr(plugin.value, "family", None), str)


LEFT_OUT = _register_plugins()


def algorithm_names() -> list[str]:
    """Return the names of all algorithms, in the order they are listed."""
    return list(ALGORITHMS)


def get_spec(name: str) -> AlgorithmSpec:
    """Return the algorithm's entry.

    Raises:
        ValueError: if there is no such algorithm; the message lists those that exist.
    """
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    for left in LEFT_OUT:
        if left.entry_point.partition(" = ")[0] == name:
            raise ValueError(f"algorithm {name!r} was left out; {left}")
    raise ValueError(f"unknown algorithm {name!r}, expected one of: {', '.join(ALGORITHMS)}")


def parse_config(
    algorithm: str, mapping: Mapping[str, Any], *, preset: str | None = None
) -> TrainingConfig:
    """Return the algorithm's configuration: the defaults, the preset's values, the mapping's.

    Raises:
        ConfigError: if there is no such preset, or a field is wrong.
    """
    spec = get_spec(algorithm)
    if preset is not None and preset not in spec.presets:
        raise ConfigError({"preset": unknown_preset(spec, preset)})
    values = spec.presets[preset].config if preset is not None else {}
    return parse(spec.config, {**values, **mapping})


def unknown_preset(spec: AlgorithmSpec, preset: object) -> str:
    """Return what to say of a preset that the algorithm does not have."""
    if not spec.presets:
        return f"{spec.name} has no presets, got {preset!r}"[:300]
    return f"expected one of {', '.join(spec.presets)}, got {preset!r}"[:300]


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
