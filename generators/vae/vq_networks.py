"""Encoder and decoder of a VQ-VAE: images to grids of vectors, and back."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from generators.algorithm.contract import Shape
from generators.vae.grids import cropped, padded
from generators.vae.likelihoods import RunningError

MOMENTS_DECAY = 0.95  # of the running moments of vectors, per batch


class Encoder(nn.Module):
    """Image to a grid of vectors."""

    def __init__(self, shape: Shape, dim: int, channels: int, depth: int, blocks: int) -> None:
        super().__init__()
        self.depth = depth
        layers: list[nn.Module] = []
        for narrow in (shape[0], *[channels] * (depth - 1)):
            layers += [nn.Conv2d(narrow, channels, 4, stride=2, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        layers += [ResidualBlock(channels) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(channels, dim, 1))
        self.standardise = Standardise(dim)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return a vector for each place of the grid, (N, D, h, w)."""
        z: Tensor = self.standardise(self.layers(padded(images, self.depth)))
        return z


class Standardise(nn.Module):
    """Batch normalisation without scale and shift, that takes a batch of one vector as well.

    In training it goes by the batch's moments, else by their running means. A batch that is not
    finite leaves these as they are.
    """

    mean: Tensor  # (D,)
    variance: Tensor  # (D,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return vectors of mean 0 and variance 1 in each channel, shaped as z: (N, D, h, w)."""
        z = z.float()
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(z, (0, 2, 3), correction=0)
            self._follow(mean.detach(), variance.detach())
        deviation = (variance + 1e-5).sqrt()
        return (z - mean[:, None, None]) / deviation[:, None, None]

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        finite = torch.isfinite(variance).all()
        for running, value in ((self.mean, mean), (self.variance, variance)):
            running.copy_(torch.where(finite, running.lerp(value, 1 - MOMENTS_DECAY), running))


class Decoder(nn.Module):
    """A grid of vectors to the mean image; knows how far it was from real images."""

    def __init__(self, shape: Shape, dim: int, channels: int, depth: int, blocks: int) -> None:
        super().__init__()
        self.sides = shape[1], shape[2]
        self.error = RunningError()
        layers: list[nn.Module] = [nn.Conv2d(dim, channels, 3, padding=1)]
        layers += [ResidualBlock(channels) for _ in range(blocks)]
        for wide in (*[channels] * (depth - 1), shape[0]):
            layers += [nn.ReLU(), nn.ConvTranspose2d(channels, wide, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return mean images (N, C, H, W) in [-1, 1]; vectors: (N, D, h, w)."""
        return torch.tanh(cropped(self.layers(vectors), *self.sides))


class ResidualBlock(nn.Module):
    """The paper's: ReLU, 3x3 convolution, ReLU, 1x1 convolution, added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, channels, h, w), with what the block adds."""
        y: Tensor = x + self.layers(x)
        return y


def _initialise(module: nn.Module) -> None:
    """Let signals keep their variance, as He et al., 2015, "Delving deep into rectifiers", do."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        inputs = module.in_channels * math.prod(module.kernel_size)
        if module.transposed:
            inputs //= math.prod(module.stride)  # each output meets one part of the kernel
        nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        nn.init.zeros_(cast(Tensor, module.bias))
