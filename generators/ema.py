"""The exponential moving average of a network's weights, with a half-life in images."""

import copy
import math

import torch
from torch import nn


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


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, beta: float) -> None:
    """Move the average's parameters towards the network's by 1 - beta; copy its buffers."""
    mine_all: list[torch.Tensor] = list(average.parameters())
    if mine_all:  # a codebook has buffers alone
        torch._foreach_lerp_(mine_all, list(network.parameters()), 1.0 - beta)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)
