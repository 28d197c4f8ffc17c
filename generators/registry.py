"""Names, labels and families of every algorithm and its samplers (torch-free rim)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generators.configs import (
    ConfigError,
    ConvVAEConfig,
    DDIMSampler,
    DDPMConfig,
    DDPMSampler,
    DiffusionSampler,
    DirectSampler,
    DPMSolverSampler,
    SamplerConfig,
    SNGANConfig,
    TrainingConfig,
    Value,
    parse,
    to_dict,
)


@dataclass(frozen=True)
class Family:
    """A family of generative models, one corner-seeker of the trilemma."""

    name: str
    label: str
    description: str


@dataclass(frozen=True)
class AlgorithmSpec:
    """One published model: what it is called, how it is configured and where its code is."""

    name: str
    family: str  # key of FAMILIES
    label: str
    config: type[TrainingConfig]
    samplers: dict[str, type[SamplerConfig]]
    default_sampler: str  # key of samplers
    implementation: str  # "module:class", loaded only where torch is wanted
    source: str


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("gan", "GAN", "generative adversarial networks: sharp and fast, may miss modes"),
        Family("vae", "VAE", "variational autoencoders: fast with full coverage, but blurry"),
        Family("diffusion", "Diffusion", "denoising models: sharp with full coverage, but slow"),
    )
}

_DIRECT: dict[str, type[SamplerConfig]] = {"direct": DirectSampler}
_DENOISING: dict[str, type[SamplerConfig]] = {
    "ddpm": DDPMSampler,
    "ddim": DDIMSampler,
    "dpmsolver++": DPMSolverSampler,
}

ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec
    for spec in (
        AlgorithmSpec(
            name="gan.sngan",
            family="gan",
            label="SNGAN",
            config=SNGANConfig,
            samplers=_DIRECT,
            default_sampler="direct",
            implementation="generators.gan.sngan:SNGAN",
            source="Miyato et al., 2018, Spectral normalization for generative adversarial networks",
        ),
        AlgorithmSpec(
            name="vae.conv",
            family="vae",
            label="Conv VAE",
            config=ConvVAEConfig,
            samplers=_DIRECT,
            default_sampler="direct",
            implementation="generators.vae.conv:ConvVAE",
            source="Kingma and Welling, 2014, Auto-encoding variational Bayes; "
            "Rybkin et al., 2021, Simple and effective VAE training with calibrated decoders",
        ),
        AlgorithmSpec(
            name="diffusion.ddpm",
            family="diffusion",
            label="DDPM",
            config=DDPMConfig,
            samplers=_DENOISING,
            default_sampler="ddim",
            implementation="generators.diffusion.ddpm:DDPM",
            source="Ho et al., 2020, Denoising diffusion probabilistic models; "
            "Nichol and Dhariwal, 2021, Improved denoising diffusion probabilistic models",
        ),
    )
}


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
        raise ConfigError({"name": f"expected one of {known}, got {name!r}"})
    values = {key: value for key, value in mapping.items() if key != "name"}
    sampler = parse(spec.samplers[name], values)
    if config is not None:
        check_sampler(sampler, config)
    return sampler


def check_sampler(sampler: SamplerConfig, config: TrainingConfig) -> None:
    """Check that a model trained with this configuration can be sampled this way.

    Raises:
        ConfigError: if the sampler takes more steps than there are timesteps, or wants guidance
            from a model that was never trained without labels.
    """
    if not isinstance(sampler, DiffusionSampler) or not isinstance(config, DDPMConfig):
        return
    errors = {}
    if sampler.steps > config.timesteps:
        errors["steps"] = f"expected at most the model's {config.timesteps} timesteps"
        errors["steps"] += f", got {sampler.steps}"
    if sampler.guidance != 1 and not (config.label_dropout > 0 and config.conditional):
        errors["guidance"] = "expected 1: the model was trained without label dropout"
    if errors:
        raise ConfigError(errors)


def sampler_to_dict(sampler: SamplerConfig) -> dict[str, Value]:
    """Return the sampler's name and every field; `parse_sampler` reads it back."""
    return {"name": sampler.name, **to_dict(sampler)}


def sampler_label(sampler: SamplerConfig) -> str:
    """Return a short name for tables: `DDIM 50`, `DPM-Solver++ 20`, `direct`."""
    if isinstance(sampler, DirectSampler):
        return "direct" if sampler.temperature == 1 else f"direct T={sampler.temperature:g}"
    parts = [_SAMPLER_LABELS.get(sampler.name, sampler.name)]
    if isinstance(sampler, DiffusionSampler):
        parts += [str(sampler.steps)] if sampler.steps else []
        parts += _unusual(sampler)
    return " ".join(parts)


def sampler_nfe(sampler: SamplerConfig, config: TrainingConfig) -> int:
    """Return how many network evaluations one image costs."""
    if not isinstance(sampler, DiffusionSampler) or not isinstance(config, DDPMConfig):
        return 1
    steps = sampler.steps or config.timesteps
    guided = sampler.guidance != 1
    return 2 * steps if guided else steps


_SAMPLER_LABELS = {"ddpm": "DDPM", "ddim": "DDIM", "dpmsolver++": "DPM-Solver++"}


def _unusual(sampler: DiffusionSampler) -> list[str]:
    """Return the settings a label must name because they differ from the sampler's defaults."""
    parts = []
    if isinstance(sampler, DDIMSampler) and sampler.eta:
        parts.append(f"η={sampler.eta:g}")
    if isinstance(sampler, DDPMSampler) and sampler.variance != "small":
        parts.append(f"{sampler.variance} variance")
    if isinstance(sampler, DPMSolverSampler) and sampler.order != 2:
        parts.append(f"order {sampler.order}")
    if sampler.guidance != 1:
        parts.append(f"w={sampler.guidance:g}")
    return parts
