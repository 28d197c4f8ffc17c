"""Configurations of GANs (torch-free rim)."""

from dataclasses import dataclass

from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.options import DirectSampler, TrainingConfig, option

AUGMENTATIONS = (
    "none",
    "color",
    "translation",
    "cutout",
    "color,translation",
    "color,cutout",
    "translation,cutout",
    "color,translation,cutout",
)
DECAYS = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class GANConfig(TrainingConfig):
    """What every GAN has in common; the images of a budget are those the discriminator sees."""

    learning_rate: float = option(
        2e-4, "generator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    discriminator_learning_rate: float = option(
        2e-4, "discriminator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    beta1: float = option(0.0, "Adam's first decay rate", minimum=0, maximum=0.999)
    beta2: float = option(0.9, "Adam's second decay rate", minimum=0, maximum=0.99999)
    decay: str = option("linear", "how the learning rate falls over the budget", choices=DECAYS)
    discriminator_steps: int = option(
        1, "discriminator steps for each generator step", minimum=1, maximum=20
    )
    latent_dim: int = option(64, "size of the latent vector", minimum=1, maximum=4096)
    generator_channels: int = option(
        0, "generator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )
    discriminator_channels: int = option(
        0, "discriminator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )
    diff_augment: str = option(
        "none",
        "differentiable augmentation of all that the discriminator sees, for small data sets",
        choices=AUGMENTATIONS,
    )


@dataclass(frozen=True)
class DCGANConfig(GANConfig):
    """Deep convolutional GAN with the non-saturating loss."""

    beta1: float = option(0.5, "Adam's first decay rate", minimum=0, maximum=0.999)
    beta2: float = option(0.999, "Adam's second decay rate", minimum=0, maximum=0.99999)


@dataclass(frozen=True)
class SNGANConfig(GANConfig):
    """Spectrally normalised GAN with the hinge loss and a DCGAN-size backbone."""

    learning_rate: float = option(
        4e-4, "generator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    discriminator_learning_rate: float = option(
        4e-4, "discriminator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    discriminator_steps: int = option(
        2, "discriminator steps for each generator step", minimum=1, maximum=20
    )


@dataclass(frozen=True)
class WGANGPConfig(GANConfig):
    """Wasserstein GAN with a gradient penalty."""

    discriminator_steps: int = option(
        5, "critic steps for each generator step", minimum=1, maximum=20
    )
    gradient_penalty: float = option(
        10.0, "weight of the gradient penalty (lambda)", minimum=0, maximum=1000
    )


@dataclass(frozen=True)
class R3GANConfig(GANConfig):
    """Relativistic GAN with penalties on real and generated images, without normalisation."""

    beta2: float = option(0.9, "Adam's second decay rate at first", minimum=0, maximum=0.99999)
    final_beta2: float = option(
        0.99, "Adam's second decay rate in the end", minimum=0, maximum=0.99999
    )
    decay: str = option("cosine", "how the learning rate falls over the budget", choices=DECAYS)
    final_rate: float = option(
        0.25, "learning rate in the end, as a part of its peak", minimum=0, maximum=1
    )
    gamma: float = option(
        0.05, "weight of the gradient penalties at first", minimum=0, maximum=1000
    )
    final_gamma: float = option(
        0.005, "weight of the gradient penalties in the end", minimum=0, maximum=1000
    )
    most_channels: int = option(
        0, "most channels at any resolution (0 = by resolution)", minimum=0, maximum=4096
    )
    blocks: int = option(1, "residual blocks at each resolution", minimum=1, maximum=8)
    expansion: int = option(2, "how much wider a block is within", minimum=1, maximum=8)
    group_channels: int = option(
        16, "channels in each group of a block's 3x3 convolution", minimum=1, maximum=1024
    )

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the fields together: field to what was expected of it."""
        found = super().problems()
        widest = max(self.generator_channels, self.discriminator_channels)
        if 0 < self.most_channels < widest:
            found["most_channels"] = f"expected 0 or at least {widest}, the channels asked for"
        if self.final_gamma > self.gamma:
            found["final_gamma"] = f"expected at most gamma, {self.gamma:g}"
        return found


def _spec(
    name: str,
    label: str,
    config: type[GANConfig],
    implementation: str,
    source: str,
    **presets: Preset,
) -> AlgorithmSpec:
    return AlgorithmSpec(
        name=name,
        family="gan",
        label=label,
        config=config,
        samplers=samplers_by_name(DirectSampler),
        default_sampler="direct",
        implementation=implementation,
        source=source,
        presets=presets,
    )


SPECS = (
    _spec(
        "gan.dcgan",
        "DCGAN",
        DCGANConfig,
        "generators.gan.dcgan:DCGAN",
        "Radford et al., 2016, Unsupervised representation learning with deep "
        "convolutional generative adversarial networks",
        tiny=Preset(
            images=120_000,
            config={
                "batch_size": 32,
                "learning_rate": 4e-4,
                "discriminator_learning_rate": 2e-4,
                "latent_dim": 32,
                "generator_channels": 16,
                "discriminator_channels": 16,
            },
        ),
        small=Preset(images=5_000_000),
        paper=Preset(
            images=25_600_000,
            config={
                "batch_size": 128,
                "decay": "constant",
                "warmup": 0,
                "latent_dim": 100,
                "generator_channels": 64,
                "discriminator_channels": 64,
            },
        ),
    ),
    _spec(
        "gan.sngan",
        "SNGAN",
        SNGANConfig,
        "generators.gan.sngan:SNGAN",
        "Miyato et al., 2018, Spectral normalization for generative adversarial networks",
        tiny=Preset(
            images=80_000,
            config={
                "batch_size": 32,
                "learning_rate": 5e-4,
                "discriminator_learning_rate": 1e-3,
                "discriminator_steps": 1,
                "latent_dim": 32,
                "generator_channels": 16,
                "discriminator_channels": 16,
            },
        ),
        small=Preset(images=5_000_000),
        paper=Preset(
            images=32_000_000,
            config={
                "learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "warmup": 0,
                "discriminator_steps": 5,
                "latent_dim": 128,
                "generator_channels": 64,
                "discriminator_channels": 64,
            },
        ),
    ),
    _spec(
        "gan.wgan_gp",
        "WGAN-GP",
        WGANGPConfig,
        "generators.gan.wgan_gp:WGANGP",
        "Gulrajani et al., 2017, Improved training of Wasserstein GANs",
        tiny=Preset(
            images=120_000,
            config={
                "batch_size": 32,
                "learning_rate": 4e-4,
                "discriminator_learning_rate": 4e-4,
                "discriminator_steps": 2,
                "latent_dim": 32,
                "generator_channels": 32,
                "discriminator_channels": 16,
            },
        ),
        small=Preset(images=5_000_000),
        paper=Preset(
            images=32_000_000,
            config={
                "warmup": 0,
                "latent_dim": 128,
                "generator_channels": 64,
                "discriminator_channels": 64,
            },
        ),
    ),
    _spec(
        "gan.r3gan",
        "R3GAN",
        R3GANConfig,
        "generators.gan.r3gan:R3GAN",
        "Huang et al., 2024, The GAN is dead; long live the GAN! A modern GAN baseline",
        tiny=Preset(
            images=50_000,
            config={
                "batch_size": 32,
                "learning_rate": 1e-3,
                "discriminator_learning_rate": 1e-3,
                "gamma": 0.5,
                "final_gamma": 0.05,
                "latent_dim": 32,
                "generator_channels": 16,
                "discriminator_channels": 16,
                "expansion": 1,
            },
        ),
        small=Preset(images=5_000_000),
        paper=Preset(
            images=20_000_000,
            config={
                "batch_size": 512,
                "microbatch": 64,  # a GPU's share of the authors' eight; 512 at once need 150 GiB
                "warmup": 0,
                "ema_halflife": 0.25,
                "ema_halflife_kimg": 5000,
                "horizontal_flip": True,
                "generator_channels": 768,
                "discriminator_channels": 768,
                "most_channels": 768,
                "blocks": 2,
                "diff_augment": "color,translation,cutout",
            },
        ),
    ),
)
