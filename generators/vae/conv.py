"""A convolutional variational autoencoder, class-conditional, in its beta and sigma variants.

Kingma and Welling, 2014, "Auto-encoding variational Bayes"; beta: Higgins et al., 2017,
"beta-VAE"; sigma: Rybkin et al., 2021, "Simple and effective VAE training with calibrated
decoders", the optimal variance of a batch in closed form.
"""

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.base import Algorithm, Batch, Context, OnStep, Phase, Shape, expect_sampler
from generators.configs import DirectSampler, SamplerConfig
from generators.layers import halvings, labels_or_zeros
from generators.noise import NoiseSource
from generators.vae.configs import ConvVAEConfig

MOST_CHANNELS = 512
LABEL_DIM = 32  # size of the class embedding
SMALLEST_VARIANCE = 1e-4  # (1/255)^2 is 6e-5 on the [-1, 1] scale: finer is below one grey level


class ConvVAE(Algorithm):
    """Encoder and decoder; sampling needs the decoder alone."""

    sampling_networks = ("decoder",)

    def __init__(self, config: ConvVAEConfig, *, shape: Shape, num_classes: int) -> None:
        super().__init__(shape=shape, num_classes=num_classes)
        self.config = config
        side = max(shape[1:])
        self.latent_dim = config.latent_dim or (16 if side <= 16 else 32 if side <= 28 else 128)
        channels = config.base_channels or (32 if side <= 28 else 64)
        classes = max(num_classes, 1)
        self.networks = {
            "encoder": Encoder(shape, self.latent_dim, channels, classes),
            "decoder": Decoder(shape, self.latent_dim, channels, classes),
        }

    def phases(self) -> list[Phase]:
        """Return the one phase that moves both networks."""
        return [Phase("elbo", ("encoder", "decoder"), self.config.learning_rate)]

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence lower bound, in nats per pixel value."""
        x = batch.images
        labels = labels_or_zeros(batch.labels, len(x), x.device)
        mu, log_variance = self.networks["encoder"](x, labels).chunk(2, dim=1)
        epsilon = torch.randn(mu.shape, generator=context.generator, device=x.device)
        z = mu + torch.exp(0.5 * log_variance) * epsilon
        x_hat = self.networks["decoder"](z, labels)
        mse = F.mse_loss(x_hat, x)
        kl = kl_to_standard_normal(mu, log_variance).mean() / math.prod(self.shape)
        likelihood = self._negative_log_likelihood(mse)
        loss = likelihood + self.config.beta * kl
        return loss, {"elbo": loss, "mse": mse, "kl": kl}

    def _negative_log_likelihood(self, mse: Tensor) -> Tensor:
        """Return -log p(x|z) per pixel value, up to a constant."""
        if self.config.variant == "beta":
            return 0.5 * mse
        return 0.5 * torch.log(mse.clamp_min(SMALLEST_VARIANCE))

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return the decoder's means of latent vectors at the sampler's temperature."""
        z = noise.normal(self.latent_dim) * expect_sampler(sampler, DirectSampler).temperature
        images: Tensor = networks["decoder"](z, labels_or_zeros(labels, len(z), z.device))
        return images


def kl_to_standard_normal(mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mu, exp(log_variance)) || N(0, 1)) in nats, (N,); both arguments (N, D)."""
    return 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance).sum(1)


class Encoder(nn.Module):
    """Image and class to the mean and log variance of the posterior."""

    def __init__(self, shape: Shape, latent_dim: int, channels: int, num_classes: int) -> None:
        super().__init__()
        image_channels, height, width = shape
        downs = halvings(height, width)
        widths = _widths(channels, downs)
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), nn.SiLU()]
        for narrow, wide in itertools.pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), _norm(wide), nn.SiLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        features = widths[-1] * (height >> downs) * (width >> downs)
        self.embed = nn.Embedding(num_classes, LABEL_DIM)
        self.posterior = nn.Linear(features + LABEL_DIM, 2 * latent_dim)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return mean and log variance side by side, (N, 2 * latent_dim)."""
        features = torch.cat([self.convolutions(images), self.embed(labels)], dim=1)
        posterior: Tensor = self.posterior(features)
        return posterior


class Decoder(nn.Module):
    """Latent vector and class to the mean image."""

    def __init__(self, shape: Shape, latent_dim: int, channels: int, num_classes: int) -> None:
        super().__init__()
        image_channels, height, width = shape
        ups = halvings(height, width)
        widths = _widths(channels, ups)[::-1]
        start = (widths[0], height >> ups, width >> ups)
        self.embed = nn.Embedding(num_classes, LABEL_DIM)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim + LABEL_DIM, math.prod(start)),
            nn.Unflatten(1, start),
            _norm(widths[0]),
            nn.SiLU(),
        ]
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), _norm(narrow), nn.SiLU()]
        layers.append(nn.Conv2d(widths[-1], image_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return mean images (N, C, H, W) in [-1, 1]; z: (N, latent_dim), labels: (N,) int64."""
        x: Tensor = self.layers(torch.cat([z, self.embed(labels)], dim=1))
        return torch.tanh(x)


def _widths(channels: int, levels: int) -> list[int]:
    return [min(channels * 2**level, MOST_CHANNELS) for level in range(levels + 1)]


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 8), channels)
