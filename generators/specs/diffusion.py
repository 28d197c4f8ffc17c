"""Configurations of diffusion models and their samplers (torch-free rim)."""

from dataclasses import dataclass
from typing import ClassVar

from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.options import SamplerConfig, TrainingConfig, Value, named, option


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
        0,
        "the U-Net attends in its middle, and at the first resolution of at most this side",
        minimum=0,
        maximum=64,
    )
    patch: int = option(
        0,
        "side of the patches, in pixels, that become one place (0 = by resolution; U-Net: 1)",
        minimum=0,
        maximum=16,
    )
    dropout: float = option(0.0, "dropout in residual blocks", minimum=0, maximum=0.9)
    label_dropout: float = option(
        0.1,
        "part of the labels hidden in training, for classifier-free guidance",
        minimum=0,
        maximum=0.9,
    )

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the network's sizes."""
        return {**super().problems(), **_network_problems(self)}


def multipliers(text: str) -> tuple[int, ...]:
    """Return the numbers of `1,2,2,2`; of empty text none.

    Raises:
        ValueError: if the text is something else, or a number is not in 1..16.
    """
    numbers = tuple(int(word) for word in text.split(",")) if text else ()
    if not all(1 <= number <= 16 for number in numbers):
        raise ValueError(f"expected numbers in 1..16, got {text}")
    return numbers


def _network_problems(config: DenoiserConfig) -> dict[str, str]:
    found = {}
    try:
        multipliers(config.channel_multipliers)
    except ValueError:
        got = config.channel_multipliers[:50]
        found["channel_multipliers"] = f"expected numbers in 1..16 such as 1,2,2,2, got {got!r}"
    if config.backbone == "dit":
        if config.channel_multipliers:
            found["channel_multipliers"] = "expected none: a transformer has one width"
        if config.attention_side:
            found["attention_side"] = "expected 0: a transformer attends everywhere"
        if config.base_channels % 4:
            found["base_channels"] = "expected a multiple of 4: the width of a transformer"
    return found


@dataclass(frozen=True)
class DDPMConfig(DenoiserConfig):
    """Denoising diffusion at discrete timesteps."""

    timesteps: int = option(1000, "noise levels T", minimum=2, maximum=10000)
    schedule: str = option("cosine", "noise schedule", choices=("cosine", "linear", "sigmoid"))
    prediction: str = option(
        "v",
        "what the network predicts: the velocity, the noise or the clean image",
        choices=("v", "epsilon", "x0"),
    )
    zero_terminal_snr: bool = option(
        False, "leave nothing of the image at the last timestep (not with epsilon)"
    )
    min_snr_gamma: float = option(
        0.0,
        "weight errors of the clean image by min(SNR, gamma) (0 = errors of the prediction alike)",
        minimum=0,
        maximum=1000,
    )

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the network's sizes or the noise levels."""
        found = super().problems()
        if self.zero_terminal_snr and self.prediction == "epsilon":
            found["zero_terminal_snr"] = (
                "expected false: pure noise tells a network nothing that predicts noise"
            )
        elif self.zero_terminal_snr and self.min_snr_gamma:
            found["min_snr_gamma"] = "expected 0: the last timestep would have no weight"
        return found


@dataclass(frozen=True)
class EDMConfig(DenoiserConfig):
    """Denoising at noise levels sigma of any size."""

    sigma_data: float = option(
        0.5, "standard deviation of pixel values in -1..1", minimum=0.01, maximum=2
    )
    sigma_min: float = option(
        0.002, "lowest noise level of the walk but 0", minimum=1e-5, maximum=1
    )
    sigma_max: float = option(80.0, "noise level the walk begins at", minimum=1, maximum=1e4)
    p_mean: float = option(
        -1.2, "mean of the logarithm of training's noise levels", minimum=-10, maximum=10
    )
    p_std: float = option(
        1.2,
        "standard deviation of the logarithm of training's noise levels",
        minimum=0.1,
        maximum=5,
    )

    def problems(self) -> dict[str, str]:
        """Return what is wrong: a walk must go down."""
        found = super().problems()
        if self.sigma_max <= self.sigma_min:
            found["sigma_max"] = f"expected more than sigma_min, {self.sigma_min:g}"
        return found


@dataclass(frozen=True)
class FlowConfig(DenoiserConfig):
    """Velocities of straight lines between noise and images."""

    time_sampling: str = option(
        "uniform",
        "distribution of training's times: uniform, logit-normal about the middle, or EDM's",
        choices=("uniform", "logit-normal", "edm"),
    )


@dataclass(frozen=True)
class ECTConfig(EDMConfig):
    """EDM, then consistency between noise levels that come closer and closer."""

    label_dropout: float = option(
        0.0, "part of the labels hidden in training; jumps are not guided", minimum=0, maximum=0.9
    )
    tuning_share: float = option(
        0.5,
        "part of the budget for the tuning (1 = tune the weights that training begins with)",
        minimum=0.01,
        maximum=1,
    )
    tuning_learning_rate: float = option(
        1e-4, "Adam step size of the tuning at its peak", minimum=1e-8, maximum=1.0
    )
    tuning_mean: float = option(
        -1.1, "mean of the logarithm of the tuning's noise levels", minimum=-10, maximum=10
    )
    tuning_std: float = option(
        2.0,
        "standard deviation of the logarithm of the tuning's noise levels",
        minimum=0.1,
        maximum=5,
    )
    stages: int = option(
        8, "how often the noise levels are brought closer in the tuning", minimum=1, maximum=50
    )
    q: float = option(
        2.0, "how much closer noise levels are in each stage than before", minimum=1.1, maximum=1024
    )
    k: float = option(
        8.0, "how much further apart low noise levels are than high ones", minimum=0, maximum=100
    )
    b: float = option(1.0, "how fast that falls with the noise level", minimum=0, maximum=100)


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
    """Euler's method at even times."""

    name: ClassVar[str] = "euler"
    title: ClassVar[str] = "Euler"


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


