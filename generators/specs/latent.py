"""Latent diffusion: an autoencoder and a diffusion model of its codes (torch-free rim)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from generators.specs.algorithms import AlgorithmSpec, Preset
from generators.specs.diffusion import SPECS as DIFFUSION
from generators.specs.diffusion_configs import DDPMConfig, ECTConfig, EDMConfig, FlowConfig
from generators.specs.options import Shape, TrainingConfig, Value, option

FACTORS = (8, 4, 2)
SIZES = (
    "latent_channels",
    "autoencoder_channels",
    "autoencoder_patch",
    "autoencoder_blocks",
    "autoencoder_norm_channels",
)
LDM = "Rombach et al., 2022, High-resolution image synthesis with latent diffusion models"


@dataclass(frozen=True)
class LatentOptions(TrainingConfig):
    """What all latent models have in common: the autoencoder."""

    autoencoder: str = option(
        "",
        "checkpoint of a latent model whose autoencoder is taken as it is, on a site a run of one, "
        "such as run 12 (empty = train one)",
    )
    autoencoder_share: float = option(
        0.3,
        "part of the budget for the autoencoder (1 = nothing else; 0 where one is taken)",
        minimum=0.01,
        maximum=1,
    )
    autoencoder_learning_rate: float = option(
        1e-3, "Adam step size of the autoencoder at its peak", minimum=1e-8, maximum=1.0
    )
    downsampling: int = option(
        0,
        "pixels a side that become one place of the latents: 2, 4 or 8 (0 = by resolution)",
        minimum=0,
        maximum=8,
    )
    latent_channels: int = option(4, "numbers at each place of the latents", minimum=1, maximum=64)
    autoencoder_channels: int = option(
        0,
        "channels of the autoencoder at full resolution (0 = by resolution)",
        minimum=0,
        maximum=512,
    )
    autoencoder_patch: int = option(
        1,
        "side of the patches, in pixels, that the autoencoder begins and ends with: 1, 2 or 4",
        minimum=1,
        maximum=4,
    )
    autoencoder_blocks: int = option(
        1, "residual blocks of the encoder per resolution", minimum=1, maximum=8
    )
    autoencoder_norm_channels: int = option(
        1,
        "least channels that the autoencoder normalises together, in at most 32 groups; a channel "
        "alone forgets how much of it an image has",
        minimum=1,
        maximum=64,
        later=True,
    )
    kl_weight: float = option(
        1e-6,
        "weight of the latents' divergence from standard normal, in nats per pixel value",
        minimum=0,
        maximum=10,
    )
    adversarial_weight: float = option(
        0.0,
        "weight of a patch discriminator from the middle of the autoencoder's part on (0 = none)",
        minimum=0,
        maximum=10,
    )

    has_autoencoder: ClassVar[bool] = True

    @property
    def autoencoder_part(self) -> float:
        """Return the part of the budget after which the diffusion model is trained."""
        return 0.0 if self.autoencoder else self.autoencoder_share

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the autoencoder's sizes."""
        found = super().problems()
        if self.downsampling not in (0, *FACTORS):
            found["downsampling"] = f"expected 2, 4 or 8, or 0, got {self.downsampling}"
        if self.autoencoder_patch not in (1, *FACTORS):
            found["autoencoder_patch"] = f"expected 1, 2 or 4, got {self.autoencoder_patch}"
        return found

    def shape_problems(self, shape: Shape) -> dict[str, str]:
        """Return what is wrong: sides must be whole numbers of places."""
        found, (_, height, width) = super().shape_problems(shape), shape
        divisor = self.downsampling or 2
        if height % divisor or width % divisor:
            found["downsampling"] = (
                f"expected images with sides that {divisor} divides, got {height}x{width}"
            )
        elif self.autoencoder_patch > (factor := self.factor(shape)):
            found["autoencoder_patch"] = f"expected at most the downsampling, {factor}"
        return found

    def factor(self, shape: Shape) -> int:
        """Return how many pixels a side become one place: by resolution about 8 places a side.

        Larger images have more places than that, since no more than 8 pixels become one.
        """
        _, *sides = shape
        fitting = (f for f in FACTORS if not any(side % f for side in sides))
        return self.downsampling or next((f for f in fitting if 7 * f <= max(sides)), 2)

    def misfit(self, sizes: Mapping[str, Any], shape: Shape) -> str:
        """Return why the autoencoder of a configuration, of which these are the values, is no use.

        "" if it is one for images of this shape as this configuration has it.
        """
        for name in SIZES:
            wanted, found = getattr(self, name), sizes.get(name, getattr(LatentOptions, name))
            if found != wanted:
                return f"expected the {name} {wanted}, it has {found}"
        factor = replace(self, downsampling=sizes["downsampling"]).factor(shape)
        if factor != self.factor(shape):
            return f"expected the downsampling {self.factor(shape)}, it has {factor}"
        return ""

    def latent_shape(self, shape: Shape) -> Shape:
        """Return the latents' channels, height and width, for images of this shape."""
        factor = self.factor(shape)
        return self.latent_channels, shape[1] // factor, shape[2] // factor


@dataclass(frozen=True)
class LatentDDPMConfig(DDPMConfig, LatentOptions):
    """Denoising diffusion of latents at discrete timesteps."""


