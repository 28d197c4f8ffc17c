import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.specs.diffusion_configs import DDPMConfig, ECTConfig, EDMConfig, FlowConfig
from generators.specs.gan import DCGANConfig, R3GANConfig, SNGANConfig, WGANGPConfig
from generators.specs.latent import (
    LatentDDPMConfig,
    LatentECTConfig,
    LatentEDMConfig,
    LatentFlowConfig,
)
from generators.specs.options import TrainingConfig
from generators.specs.vae import ConvVAEConfig, HierarchicalVAEConfig, VQVAEConfig
from generators.trained import costs
from generators.training.loop import Budget, TrainingResult, train

LATENT: dict[str, Any] = {
    "batch_size": 16,
    "base_channels": 8,
    "dropout": 0.1,
    "autoencoder_channels": 8,
}
TINY: dict[str, TrainingConfig] = {
    "gan.dcgan": DCGANConfig(
        batch_size=16,
        learning_rate=2e-2,  # its first weights are small, its first images grey
        latent_dim=8,
        generator_channels=8,
        discriminator_channels=8,
    ),
    "gan.sngan": SNGANConfig(
        batch_size=16,
        latent_dim=8,
        generator_channels=8,
        discriminator_channels=8,
        discriminator_steps=2,
    ),
    "gan.wgan_gp": WGANGPConfig(
        batch_size=16,
        latent_dim=8,
        generator_channels=8,
        discriminator_channels=8,
        discriminator_steps=2,
    ),
    "gan.r3gan": R3GANConfig(
        batch_size=16,
        latent_dim=8,
        generator_channels=8,
        discriminator_channels=8,
        diff_augment="color,translation,cutout",
    ),
    "vae.conv": ConvVAEConfig(batch_size=16, latent_dim=4, base_channels=8, mixture_components=2),
    "vae.vq": VQVAEConfig(
        batch_size=16,
        codebook_size=16,
        code_dim=8,
        base_channels=8,
        residual_blocks=1,
        prior_share=0.5,
        prior_width=16,
        prior_depth=1,
        prior_heads=2,
    ),
    "vae.hierarchical": HierarchicalVAEConfig(
        batch_size=16, width=8, latent_channels=2, stochastic_layers="1,1,0,1", mixtures=2
    ),
    "diffusion.ddpm": DDPMConfig(batch_size=16, base_channels=8, timesteps=40, dropout=0.1),
    "diffusion.edm": EDMConfig(batch_size=16, base_channels=8, dropout=0.1),
    "diffusion.flow": FlowConfig(batch_size=16, base_channels=8, dropout=0.1),
    "diffusion.ect": ECTConfig(batch_size=16, base_channels=8, dropout=0.1, stages=2),
    "latent.ddpm": LatentDDPMConfig(**LATENT, autoencoder_share=0.5, timesteps=40),
    "latent.edm": LatentEDMConfig(**LATENT, autoencoder_share=0.75),
    "latent.flow": LatentFlowConfig(
        **LATENT,
        autoencoder_share=0.5,
        adversarial_weight=0.1,
        self_conditioning=True,
        optimiser="muon",
    ),
    "latent.ect": LatentECTConfig(**LATENT, autoencoder_share=0.5, stages=2),
}


def exactly(message: str) -> str:
    """Return the pattern for `pytest.raises` that matches this message and no other."""
    return f"^{re.escape(message)}$"


@dataclass(frozen=True)
class Data:
    images: np.ndarray
    labels: np.ndarray
    num_classes: int = 3


def make_data(count: int = 50, *, channels: int = 1, side: int = 8, seed: int = 0) -> Data:
    """Return images of three classes: bright above, bright below, dark; all with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    images = rng.integers(0, 60, size=(count, channels, side, side))
    images[labels == 0, :, : side // 2] += 180
    images[labels == 1, :, side // 2 :] += 180
    return Data(images.astype(np.uint8), labels)


def train_tiny(
    algorithm: str,
    directory: Path,
    *,
    data: Data | None = None,
    config: TrainingConfig | None = None,
    images: int = 64,
    seed: int = 0,
    **options: object,
) -> TrainingResult:
    data = data or make_data()
    return train(
        algorithm,
        config or TINY[algorithm],
        data.images,
        data.labels,
        num_classes=data.num_classes,
        seed=seed,
        directory=directory,
        **{"budget": Budget(images=images), "device": "cpu", **options},  # type: ignore[arg-type]  # tests' choice
    )


@pytest.fixture(autouse=True)
def brief_latencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw an image alone no oftener than these tests need."""
    monkeypatch.setattr(costs, "LATENCY_SECONDS", 0.05)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingResult]:
    """Return a training of every algorithm, four batches long; tests only read it."""
    return {name: train_tiny(name, tmp_path_factory.mktemp("trained")) for name in TINY}
