"""Layers and sizing rules that several algorithms share."""

import torch
from torch import Tensor, nn


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
    """Batch normalisation whose scale and shift come from a class embedding.

    Dumoulin et al., 2017, "A learned representation for artistic style". With one class it is
    ordinary batch normalisation.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return x normalised, (N, C, H, W); labels: (N,) int64."""
        scale = self.scale(labels)[:, :, None, None]
        shift = self.shift(labels)[:, :, None, None]
        return torch.addcmul(shift, self.normalise(x), scale)


def labels_or_zeros(labels: Tensor | None, count: int, device: torch.device) -> Tensor:
    """Return the labels, or for an unconditional model the one class all its images have."""
    if labels is None:
        return torch.zeros(count, dtype=torch.int64, device=device)
    return labels
