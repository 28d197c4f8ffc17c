"""Encoder and decoder of a hierarchical VAE: residual blocks and stochastic layers on each grid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import ConditionEncoder, condition_layer
from generators.specs.conditions import Conditions
from generators.vae.hierarchical_latents import Latent
from generators.vae.hierarchical_sizes import Grid, Sizes, kernel_of


class Block(nn.Sequential):
    """The bottleneck: four convolutions to fewer channels and back, each after a GELU."""

    def __init__(
        self, channels: int, outputs: int, middle: int, kernel: int, *, scale: float = 1.0
    ) -> None:
        last = _conv(middle, outputs, 1)
        with torch.no_grad():
            last.weight.mul_(scale)
        super().__init__(
            nn.GELU(),
            _conv(channels, middle, 1),
            nn.GELU(),
            _conv(middle, middle, kernel),
            nn.GELU(),
            _conv(middle, middle, kernel),
            nn.GELU(),
            last,
        )


class ResidualBlock(nn.Module):
    """Features plus their block."""

    def __init__(self, sizes: Sizes, kernel: int, scale: float) -> None:
        super().__init__()
        self.block = Block(sizes.width, sizes.width, sizes.middle, kernel, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, width, H, W), as x is."""
        changed: Tensor = x + self.block(x)
        return changed


class Encoder(nn.Module):
    """Image to features on every grid; it holds the blocks of the posteriors as well."""

    def __init__(self, image_channels: int, grids: list[Grid], sizes: Sizes) -> None:
        super().__init__()
        scale = _depth_scale(sum(grid.blocks for grid in grids))
        self.patch = sizes.patch
        self.sides = [(grid.height, grid.width) for grid in grids]
        self.first = _conv(image_channels * sizes.patch**2, sizes.width, 3)
        self.blocks = nn.ModuleList(  # by grid, the coarsest first
            nn.Sequential(
                *(ResidualBlock(sizes, kernel_of(grid), scale) for _ in range(grid.blocks))
            )
            for grid in grids
        )
        self.posteriors = nn.ModuleList(  # by stochastic layer, from the top
            Block(2 * sizes.width, 2 * sizes.latent, sizes.middle, kernel_of(grid))
            for grid in grids
            for _ in range(grid.layers)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features by grid, the coarsest first, each (N, width, H, W)."""
        beyond = (0, -images.shape[3] % self.patch, 0, -images.shape[2] % self.patch)
        x = self.first(F.pixel_unshuffle(F.pad(images, beyond), self.patch))
        features = []
        for side, blocks in zip(reversed(self.sides), reversed(self.blocks), strict=True):
            if side != x.shape[2:]:
                x = F.adaptive_avg_pool2d(x, side)
            x = blocks(x)
            features.append(x)
        return features[::-1]


class Decoder(nn.Module):
    """Classes and noise to the parameters of every pixel's distribution."""

    def __init__(
        self, outputs: int, conditions: Conditions, grids: list[Grid], sizes: Sizes
    ) -> None:
        super().__init__()
        scale = _depth_scale(sum(grid.layers or grid.blocks for grid in grids))
        width = sizes.width
        self.biases = nn.ParameterList(
            torch.zeros(1, width, grid.height, grid.width) for grid in grids
        )
        self.condition = ConditionEncoder(conditions)
        self.embeds = nn.ModuleList(condition_layer(conditions, width) for _ in grids)
        self.layers = nn.ModuleList(  # by grid, the coarsest first
            nn.ModuleList(_decoder_layers(grid, sizes, scale)) for grid in grids
        )
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))
        self.last = _conv(width, outputs * sizes.patch**2, 1)
        self.patch = sizes.patch

    def forward(
        self,
        labels: Tensor,
        noise: Sequence[Tensor],
        features: Sequence[Tensor] | None = None,
        posteriors: nn.ModuleList | None = None,
    ) -> tuple[Tensor, list[Latent]]:
        """Return the parameters of the pixels (N, outputs, H, W), and the latents from the top.

        Args:
            labels: (N, L) int64.
            noise: of each stochastic layer from the top, (N, Z, H, W); zeros mean its mean.
            features: of the encoder; None draws from the priors.
            posteriors: blocks of the encoder, one for each stochastic layer.
        """
        h, latents = torch.zeros_like(self.gain), list[Latent]()
        told = self.condition(labels).pooled
        for grid, (bias, embed) in enumerate(zip(self.biases, self.embeds, strict=True)):
            h = F.interpolate(h, bias.shape[2:], mode="nearest")
            h = h + bias + embed(told)[:, :, None, None]
            for layer in self.layers[grid]:  # type: ignore[attr-defined]  # a ModuleList
                if isinstance(layer, ResidualBlock):
                    h = layer(h)
                    continue
                index = len(latents)
                believed = None
                if features is not None and posteriors is not None:
                    believed = posteriors[index](torch.cat([h, features[grid]], dim=1))
                h, latent = layer(h, noise[index], believed)
                latents.append(latent)
        return F.pixel_shuffle(self.last(h * self.gain), self.patch), latents


def _decoder_layers(grid: Grid, sizes: Sizes, scale: float) -> list[nn.Module]:
    if not grid.layers:
        return [ResidualBlock(sizes, kernel_of(grid), scale) for _ in range(grid.blocks)]
    return [StochasticLayer(sizes, kernel_of(grid), scale) for _ in range(grid.layers)]


class StochasticLayer(nn.Module):
    """A latent on a grid: its prior, and what its value adds to the features."""

    def __init__(self, sizes: Sizes, kernel: int, scale: float) -> None:
        super().__init__()
        width, latent = sizes.width, sizes.latent
        self.parts = [latent, latent, width]
        self.prior = Block(width, sum(self.parts), sizes.middle, kernel, scale=0)
        self.project = _conv(latent, width, 1)
        self.residual = ResidualBlock(sizes, kernel, scale)
        with torch.no_grad():
            self.project.weight.mul_(scale)

    def forward(self, h: Tensor, noise: Tensor, posterior: Tensor | None) -> tuple[Tensor, Latent]:
        """Return the features with the latent's value in them, (N, width, H, W), and the latent.

        Args:
            h: (N, width, H, W).
            noise: (N, Z, H, W).
            posterior: mean and log scale, (N, 2 Z, H, W); None draws from the prior.
        """
        mean, log_scale, shift = self.prior(h).split(self.parts, dim=1)
        prior = (mean.float(), log_scale.float())  # a sum of many small terms follows
        mean, log_scale = prior if posterior is None else posterior.float().chunk(2, dim=1)
        z = mean + torch.exp(log_scale) * noise
        h = h + shift + self.project(z)
        return self.residual(h), Latent(z, mean, log_scale, *prior)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps the size; its bias begins at 0."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return layer


def _depth_scale(blocks: int) -> float:
    """Return the scale of a residual block's last convolution."""
    return 1 / math.sqrt(max(1, blocks))
