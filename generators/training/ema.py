"""The exponential moving average of a network's weights, with a half-life in images."""

import copy
import math

import torch
from torch import Tensor, nn


def averaged_copy(network: nn.Module) -> nn.Module:
    """Return a copy of the network for averaging: in evaluation mode, without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def decay(images_seen: int, batch_size: int, *, halflife: float, most_images: float = 0) -> float:
    """Return the part of the old average that a step keeps.

    The half-life is `halflife` (a fraction) of the images seen so far, so that the average forgets
    the untrained network at any length of training and needs no knowledge of the budget.

    Karras et al., 2024, "Analyzing and improving the training dynamics of diffusion models",
    section 3.1 (power function averages), with the half-life in place of sigma_rel; the limit in
    images is the ramp-up of Karras et al., 2022.

    Args:
        images_seen: after the step.
        batch_size: images of the step.
        halflife: 0 keeps nothing.
        most_images: the longest half-life, 0 = no limit.
    """
    if halflife == 0 or images_seen == 0:
        return 0.0
    images = min(halflife * images_seen, most_images or math.inf)
    return float(0.5 ** (batch_size / images))


class Average:
    """A network's average. What to average is looked up once: walking the modules costs a step 5 %."""

    def __init__(self, network: nn.Module) -> None:
        self.network = averaged_copy(network)
        self._mine: list[Tensor] = list(self.network.parameters())
        self._theirs: list[Tensor] = list(network.parameters())
        modules = zip(self.network.modules(), network.modules(), strict=True)
        self._buffers = [(mine._buffers, theirs._buffers) for mine, theirs in modules]
        self._buffers = [pair for pair in self._buffers if pair[0]]

    @torch.no_grad()
    def update(self, beta: float) -> None:
        """Move the average's parameters towards the network's by 1 - beta; copy its buffers."""
        if self._mine:  # a codebook has buffers alone
            torch._foreach_lerp_(self._mine, self._theirs, 1.0 - beta)
        for mine, theirs in self._buffers:
            for name, buffer in mine.items():
                new = theirs[name]
                if buffer is not None and new is not None:
                    buffer.copy_(new)