# places of 2 x 2 pixels: a quarter of the cost, and the middle attends among 7 x 7 of MNIST's
DDPM_TINY: dict[str, Value] = {
    "batch_size": 32,
    "base_channels": 32,
    "channel_multipliers": "1,2",
    "patch": 2,
}
DDPM_SMALL: dict[str, Value] = {
    "batch_size": 256,
    "learning_rate": 1e-3,
    "attention_side": 16,
    "dropout": 0.1,
}
CIFAR_UNET: dict[str, Value] = {
    "batch_size": 128,
    "learning_rate": 2e-4,
    "decay": "constant",
    "ema_halflife": 1,
    "ema_halflife_kimg": 887,  # 0.9999 in each step
    "clip_norm": 1,
    "horizontal_flip": True,
    "base_channels": 128,
    "channel_multipliers": "1,2,2,2",
    "residual_blocks": 2,
    "attention_side": 16,
    "dropout": 0.1,
    "label_dropout": 0,
}
DDPM_PAPER: dict[str, Value] = {
    **CIFAR_UNET,
    "warmup": 0.00625,  # 5,000 of 800,000 steps
    "schedule": "linear",
    "prediction": "epsilon",
}
# on MNIST: the root mean square of its pixel values is about 1, and shapes are told at high noise
EDM_TINY: dict[str, Value] = {**DDPM_TINY, "sigma_data": 1.0, "p_mean": 0.0, "p_std": 1.6}
ECT_TINY: dict[str, Value] = {**EDM_TINY, "tuning_learning_rate": 1e-3, "stages": 4, "q": 4.0}
EDM_PAPER: dict[str, Value] = {
    "batch_size": 512,
    "learning_rate": 1e-3,
    "warmup": 0.05,  # 10 million images
    "decay": "constant",
    "ema_halflife": 0.05,
    "ema_halflife_kimg": 500,
    "clip_norm": 0,
    "precision": "float32",
    "horizontal_flip": True,
    "base_channels": 128,
    "channel_multipliers": "2,2,2",
    "residual_blocks": 4,
    "attention_side": 16,
    "dropout": 0.13,
    "label_dropout": 0,
}
# the network is Tong et al.'s, 2024, "Improving and generalizing flow-based generative models with
# minibatch optimal transport", whose setting of flow matching is the one that is reproduced
FLOW_PAPER: dict[str, Value] = {**CIFAR_UNET, "warmup": 0.0125}  # 5,000 of 400,000 steps
ECT_PAPER: dict[str, Value] = {
    **EDM_PAPER,
    "tuning_share": 0.2038,  # 400,000 steps of 128 images after EDM's 200 million
    "dropout": 0.2,
}

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
            "tiny": Preset(images=100_000, config=DDPM_TINY),
            "small": Preset(images=5_000_000, config=DDPM_SMALL),
            "paper": Preset(images=102_400_000, config=DDPM_PAPER),
        },
        preview={"name": "dpmsolver++", "steps": 15},
    ),
    AlgorithmSpec(
        name="diffusion.edm",
        family="diffusion",
        label="EDM",
        config=EDMConfig,
        samplers=samplers_by_name(EDMHeunSampler, EDMEulerSampler, EDMSolverSampler),
        default_sampler="heun",
        implementation="generators.diffusion.edm:EDM",
        source="Karras et al., 2022, Elucidating the design space of diffusion-based generative "
        "models",
        presets={
            "tiny": Preset(images=100_000, config=EDM_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=200_000_000, config=EDM_PAPER),
        },
        preview={"name": "dpmsolver++", "steps": 12},
    ),
    AlgorithmSpec(
        name="diffusion.flow",
        family="diffusion",
        label="Flow matching",
        config=FlowConfig,
        samplers=samplers_by_name(HeunSampler, EulerSampler),
        default_sampler="euler",
        implementation="generators.diffusion.flow:Flow",
        source="Lipman et al., 2023, Flow matching for generative modeling; "
        "Liu et al., 2023, Flow straight and fast",
        presets={
            "tiny": Preset(images=100_000, config=DDPM_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=51_200_000, config=FLOW_PAPER),
        },
        preview={"name": "euler", "steps": 15},
    ),
    AlgorithmSpec(
        name="diffusion.ect",
        family="diffusion",
        label="ECT",
        config=ECTConfig,
        samplers=samplers_by_name(ConsistencySampler),
        default_sampler="consistency",
        implementation="generators.diffusion.ect:ECT",
        source="Geng et al., 2024, Consistency models made easy",
        presets={
            "tiny": Preset(images=100_000, config=ECT_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=251_200_000, config=ECT_PAPER),
        },
    ),
)
