"""Configurations of VAEs and their samplers (torch-free rim)."""

from dataclasses import dataclass

from generators.configs import DirectSampler, TrainingConfig, option
from generators.specs import AlgorithmSpec, Preset, samplers_by_name


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


SPECS = (
    AlgorithmSpec(
        name="vae.conv",
        family="vae",
        label="Conv VAE",
        config=ConvVAEConfig,
        samplers=samplers_by_name(DirectSampler),
        default_sampler="direct",
        implementation="generators.vae.conv:ConvVAE",
        source="Kingma and Welling, 2014, Auto-encoding variational Bayes; "
        "Rybkin et al., 2021, Simple and effective VAE training with calibrated decoders",
        presets={
            "tiny": Preset(images=300_000),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=5_000_000),
        },
    ),
)
