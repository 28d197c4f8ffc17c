"""SNGAN: spectral normalisation, hinge loss, class-conditional, on a DCGAN-size backbone.

Miyato et al., 2018, "Spectral normalization for generative adversarial networks"; the projection
discriminator is Miyato and Koyama, 2018, "cGANs with projection discriminator"; the backbone is
Radford et al., 2016 (DCGAN). Deviations: widths follow the resolution, and the discriminator sees
real and generated images in one batch.
"""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name
from torch.nn.utils.parametrizations import spectral_norm

from generators.base import Algorithm, Batch, Context, OnStep, Phase, Shape, expect_sampler
from generators.configs import DirectSampler, SamplerConfig
from generators.gan.configs import SNGANConfig
from generators.layers import ConditionalBatchNorm2d, halvings, labels_or_zeros
from generators.noise import NoiseSource

MOST_CHANNELS = 512


class SNGAN(Algorithm):
    """Generator and discriminator, hinge loss."""

    sampling_networks = ("generator",)

    def __init__(self, config: SNGANConfig, *, shape: Shape, num_classes: int) -> None:
        super().__init__(shape=shape, num_classes=num_classes)
        self.config = config
        width = 32 if max(shape[1:]) <= 32 else 64
        self.networks = {
            "generator": Generator(
                shape,
                latent_dim=config.latent_dim,
                channels=config.generator_channels or 2 * width,
                num_classes=max(num_classes, 1),
            ),
            "discriminator": Discriminator(
                shape,
                channels=config.discriminator_channels or width,
                num_classes=max(num_classes, 1),
            ),
        }

    def phases(self) -> list[Phase]:
        """Return the discriminator's phase, and the generator's in each n-th step."""
        config = self.config
        betas = (config.beta1, config.beta2)
        return [
            Phase("discriminator", ("discriminator",), config.discriminator_learning_rate, betas),
            Phase(
                "generator",
                ("generator",),
                config.learning_rate,
                betas,
                every=config.discriminator_steps,
            ),
        ]

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the hinge loss of the discriminator or the generator."""
        count = len(batch.images)
        device = batch.images.device
        labels = labels_or_zeros(batch.labels, count, device)
        z = torch.randn(count, self.config.latent_dim, generator=context.generator, device=device)
        if phase == "discriminator":
            return self._discriminator_loss(batch.images, z, labels)
        return self._generator_loss(z, labels)

    def _discriminator_loss(
        self, real: Tensor, z: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            fake = self.networks["generator"](z, labels)
        logits = self.networks["discriminator"](torch.cat([real, fake]), torch.cat([labels] * 2))
        logits_real, logits_fake = logits.chunk(2)
        loss = F.relu(1 - logits_real).mean() + F.relu(1 + logits_fake).mean()
        return loss, {
            "discriminator": loss,
            "logit_real": logits_real.mean(),
            "logit_fake": logits_fake.mean(),
        }

    def _generator_loss(self, z: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        fake = self.networks["generator"](z, labels)
        loss = -self.networks["discriminator"](fake, labels).mean()
        return loss, {"generator": loss}

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return the generator's images of latent vectors at the sampler's temperature."""
        z = (
            noise.normal(self.config.latent_dim)
            * expect_sampler(sampler, DirectSampler).temperature
        )
        images: Tensor = networks["generator"](z, labels_or_zeros(labels, len(z), z.device))
        return images


class Generator(nn.Module):
    """Latent vector and class to image: a linear layer, transposed convolutions, tanh."""

    def __init__(self, shape: Shape, *, latent_dim: int, channels: int, num_classes: int) -> None:
        super().__init__()
        image_channels, height, width = shape
        ups = halvings(height, width)
        widths = [min(channels * 2**level, MOST_CHANNELS) for level in range(ups, -1, -1)]
        self.start = (widths[0], height >> ups, width >> ups)
        self.embed = nn.Embedding(num_classes, latent_dim)
        self.project = nn.Linear(2 * latent_dim, widths[0] * self.start[1] * self.start[2])
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(w, num_classes) for w in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            for wide, narrow in itertools.pairwise(widths)
        )
        self.to_image = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1]; z: (N, latent_dim), labels: (N,) int64."""
        x = self.project(torch.cat([z, self.embed(labels)], dim=1))
        x = x.view(-1, *self.start)  # (batch, channels, height, width)
        x = F.relu(self.norms[0](x, labels))
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu(norm(up(x), labels))
        return torch.tanh(self.to_image(x))


class Discriminator(nn.Module):
    """Image and class to logit: spectrally normalised convolutions and a projection head."""

    def __init__(self, shape: Shape, *, channels: int, num_classes: int) -> None:
        super().__init__()
        image_channels, height, width = shape
        downs = halvings(height, width)
        widths = [min(channels * 2**level, MOST_CHANNELS) for level in range(downs + 1)]
        layers: list[nn.Module] = [_conv(image_channels, widths[0], 3, stride=1)]
        for narrow, wide in itertools.pairwise(widths):
            layers += [_conv(narrow, wide, 4, stride=2), _conv(wide, wide, 3, stride=1)]
        self.layers = nn.ModuleList(layers)
        features = widths[-1] * (height >> downs) * (width >> downs)
        self.logit = spectral_norm(nn.Linear(features, 1))
        self.embed = spectral_norm(nn.Embedding(num_classes, features))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (N,); images: (N, C, H, W) in [-1, 1], labels: (N,) int64."""
        x = images
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        x = x.flatten(1)
        projection = (self.embed(labels) * x).sum(1)
        logits: Tensor = self.logit(x).squeeze(1) + projection
        return logits


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1))
