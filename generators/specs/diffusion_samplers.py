"""Options of the samplers of diffusion models."""

from dataclasses import dataclass
from typing import ClassVar

from generators.specs.diffusion_configs import DenoiserConfig
from generators.specs.options import SamplerConfig, TrainingConfig, named, option


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


@dataclass(frozen=True)
class EDMSampler(DiffusionSampler):
    """What the walks of EDM have in common: where their noise levels are."""

    rho: float = option(
        7.0,
        "how much denser the noise levels are near the image (1 = even)",
        minimum=1,
        maximum=100,
    )

    def unusual(self) -> list[str]:
        """Return rho if it is not 7."""
        return named("ρ", self.rho, 7)  # its name


@dataclass(frozen=True)
class EDMHeunSampler(EDMSampler):
    """Heun's method, with churn."""

    name: ClassVar[str] = "heun"
    title: ClassVar[str] = "Heun"
    steps: int = option(
        18, "steps, of two network evaluations each but the last", minimum=1, maximum=10000
    )
    s_churn: float = option(
        0.0, "amount of noise added anew over the walk (0 = deterministic)", minimum=0, maximum=1000
    )
    s_min: float = option(0.0, "lowest noise level that is churned", minimum=0, maximum=1e4)
    s_max: float = option(1e4, "highest noise level that is churned", minimum=0, maximum=1e4)
    s_noise: float = option(1.0, "standard deviation of noise added anew", minimum=0.5, maximum=1.5)

    def unusual(self) -> list[str]:
        """Return rho and the churn where they are not the defaults."""
        return [*super().unusual(), *named("churn", self.s_churn, 0)]

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        """Return what is wrong: the churned noise levels must be an interval."""
        found = super().problems(config)
        if self.s_max < self.s_min:
            found["s_max"] = f"expected at least s_min, {self.s_min:g}"
        return found


@dataclass(frozen=True)
class EDMEulerSampler(EDMSampler):
    """Euler's method."""

    name: ClassVar[str] = "euler"
    title: ClassVar[str] = "Euler"


@dataclass(frozen=True)
class EDMSolverSampler(EDMSampler):
    """DPM-Solver++ 2M."""

    name: ClassVar[str] = "dpmsolver++"
    title: ClassVar[str] = "DPM-Solver++"
    steps: int = option(20, "steps", minimum=1, maximum=10000)


@dataclass(frozen=True)
class HeunSampler(DiffusionSampler):
    """Heun's method at even times."""

    name: ClassVar[str] = "heun"
    title: ClassVar[str] = "Heun"
    steps: int = option(
        25, "steps, of two network evaluations each but the last", minimum=1, maximum=10000
    )


@dataclass(frozen=True)
class EulerSampler(DiffusionSampler):
    """Euler's method at even times, with or without new noise."""

    name: ClassVar[str] = "euler"
    title: ClassVar[str] = "Euler"
    eta: float = option(
        0.0, "part of the ancestral noise that is added anew", minimum=0, maximum=1, later=True
    )

    def unusual(self) -> list[str]:
        """Return eta if it is not 0."""
        return named("η", self.eta, 0)


@dataclass(frozen=True)
class ConsistencySampler(SamplerConfig):
    """Jumps to the image, with less and less noise added between them."""

    name: ClassVar[str] = "consistency"
    level_ratio: ClassVar[float] = 4.0  # of two noise levels in between that follow each other

    steps: int = option(2, "jumps, of one network evaluation each", minimum=1, maximum=4)
    mid_level: float = option(
        0.821,
        "noise level to go back to between two jumps; the middle one of several",
        minimum=0.001,
        maximum=1000,
    )

    def label(self) -> str:
        """Return the number of jumps, with the noise level in between if it is unusual."""
        return " ".join(["Consistency", str(self.steps), *named("σ", self.mid_level, 0.821)])

    def levels(self) -> list[float]:
        """Return the noise levels between the jumps, falling, about `mid_level`."""
        powers = [(self.steps - 2) / 2 - i for i in range(self.steps - 1)]
        return [self.mid_level * self.level_ratio**power for power in powers]
