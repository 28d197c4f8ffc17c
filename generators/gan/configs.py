"""Configurations of GANs (torch-free rim)."""

from dataclasses import dataclass

from generators.configs import DirectSampler, TrainingConfig, option
from generators.specs import AlgorithmSpec, Preset, samplers_by_name


@dataclass(frozen=True)
class SNGANConfig(TrainingConfig):
    """Spectrally normalised GAN with the hinge loss and a DCGAN-size backbone."""

    learning_rate: float = option(
        4e-4, "generator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    discriminator_learning_rate: float = option(
        4e-4, "discriminator's Adam step size at its peak", minimum=1e-8, maximum=1.0
    )
    beta1: float = option(0.0, "Adam's first decay rate", minimum=0, maximum=0.999)
    beta2: float = option(0.9, "Adam's second decay rate", minimum=0, maximum=0.99999)
    decay: str = option(
        "linear",
        "how the learning rate falls over the budget",
        choices=("constant", "linear", "cosine"),
    )
    discriminator_steps: int = option(
        2, "discriminator steps for each generator step", minimum=1, maximum=20
    )
    latent_dim: int = option(64, "size of the latent vector", minimum=1, maximum=4096)
    generator_channels: int = option(
        0, "generator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )
    discriminator_channels: int = option(
        0, "discriminator channels at full resolution (0 = by resolution)", minimum=0, maximum=1024
    )


SPECS = (
    AlgorithmSpec(
        name="gan.sngan",
        family="gan",
        label="SNGAN",
        config=SNGANConfig,
        samplers=samplers_by_name(DirectSampler),
        default_sampler="direct",
        implementation="generators.gan.sngan:SNGAN",
        source="Miyato et al., 2018, Spectral normalization for generative adversarial networks",
        presets={
            "tiny": Preset(images=200_000),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=32_000_000),
        },
    ),
)
