"""Options of diffusion models and of their network."""

import math
from dataclasses import dataclass

from generators.specs.options import TrainingConfig, option


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

    adaptive_norm: bool = option(
        False,
        "let time and condition scale and shift the U-Net's normalised features, as in ADM; "
        "otherwise they are added before the normalisation, which takes back what a group of few "
        "channels has in common",
        later=True,
    )
    norm_channels: int = option(
        1,
        "least channels that the U-Net normalises together, in at most 32 groups; a channel alone "
        "forgets how much of it an image has",
        minimum=1,
        maximum=64,
        later=True,
    )
    cross_attention: bool = option(
        False,
        "let places of the image attend to a caption's words: everywhere in a transformer, at the "
        "U-Net's lowest resolutions",
        later=True,
    )
    optimiser: str = option(
        "adamw",
        "what moves the weights: AdamW, or Muon, which takes away what a gradient has too much of "
        "in one direction, for the kernels of convolutions and AdamW for the rest",
        choices=("adamw", "muon"),
        later=True,
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
    if config.cross_attention and config.captions_as == "classes":
        found["cross_attention"] = "expected false: a caption that is one class has no words"
    if config.backbone == "dit":
        if config.channel_multipliers:
            found["channel_multipliers"] = "expected none: a transformer has one width"
        if config.attention_side:
            found["attention_side"] = "expected 0: a transformer attends everywhere"
        if config.base_channels % 4:
            found["base_channels"] = "expected a multiple of 4: the width of a transformer"
        if config.optimiser == "muon":
            found["optimiser"] = "expected adamw: a transformer has no convolutions"
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
class LevelsConfig(DenoiserConfig):
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
class EDMConfig(LevelsConfig):
    """Denoising at noise levels, by EDM's mixture or by the clean image itself."""

    prediction: str = option(
        "edm",
        "what the network predicts: noise at low levels and the image at high ones, as EDM mixes "
        "them, or the clean image (with patches); the loss is the same",
        choices=("edm", "x0"),
        later=True,
    )


@dataclass(frozen=True)
class FlowConfig(DenoiserConfig):
    """Velocities of straight lines between noise and images."""

    time_sampling: str = option(
        "uniform",
        "distribution of training's times: uniform, logit-normal about the middle, or EDM's",
        choices=("uniform", "logit-normal", "edm"),
    )
    prediction: str = option(
        "v",
        "what the network predicts: the velocity, or the clean image (with patches); the loss is "
        "the velocity's",
        choices=("v", "x0"),
        later=True,
    )
    time_shift: float = option(
        1.0,
        "moves times to more noise (above 1) in training and in walks: t becomes s t / (1 + (s - 1) t)",
        minimum=0.1,
        maximum=100,
        later=True,
    )
    self_conditioning: bool = option(
        False,
        "show the network what it last made of the clean image: in each step of a walk, and in half "
        "of the training's",
        later=True,
    )


@dataclass(frozen=True)
class ECTConfig(LevelsConfig):
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


def norm_groups(narrowest: int, norm_channels: int) -> int:
    """Return in how many groups of at least so many channels a network normalises, 32 at most.

    `narrowest` divides the channels of every resolution.
    """
    groups = math.gcd(narrowest, 32)
    while groups > 1 and groups * norm_channels > narrowest:
        groups //= 2
    return groups
