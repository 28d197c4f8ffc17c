"""The autoencoder of latent diffusion, in the parts of diffusers' AutoencoderKL.

Rombach et al., 2022, "High-resolution image synthesis with latent diffusion models", appendix G
(KL-regularised); Esser et al., 2021, "Taming transformers for high-resolution image synthesis"
(its discriminator on patches is Isola et al.'s, 2017).

Deviations: the distance of images is the mean absolute difference alone, without a distance of
features, for which there would have to be a trained network. The adversarial weight is constant, not
scaled by the gradients' norms. Group normalisation stands for batch normalisation.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.contract import Shape
from generators.specs.diffusion_configs import norm_groups
from generators.specs.latent import LatentOptions

if TYPE_CHECKING:  # imported where one is made: it takes seconds
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

MULTIPLES = (1, 2, 4, 4)  # channels at each resolution
LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = -30.0, 20.0  # as diffusers has them
LEAST_DEVIATION = 1e-6  # of a channel that says nothing


def make_autoencoder(config: LatentOptions, shape: Shape) -> "AutoencoderKL":
    """Return diffusers' autoencoder for the patches of images of this shape."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415

    planes, *sides = shape
    patch = config.autoencoder_patch
    levels = int(math.log2(config.factor(shape) // patch)) + 1
    narrowest = config.autoencoder_channels or (16 if max(sides) <= 16 else 32)
    model: AutoencoderKL = AutoencoderKL(
        in_channels=planes * patch**2,
        out_channels=planes * patch**2,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(narrowest * multiple for multiple in MULTIPLES[:levels]),
        layers_per_block=config.autoencoder_blocks,
        latent_channels=config.latent_channels,
        norm_num_groups=norm_groups(narrowest, config.autoencoder_norm_channels),
        sample_size=max(sides) // patch,
        scaling_factor=1.0,
    )
    return model


class Encoder(nn.Module):
    """Images to the posterior of their latents."""

    def __init__(self, whole: "AutoencoderKL", patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.encoder, self.quant_conv = whole.encoder, whole.quant_conv

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents' means and log variances, (N, D, h, w) float32 each."""
        assert self.quant_conv is not None, "make_autoencoder asked for it"
        moments = self.quant_conv(self.encoder(F.pixel_unshuffle(images, self.patch)))
        mean, log_variance = moments.float().chunk(2, dim=1)
        return mean, log_variance.clamp(LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE)


class Decoder(nn.Module):
    """Latents to images."""

    def __init__(self, whole: "AutoencoderKL", patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.post_quant_conv, self.decoder = whole.post_quant_conv, whole.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Return images, (N, C, H, W) float32, about [-1, 1]; latents: (N, D, h, w)."""
        assert self.post_quant_conv is not None, "make_autoencoder asked for it"
        places: Tensor = self.decoder(self.post_quant_conv(latents)).float()
        return F.pixel_shuffle(places, self.patch)


class Scale(nn.Module):
    """Mean and deviation of each channel of the latents, over training images."""

    mean: Tensor  # (D,)
    deviation: Tensor  # (D,)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def standardise(self, latents: Tensor) -> Tensor:
        """Return latents of mean 0 and deviation 1, shaped as they come: (N, D, h, w)."""
        return (latents - _channels(self.mean)) / _channels(self.deviation)

    def restore(self, latents: Tensor) -> Tensor:
        """Return standardised latents as the decoder takes them."""
        return latents * _channels(self.deviation) + _channels(self.mean)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the mean and the deviation of each channel over batches of latents, (n, D, h, w)."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for latents in batches:
            rows = latents.double().transpose(0, 1).flatten(1)  # (channels, images x places)
            count += rows.shape[1]
            total, squares = total.to(rows) + rows.sum(1), squares.to(rows) + rows.square().sum(1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp_min(LEAST_DEVIATION))

    def is_finite(self) -> bool:
        """Return whether there are such numbers."""
        return bool(torch.isfinite(self.mean).all() and torch.isfinite(self.deviation).all())


def _channels(values: Tensor) -> Tensor:
    return values[:, None, None]  # (channels, height, width)


class PatchDiscriminator(nn.Module):
    """Judges patches of an image, not all of it at once."""

    def __init__(self, shape: Shape, channels: int) -> None:
        super().__init__()
        levels = max(1, min(3, int(math.log2(min(shape[1:]) / 4))))
        widths = [channels * 2**level for level in range(levels)]
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.GroupNorm(math.gcd(wide, 8), wide)]
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return how real each patch looks, (N, 1, h, w)."""
        logits: Tensor = self.layers(images)
        return logits


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of logits of real and of reconstructed patches.

    Lim and Ye, 2017, "Geometric GAN".
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, (N,); both (N, D, h, w)."""
    terms = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * terms.sum(dim=(1, 2, 3))
