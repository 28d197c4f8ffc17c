"""Configurations of diffusion models and their samplers (torch-free rim)."""

from dataclasses import dataclass
from typing import ClassVar

from generators.configs import SamplerConfig, TrainingConfig, named, option
from generators.specs import AlgorithmSpec, Preset, samplers_by_name


@dataclass(frozen=True)
class DenoiserConfig(TrainingConfig):
    """What every diffusion model has in common: the network."""

    learning_rate: float = option(2e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    clip_norm: float = option(
        1.0, "largest gradient norm (0 = no clipping)", minimum=0, maximum=1e6
    )
    backbone: str = option(
        "unet", "the network: a U-Net or a diffusion transformer", choices=("unet", "dit")
    )
    base_channels: int = option(
        0,
        "channels at full resolution, or width of the transformer (0 = by resolution)",
        minimum=0,
        maximum=2048,
    )
    channel_multipliers: str = option(
        "", "channels at each resolution as multiples, such as 1,2,2,2 (empty = by resolution)"
    )
    residual_blocks: int = option(
        0,
        "residual blocks per resolution, or depth of the transformer (0 = by resolution)",
        minimum=0,
        maximum=48,
    )
    attention_side: int = option(
        0, "attend where sides are at most this many pixels", minimum=0, maximum=64
    )
    patch: int = option(
        0, "side of a transformer's patches (0 = by resolution)", minimum=0, maximum=16
    )
    dropout: float = option(0.0, "dropout in residual blocks", minimum=0, maximum=0.9)
    label_dropout: float = option(
        0.1,
        "part of the labels hidden in training, for classifier-free guidance",
        minimum=0,
        maximum=0.9,
    )


@dataclass(frozen=True)
class DDPMConfig(DenoiserConfig):
    """Denoising diffusion at discrete timesteps."""

    timesteps: int = option(1000, "noise levels T", minimum=2, maximum=10000)
    schedule: str = option("cosine", "noise schedule", choices=("cosine", "linear"))
    prediction: str = option(
        "v", "what the network predicts: the velocity or the noise", choices=("v", "epsilon")
    )


# --- samplers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiffusionSampler(SamplerConfig):
    """What the samplers of diffusion models have in common."""

    title: ClassVar[str]  # as labels have it

    steps: int = option(50, "steps", minimum=1, maximum=10000)
    guidance: float = option(
        1.0,
        "classifier-free guidance scale (1 = off; otherwise twice the network evaluations)",
        minimum=0,
        maximum=30,
    )

    def label(self) -> str:
        """Return the name, the number of steps and what is unusual: `DDIM 50 w=2`."""
        steps = [str(self.steps)] if self.steps else []
        return " ".join([self.title, *steps, *self.unusual(), *named("w", self.guidance, 1)])

    def unusual(self) -> list[str]:
        """Return the settings a label must name because they differ from the defaults."""
        return []

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        """Return what is wrong: too many steps, or guidance of a model that never hid labels."""
        found = {}
        timesteps = getattr(config, "timesteps", self.steps)
        if self.steps > timesteps:
            found["steps"] = f"expected at most the model's {timesteps} timesteps, got {self.steps}"
        hidden = isinstance(config, DenoiserConfig) and config.label_dropout > 0
        if self.guidance != 1 and not (hidden and config.conditional):
            found["guidance"] = "expected 1: the model was trained without label dropout"
        return found


@dataclass(frozen=True)
class DDPMSampler(DiffusionSampler):
    """Ancestral sampling."""

    name: ClassVar[str] = "ddpm"
    title: ClassVar[str] = "DDPM"
    steps: int = option(0, "steps (0 = one for each training timestep)", minimum=0, maximum=10000)
    variance: str = option(
        "small",
        "variance of the reverse step: the posterior's (small) or beta (large)",
        choices=("small", "large"),
    )

    def unusual(self) -> list[str]:
        """Return the variance if it is not the posterior's."""
        return [] if self.variance == "small" else [f"{self.variance} variance"]


@dataclass(frozen=True)
class DDIMSampler(DiffusionSampler):
    """Denoising diffusion implicit models."""

    name: ClassVar[str] = "ddim"
    title: ClassVar[str] = "DDIM"
    eta: float = option(0.0, "part of the ancestral noise that is kept", minimum=0, maximum=1)

    def unusual(self) -> list[str]:
        """Return eta if it is not 0."""
        return named("η", self.eta, 0)


@dataclass(frozen=True)
class DPMSolverSampler(DiffusionSampler):
    """DPM-Solver++, multistep."""

    name: ClassVar[str] = "dpmsolver++"
    title: ClassVar[str] = "DPM-Solver++"
    steps: int = option(20, "steps", minimum=2, maximum=1000)
    order: int = option(2, "order of the solver", minimum=1, maximum=3)

    def unusual(self) -> list[str]:
        """Return the order if it is not 2."""
        return [] if self.order == 2 else [f"order {self.order}"]


SPECS = (
    AlgorithmSpec(
        name="diffusion.ddpm",
        family="diffusion",
        label="DDPM",
        config=DDPMConfig,
        samplers=samplers_by_name(DDPMSampler, DDIMSampler, DPMSolverSampler),
        default_sampler="ddim",
        implementation="generators.diffusion.ddpm:DDPM",
        source="Ho et al., 2020, Denoising diffusion probabilistic models; "
        "Nichol and Dhariwal, 2021, Improved denoising diffusion probabilistic models",
        presets={
            "tiny": Preset(images=60_000),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=102_400_000),
        },
        preview={"name": "dpmsolver++", "steps": 15},
    ),
)
