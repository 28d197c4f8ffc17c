"""The convolutional networks that DCGAN, SNGAN and WGAN-GP have in common, at any resolution."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import (
    ConditionEncoder,
    Encoded,
    condition_layer,
    spread,
)
from generators.algorithm.contract import Shape
from generators.algorithm.layers import ConditionalBatchNorm2d, halvings
from generators.specs.conditions import Conditions
from generators.specs.gan import GANConfig

MOST_CHANNELS = 512
CLASS_STD = 0.5  # of the classes' first shifts, in a generator; of their scales half as much

Wrap = Callable[[nn.Module], nn.Module]


def default_width(shape: Shape) -> int:
    """Return the discriminator's channels at full resolution; the generator has twice as many."""
    return 32 if max(shape[1:]) <= 32 else 64


class Generator(nn.Module):
    """Latent vector and class to image: a linear layer, transposed convolutions, tanh.

    Radford et al., 2016 (DCGAN), figure 1, with as many doublings as the resolution has and a 3x3
    convolution at the end, as Miyato et al., 2018 have it. The class acts through conditional batch
    normalisation. With `class_beside_latent` its embedding stands beside the latent vector as well,
    from which labels are learned soonest; without, shifts and scales differ from the beginning,
    since those that begin equal take thousands of steps to part.
    """

    def __init__(
        self,
        shape: Shape,
        config: GANConfig,
        conditions: Conditions,
        *,
        class_beside_latent: bool = False,
    ) -> None:
        super().__init__()
        image_channels, height, width = shape
        ups = halvings(height, width)
        widths = _widths(config.generator_channels or 2 * default_width(shape), ups)[::-1]
        self.start = (widths[0], height >> ups, width >> ups)
        self.condition = ConditionEncoder(conditions)
        self.embed = condition_layer(conditions, config.latent_dim) if class_beside_latent else None
        inputs = config.latent_dim * (2 if class_beside_latent else 1)
        self.project = nn.Linear(inputs, math.prod(self.start))
        self.norms = nn.ModuleList(
            ConditionalBatchNorm2d(w, conditions)
            if class_beside_latent
            else _parted_norm(w, conditions)
            for w in widths
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            for wide, narrow in itertools.pairwise(widths)
        )
        self.to_image = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1]; z: (N, latent_dim), labels: (N, L) int64."""
        encoded = self.condition(labels)
        if self.embed is not None:
            z = torch.cat([z, self.embed(encoded.pooled)], dim=1)
        x = self.project(z).view(-1, *self.start)  # (batch, channels, height, width)
        x = F.relu(self.norms[0](x, encoded))
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu(norm(up(x), encoded))
        return torch.tanh(self.to_image(x))


class Discriminator(nn.Module):
    """Image and class to logit: convolutions of stride 2 and a projection head.

    Radford et al., 2016 (DCGAN), after a 3x3 convolution at full resolution; with `between`, the
    standard network of Miyato et al., 2018, table 3, which has one at each other resolution too.
    """

    def __init__(
        self,
        shape: Shape,
        config: GANConfig,
        conditions: Conditions,
        *,
        slope: float,  # of the leaky ReLU below 0
        between: bool,
        wrap: Wrap = lambda layer: layer,  # around each layer with weights
        norm: Callable[[int], nn.Module] | None = None,  # after each convolution but the first
    ) -> None:
        super().__init__()
        image_channels, height, width = shape
        downs = halvings(height, width)
        widths = _widths(config.discriminator_channels or default_width(shape), downs)
        layers = [wrap(nn.Conv2d(image_channels, widths[0], 3, padding=1)), nn.LeakyReLU(slope)]
        for narrow, wide in itertools.pairwise(widths):
            convolutions: list[nn.Module] = [nn.Conv2d(narrow, wide, 4, stride=2, padding=1)]
            if between:
                convolutions.append(nn.Conv2d(wide, wide, 3, padding=1))
            for convolution in convolutions:
                layers += [wrap(convolution), *([norm(wide)] if norm else []), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        features = widths[-1] * (height >> downs) * (width >> downs)
        self.condition = ConditionEncoder(conditions)
        self.head = ProjectionHead(features, conditions, wrap)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (N,); images: (N, C, H, W) in [-1, 1], labels: (N, L) int64."""
        logits: Tensor = self.head(self.layers(images), self.condition(labels))
        return logits


class ProjectionHead(nn.Module):
    """Features to a logit: a linear one, and their product with what the condition asks for.

    Miyato and Koyama, 2018, "cGANs with projection discriminator", eq. 3.
    """

    def __init__(
        self, features: int, conditions: Conditions, wrap: Wrap = lambda layer: layer
    ) -> None:
        super().__init__()
        embed = condition_layer(conditions, features)
        spread(embed, std=features**-0.5)  # logits of size 1, like the linear one's
        self.logit = wrap(nn.Linear(features, 1))
        self.embed = wrap(embed)

    def forward(self, features: Tensor, encoded: Encoded) -> Tensor:
        """Return logits (N,); features: (N, D)."""
        projection = (self.embed(encoded.pooled) * features).sum(1)
        logits: Tensor = self.logit(features).squeeze(1) + projection
        return logits


def _widths(channels: int, levels: int) -> list[int]:
    return [min(channels * 2**level, MOST_CHANNELS) for level in range(levels + 1)]


def _parted_norm(channels: int, conditions: Conditions) -> ConditionalBatchNorm2d:
    norm = ConditionalBatchNorm2d(channels, conditions)
    if conditions.given:
        spread(norm.shift, std=CLASS_STD)
        spread(norm.scale, mean=1.0, std=CLASS_STD / 2)
    return norm
