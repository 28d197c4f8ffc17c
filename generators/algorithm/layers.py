"""Layers and sizing rules that several algorithms share."""

import torch
from torch import Tensor, nn

from generators.algorithm.conditioning import Encoded, condition_layer, spread
from generators.specs.conditions import Conditions


def halvings(height: int, width: int, *, smallest: int = 4, most: int = 4) -> int:
    """Return how often both sides can be halved exactly without falling below `smallest`."""
    count = 0
    while count < most and _halves(height, smallest) and _halves(width, smallest):
        height, width = height // 2, width // 2
        count += 1
    return count


def _halves(side: int, smallest: int) -> bool:
    return side % 2 == 0 and side // 2 >= smallest


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose scale and shift come from a class's embedding, or from words.

    Dumoulin et al., 2017, "A learned representation for artistic style". Without conditions it is
    ordinary batch normalisation.
    """

    def __init__(self, channels: int, conditions: Conditions) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.scale = condition_layer(conditions, channels)
        self.shift = condition_layer(conditions, channels)
        spread(self.scale, mean=1.0, std=0.0)
        spread(self.shift, std=0.0)

    def forward(self, x: Tensor, encoded: Encoded) -> Tensor:
        """Return x normalised, (N, C, H, W)."""
        scale = self.scale(encoded.pooled)[:, :, None, None]
        shift = self.shift(encoded.pooled)[:, :, None, None]
        return torch.addcmul(shift, self.normalise(x), scale)


def labels_or_zeros(labels: Tensor | None, count: int, device: torch.device) -> Tensor:
    """Return the labels, or for an unconditional model the one class all its images have, (N, 1)."""
    if labels is None:
        return torch.zeros(count, 1, dtype=torch.int64, device=device)
    return labels
