"""Untrained convolutions made from keys: features that need no weights file and no data.

The networks, from a written specification (recipe version 1), one for each key:

- The numbers u_0, u_1, … come from the 64-bit outputs r of Philox 4x64-10 with that key, as numpy's
  bit generator gives them: u = ((r >> 40) + 0.5) / 2^24, in 0..1. Layers take them in order, each its weights (outputs,
  inputs, rows, columns) and then its biases, as float32 of (2u - 1) b, where b makes the variance
  b² / 3 that of He's rule for this activation, 2 / ((1 + slope²) inputs rows columns), for weights,
  and 0.1² for biases.
- Pixels are x / 127.5 - 1. The first layer keeps the size; each further one halves it, rounding up,
  until it is at most 8; there are at least three layers. All are 3x3 with zero padding, 32 wide at first and then
  as wide as the features. Each is followed by a leaky ReLU.
- Features are the averages of the last layer's maps.

Naeem et al., 2020, "Reliable fidelity and diversity metrics for generative models", use random
VGG16 features; these are smaller, so that they are fast and their number stays below that of images.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluation.features.base import Extractor, ExtractorError, content_sha256
from evaluation.protocols.extractor_specs import RANDOM_CONVOLUTION
from evaluation.protocols.extractors import EXTRACTORS

SPEC = EXTRACTORS[RANDOM_CONVOLUTION]
KEYS = (0, 1, 2)
WIDTH = 64
FIRST_WIDTH = 32
SLOPE = 0.2  # of the leaky ReLU
BIAS_STD = 0.1


def random_convolution_recipe(
    *, channels: int, resolution: int, keys: Sequence[int] = KEYS, width: int = WIDTH
) -> dict[str, Any]:
    """Return the whole recipe for images of this shape, as plain JSON values."""
    return {
        "version": 1,
        "generator": "Philox 4x64-10",
        "keys": list(keys),
        "width": width,
        "channels": channels,
        "resolution": resolution,
    }


def _strides(resolution: int) -> list[int]:
    halvings = 2
    while resolution > 8 * 2**halvings:
        halvings += 1
    return [1] + halvings * [2]


def split_keys(features: Tensor, keys: Sequence[int]) -> list[Tensor]:
    """Return the features (N, width) of each key, from those of all keys side by side.

    Raises:
        ValueError: if the columns are not those of so many keys.
    """
    if not keys or features.shape[1] % len(keys):
        raise ValueError(
            f"expected a multiple of {len(keys)} columns for the keys {list(keys)}, "
            f"got {features.shape[1]}"
        )
    width = features.shape[1] // len(keys)
    return [features[:, i * width : (i + 1) * width] for i in range(len(keys))]


class RandomConvolution(nn.Module):
    """The network of one key."""

    def __init__(self, key: int, *, channels: int, resolution: int, width: int = WIDTH) -> None:
        """Make the weights of ``key``."""
        super().__init__()
        self.strides = _strides(resolution)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        generator = np.random.Philox(key=key)
        widths = [channels, FIRST_WIDTH, *(width for _ in self.strides[1:])]
        for inputs, outputs in pairwise(widths):
            variance = 2 / ((1 + SLOPE**2) * inputs * 9)
            self.weights.append(_uniform(generator, (outputs, inputs, 3, 3), variance))
            self.biases.append(_uniform(generator, (outputs,), BIAS_STD**2))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, width) of images (N, C, H, W) in -1..1."""
        for weight, bias, stride in zip(self.weights, self.biases, self.strides, strict=True):
            x = functional.leaky_relu_(functional.conv2d(x, weight, bias, stride, 1), SLOPE)
        return x.mean((2, 3))


def _uniform(generator: np.random.Philox, shape: tuple[int, ...], variance: float) -> nn.Parameter:
    raw = generator.random_raw(int(np.prod(shape)))
    u = ((raw >> np.uint64(40)).astype(np.float64) + 0.5) / 2**24
    values = ((2 * u - 1) * (3 * variance) ** 0.5).astype(np.float32)
    return nn.Parameter(torch.from_numpy(values.reshape(shape)), requires_grad=False)


class RandomConvolutionExtractor(Extractor):
    """Features of one network per key, side by side: (N, 64) for each of the keys 0, 1 and 2."""

    name = SPEC.name
    layer = SPEC.layer
    has_logits = False

    def __init__(self, recipe: Mapping[str, Any], *, device: str | torch.device = "cpu") -> None:
        """Make the networks of a recipe; ``weights_sha256`` is of all their values in order.

        Raises:
            ExtractorError: if the recipe is not one of this version.
        """
        expected = random_convolution_recipe(channels=1, resolution=1)
        if {"version", "generator"} - recipe.keys() or any(
            recipe[name] != expected[name] for name in ("version", "generator")
        ):
            raise ExtractorError(f"expected a recipe of {self.name} version 1, got {dict(recipe)}")
        self.device = torch.device(device)
        self.recipe = dict(recipe)
        networks = [
            RandomConvolution(
                key,
                channels=recipe["channels"],
                resolution=recipe["resolution"],
                width=recipe["width"],
            )
            for key in recipe["keys"]
        ]
        values = [value.numpy() for network in networks for value in network.state_dict().values()]
        self.weights_sha256 = content_sha256(*values)
        self.dim = recipe["width"] * len(networks)
        self.batch_size = max(1, min(256, 2**18 // recipe["resolution"] ** 2))
        self._networks = [
            network.to(self.device).to(memory_format=torch.channels_last) for network in networks
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features (N, keys · width) of uint8 images (N, C, H, W) as they are."""
        # The same strides whatever those of the images: convolutions round by them.
        x = torch.empty(
            images.shape, device=images.device, memory_format=torch.channels_last
        ).copy_(images)
        x = x / 127.5 - 1
        return torch.cat([network(x) for network in self._networks], 1), None
