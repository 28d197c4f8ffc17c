"""The toy's two functions and its network."""

import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorRequest
from evaluation.metrics.uncertainty import MetricResult
from evaluation.scoring.plugged import MetricInputs


def gap(inputs: MetricInputs) -> MetricResult:
    """Return the distance of the mean features to a power."""
    apart = inputs.generated.double().mean(0) - inputs.reference.double().mean(0)
    distance = float(apart.norm() ** inputs.parameters["power"])
    return MetricResult(distance, reason="no interval", details={"seed": inputs.seed})


def outside(inputs: MetricInputs) -> MetricResult:
    """Return how many generated images are brighter than all held-out ones."""
    assert inputs.held_out is not None, "the metric needs them"
    brighter = inputs.generated[:, 0] > inputs.held_out[:, 0].max()
    return MetricResult(float(brighter.sum()), reason="no interval")


class Brightness(Extractor):
    """Mean and standard deviation of all pixels of an image."""

    dim = 2
    has_logits = False

    def __init__(self, request: ExtractorRequest) -> None:
        self.device = request.device

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features (N, 2) of uint8 images (N, C, H, W)."""
        pixels = images.flatten(1).float() / 255
        return torch.stack([pixels.mean(1), pixels.std(1)], dim=1), None
