"""Configurations of VAEs and their samplers (torch-free rim)."""

from dataclasses import dataclass
from typing import ClassVar

from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.options import DirectSampler, SamplerConfig, TrainingConfig, named, option


@dataclass(frozen=True)
class ConvVAEConfig(TrainingConfig):
    """Convolutional variational autoencoder, beta or sigma variant."""

    learning_rate: float = option(2e-3, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    variant: str = option(
        "sigma",
        "beta: unit-variance Gaussian likelihood with weighted KL; "
        "sigma: likelihood with the optimal variance, computed analytically",
        choices=("beta", "sigma"),
    )
    beta: float = option(1.0, "weight of the KL term", minimum=0, maximum=1000)
    latent_dim: int = option(
        0, "size of the latent vector (0 = by resolution)", minimum=0, maximum=4096
    )
    base_channels: int = option(
        0, "channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )
    mixture_components: int = option(
        10,
        "Gaussians per class that are fitted to the codes after training, "
        "for the sampler gmm (0 = none)",
        minimum=0,
        maximum=100,
    )


@dataclass(frozen=True)
class VQVAEConfig(TrainingConfig):
    """VQ-VAE with a causal transformer as the prior of its codes."""

    batch_size: int = option(128, "images per step", minimum=1, maximum=65536)
    learning_rate: float = option(
        2e-3, "Adam step size of the autoencoder at its peak", minimum=1e-8, maximum=1.0
    )
    codebook_size: int = option(
        0, "vectors in the codebook (0 = by resolution)", minimum=0, maximum=65536
    )
    code_dim: int = option(0, "size of its vectors (0 = by resolution)", minimum=0, maximum=1024)
    halvings: int = option(
        0, "how often the grid of codes halves the image (0 = by resolution)", minimum=0, maximum=4
    )
    base_channels: int = option(
        0, "channels of the autoencoder (0 = by resolution)", minimum=0, maximum=1024
    )
    residual_blocks: int = option(
        2, "residual blocks of the encoder and of the decoder", minimum=0, maximum=16
    )
    commitment: float = option(0.25, "weight of the commitment loss", minimum=0, maximum=10)
    codebook_decay: float = option(
        0.99, "part of the codebook's averages that a step keeps", minimum=0, maximum=0.9999
    )
    restart_below: float = option(
        0.05,
        "restart codes used less than this part of an even share (0 = never)",
        minimum=0,
        maximum=1,
    )
    prior_share: float = option(
        0.6, "last part of the budget, which trains the prior", minimum=0.05, maximum=0.95
    )
    prior_learning_rate: float = option(
        1e-3, "Adam step size of the prior at its peak", minimum=1e-8, maximum=1.0
    )
    prior_width: int = option(
        0, "features per token of the prior (0 = by resolution)", minimum=0, maximum=2048
    )
    prior_depth: int = option(0, "blocks of the prior (0 = by resolution)", minimum=0, maximum=48)
    prior_heads: int = option(4, "attention heads of the prior", minimum=1, maximum=64)
    prior_dropout: float = option(
        0.1, "part of the prior's features dropped in training", minimum=0, maximum=0.9
    )

    has_autoencoder: ClassVar[bool] = True

    @property
    def autoencoder_part(self) -> float:
        """Return the part of the budget before the prior's."""
        return 1 - self.prior_share

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the fields together."""
        errors = super().problems()
        if self.prior_width % self.prior_heads:
            errors["prior_width"] = f"expected a multiple of the {self.prior_heads} heads"
        if self.codebook_size == 1:
            errors["codebook_size"] = "expected 0 or at least 2"
        return errors


@dataclass(frozen=True)
class HierarchicalVAEConfig(TrainingConfig):
    """Hierarchical variational autoencoder after VDVAE."""

    learning_rate: float = option(2e-3, "AdamW step size at its peak", minimum=1e-8, maximum=1.0)
    clip_norm: float = option(
        200.0, "largest gradient norm (0 = no clipping)", minimum=0, maximum=1e6
    )
    skip_norm: float = option(
        400.0,
        "skip a step whose gradient norm is larger (0 = only if it is not finite)",
        minimum=0,
        maximum=1e9,
    )
    width: int = option(
        0, "channels of the features on every grid (0 = by resolution)", minimum=0, maximum=2048
    )
    bottleneck: float = option(
        0.25, "channels within a residual block, as a part of the width", minimum=0.01, maximum=1
    )
    latent_channels: int = option(
        8, "channels of each stochastic layer's latent", minimum=1, maximum=256
    )
    stochastic_layers: str = option(
        "",
        "stochastic layers on the image's grid, on that of half its sides and so on to 1x1, "
        "such as 1,2,2,1 (empty = by resolution)",
    )
    encoder_blocks: str = option(
        "",
        "residual blocks of the encoder on the same grids, and of the decoder on those without "
        "stochastic layers (empty = as the stochastic layers)",
    )
    mixtures: int = option(
        5, "logistics in the mixture of each pixel's likelihood", minimum=1, maximum=100
    )
    kl_warmup: float = option(
        0.0, "part of the budget over which the KL term's weight rises from 0", minimum=0, maximum=1
    )
    free_nats: float = option(
        0.0, "nats of each stochastic layer's KL that cost nothing", minimum=0, maximum=1000
    )
    weight_decay: float = option(
        0.01, "decoupled weight decay, times the learning rate", minimum=0, maximum=1
    )

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the fields together."""
        errors = super().problems()
        for name in ("stochastic_layers", "encoder_blocks"):
            if message := _wrong_counts(getattr(self, name)):
                errors[name] = message
        return errors


def counts(text: str) -> list[int]:
    """Return the whole numbers of `1,2,2`; none for an empty text."""
    return [int(word) for word in text.split(",")] if text else []


def _wrong_counts(text: str) -> str | None:
    """Return what is wrong with a text of counts; None if nothing is."""
    words = text.split(",") if text else ["1"]
    if not all(word.isdecimal() and word.isascii() and len(word) <= 2 for word in words):
        return f"expected whole numbers in 0..99 with commas between them, got {text!r}"[:300]
    return None if any(map(int, words[:4])) else "expected at least 1 on one of the finest 4 grids"


@dataclass(frozen=True)
class HierarchicalSampler(SamplerConfig):
    """One pass from the top of the hierarchy down to the pixels."""

    name: ClassVar[str] = "hierarchical"
    temperature: float = option(
        1.0, "factor of the latents' standard deviations", minimum=0.01, maximum=2
    )
    pixels: str = option(
        "mean", "what is shown of each pixel's distribution", choices=("mean", "sample")
    )

    def label(self) -> str:
        """Return `hierarchical`, with what differs from the defaults."""
        shown = [] if self.pixels == "mean" else [f"pixels={self.pixels}"]
        return " ".join(["hierarchical", *named("T", self.temperature, 1), *shown])


@dataclass(frozen=True)
class GMMSampler(SamplerConfig):
    """One pass from a code drawn from the mixture that was fitted to the codes of real images."""

    name: ClassVar[str] = "gmm"
    temperature: float = option(
        1.0, "scale of the distances from the Gaussians' means", minimum=0.01, maximum=2
    )

    def label(self) -> str:
        """Return `GMM`, with the temperature if it is not 1."""
        return " ".join(["GMM", *named("T", self.temperature, 1)])

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        """Return why a model trained with this configuration cannot be sampled this way."""
        if getattr(config, "mixture_components", 0):
            return {}
        return {
            "name": "expected another sampler: the model was trained with no mixture_components"
        }


@dataclass(frozen=True)
class AutoregressiveSampler(SamplerConfig):
    """Codes drawn one after the other from the prior, then one pass of the decoder."""

    name: ClassVar[str] = "autoregressive"
    temperature: float = option(
        1.0, "divides the prior's logits: below 1 likely codes win", minimum=0.01, maximum=2
    )
    top_k: int = option(0, "draw among the likeliest codes (0 = all)", minimum=0, maximum=65536)

    def label(self) -> str:
        """Return `autoregressive`, with what differs from the defaults."""
        return " ".join(
            [
                "autoregressive",
                *named("T", self.temperature, 1),
                *named("k", self.top_k, 0),
            ]
        )

    def problems(self, config: TrainingConfig) -> dict[str, str]:
        """Return why a model trained with this configuration cannot be sampled this way."""
        size = getattr(config, "codebook_size", 0)
        if size and self.top_k > size:
            return {"top_k": f"expected at most the codebook's {size} codes, got {self.top_k}"}
        return {}


SPECS = (
    AlgorithmSpec(
        name="vae.conv",
        family="vae",
        label="Conv VAE",
        config=ConvVAEConfig,
        samplers=samplers_by_name(DirectSampler, GMMSampler),
        default_sampler="direct",
        implementation="generators.vae.conv:ConvVAE",
        source="Kingma and Welling, 2014, Auto-encoding variational Bayes; "
        "Rybkin et al., 2021, Simple and effective VAE training with calibrated decoders; "
        "Ghosh et al., 2020, From variational to deterministic autoencoders (sampler gmm)",
        presets={
            # few units and a heavy KL term: else the codes leave holes in the prior
            "tiny": Preset(
                images=250_000, config={"base_channels": 16, "latent_dim": 8, "beta": 6}
            ),
            "small": Preset(images=5_000_000),
            # 100 epochs of 50,000 images with Ghosh et al.'s widths and latent size
            "paper": Preset(
                images=5_000_000,
                config={
                    "batch_size": 100,
                    "learning_rate": 1e-3,
                    "base_channels": 128,
                    "latent_dim": 128,
                },
            ),
        },
    ),
    AlgorithmSpec(
        name="vae.vq",
        family="vae",
        label="VQ-VAE",
        config=VQVAEConfig,
        samplers=samplers_by_name(AutoregressiveSampler),
        default_sampler="autoregressive",
        implementation="generators.vae.vq:VQVAE",
        source="van den Oord et al., 2017, Neural discrete representation learning",
        presets={
            "tiny": Preset(
                images=300_000,
                config={
                    "batch_size": 64,
                    "codebook_size": 64,
                    "base_channels": 32,
                    "prior_share": 0.75,
                    "prior_learning_rate": 2e-3,
                    "prior_width": 64,
                    "prior_depth": 3,
                    "prior_dropout": 0,  # not every image is seen twice
                },
            ),
            "small": Preset(images=10_000_000),
            # 250,000 steps of 128 images, and as many for the prior
            "paper": Preset(
                images=64_000_000,
                config={
                    "learning_rate": 2e-4,
                    "warmup": 0.0,
                    "decay": "constant",
                    "codebook_size": 512,
                    "code_dim": 64,
                    "halvings": 2,
                    "base_channels": 256,
                    "prior_share": 0.5,
                    "prior_learning_rate": 3e-4,
                    "prior_width": 512,
                    "prior_depth": 12,
                    "prior_heads": 8,
                },
            ),
        },
    ),
    AlgorithmSpec(
        name="vae.hierarchical",
        family="vae",
        label="Hierarchical VAE",
        config=HierarchicalVAEConfig,
        samplers=samplers_by_name(HierarchicalSampler),
        default_sampler="hierarchical",
        implementation="generators.vae.hierarchical:HierarchicalVAE",
        source="Child, 2021, Very deep VAEs generalize autoregressive models and can outperform "
        "them on images",
        presets={
            "tiny": Preset(
                images=80_000,
                config={
                    "batch_size": 32,
                    "width": 64,
                    "bottleneck": 0.5,
                    "stochastic_layers": "0,0,0,1,1,2",
                    "encoder_blocks": "0,2,2,1,1,1",
                    "free_nats": 8,
                },
            ),
            "small": Preset(images=5_000_000, config={"free_nats": 2}),
            # 1.1 million iterations of 32 images; the average's decay is 0.9999
            "paper": Preset(
                images=35_200_000,
                config={
                    "batch_size": 32,
                    "learning_rate": 2e-4,
                    "warmup": 0.0001,
                    "decay": "constant",
                    "ema_halflife_kimg": 222,
                    "width": 384,
                    "latent_channels": 16,
                    "stochastic_layers": "21,10,5,2,0,1",
                    "encoder_blocks": "11,6,6,3,0,3",
                    "mixtures": 10,
                },
            ),
        },
    ),
)