@dataclass(frozen=True)
class LatentEDMConfig(EDMConfig, LatentOptions):
    """EDM of latents, which are standardised: their deviation is 1.

    Karras et al., 2024, have p_mean -0.4 for latents of deviation 0.5: ln 2 more for ours.
    """

    sigma_data: float = option(1.0, "standard deviation of the latents", minimum=0.01, maximum=2)
    p_mean: float = option(
        0.3, "mean of the logarithm of training's noise levels", minimum=-10, maximum=10
    )


@dataclass(frozen=True)
class LatentFlowConfig(FlowConfig, LatentOptions):
    """Velocities of straight lines between noise and latents."""


@dataclass(frozen=True)
class LatentECTConfig(ECTConfig, LatentOptions):
    """EDM of latents, then consistency between noise levels."""

    sigma_data: float = option(1.0, "standard deviation of the latents", minimum=0.01, maximum=2)
    p_mean: float = option(
        0.3, "mean of the logarithm of training's noise levels", minimum=-10, maximum=10
    )


# Of 32 x 32 scenes whose autoencoder was trained for 90 s of one thread, a parser reads 52 % after
# their reconstruction (22.3 dB) with four channels normalised together, none (15.3 dB) with one.
TINY: dict[str, Value] = {
    "batch_size": 16,
    "base_channels": 32,
    "channel_multipliers": "1,2",
    "adaptive_norm": True,
    "norm_channels": 4,
    "autoencoder_channels": 16,
    "autoencoder_patch": 2,
    "autoencoder_norm_channels": 4,
    "autoencoder_learning_rate": 2e-3,
}
ECT_TINY: dict[str, Value] = {**TINY, "tuning_learning_rate": 1e-3, "stages": 4, "q": 4.0}
SMALL: dict[str, Value] = {"batch_size": 256, "autoencoder_channels": 64}
# LDM-8 of LSUN churches: its U-Net, latents, batch and half a million steps. It has a schedule of its
# own (linear in the root of beta), the absolute error and an autoencoder of photographs
LDM_PAPER: dict[str, Value] = {
    "batch_size": 96,
    "learning_rate": 5e-5,
    "warmup": 0.02,  # 10,000 steps
    "decay": "constant",
    "ema_halflife": 1,
    "ema_halflife_kimg": 665,  # 0.9999 in each step
    "clip_norm": 0,
    "schedule": "linear",
    "prediction": "epsilon",
    "base_channels": 192,
    "channel_multipliers": "1,2,2,4,4",
    "residual_blocks": 2,
    "attention_side": 32,
    "label_dropout": 0,
    "downsampling": 8,
    "autoencoder_channels": 128,
    "autoencoder_blocks": 2,
    "autoencoder_learning_rate": 5e-5,
    "adversarial_weight": 0.5,
}
# the same transformer and steps as SiT-XL/2 of Ma et al., 2024, "SiT: exploring flow and
# diffusion-based generative models with scalable interpolant transformers"
FLOW_PAPER: dict[str, Value] = {
    "batch_size": 256,
    "learning_rate": 1e-4,
    "warmup": 0,
    "decay": "constant",
    "ema_halflife": 1,
    "ema_halflife_kimg": 1774,  # 0.9999 in each step
    "clip_norm": 0,
    "horizontal_flip": True,
    "backbone": "dit",
    "base_channels": 1152,
    "residual_blocks": 28,
    "patch": 2,
    "downsampling": 8,
    "autoencoder_channels": 128,
    "autoencoder_blocks": 2,
    "autoencoder_learning_rate": 5e-5,
    "adversarial_weight": 0.5,
}
IN_PIXELS = {spec.name.removeprefix("diffusion."): spec for spec in DIFFUSION}


def _latent(
    name: str, config: type[LatentOptions], attribute: str, **presets: Preset
) -> AlgorithmSpec:
    """Return the entry of a diffusion model in latent space; its samplers are the same."""
    in_pixels = IN_PIXELS[name]
    return replace(
        in_pixels,
        name=f"latent.{name}",
        label=f"Latent {in_pixels.label}"
        if in_pixels.label.isupper()
        else f"Latent {in_pixels.label.lower()}",
        config=config,
        implementation=f"generators.latent.models:{attribute}",
        source=f"{LDM}; {in_pixels.source}",
        presets=presets,
    )


SPECS = (
    _latent(
        "ddpm",
        LatentDDPMConfig,
        "LatentDDPM",
        tiny=Preset(images=100_000, config=TINY),
        small=Preset(images=5_000_000, config=SMALL),
        paper=Preset(images=48_000_000, config=LDM_PAPER),
    ),
    _latent(
        "edm",
        LatentEDMConfig,
        "LatentEDM",
        tiny=Preset(images=100_000, config=TINY),
        small=Preset(images=5_000_000, config=SMALL),
    ),
    _latent(
        "flow",
        LatentFlowConfig,
        "LatentFlow",
        tiny=Preset(images=100_000, config=TINY),
        small=Preset(images=5_000_000, config=SMALL),
        paper=Preset(images=1_792_000_000, config=FLOW_PAPER),
    ),
    _latent(
        "ect",
        LatentECTConfig,
        "LatentECT",
        tiny=Preset(images=100_000, config=ECT_TINY),
        small=Preset(images=5_000_000, config=SMALL),
    ),
)
