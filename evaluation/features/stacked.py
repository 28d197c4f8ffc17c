"""The dataset classifier on each of three channels: the modes of stacked datasets.

Stacked MNIST puts three digits into the channels of one image, which makes 1000 modes of 10 classes:
Metz et al., 2017, "Unrolled generative adversarial networks".
"""

from pathlib import Path

import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.classifier import ClassifierExtractor
from evaluation.protocols.extractor_specs import STACKED
from evaluation.protocols.extractors import EXTRACTORS

SPEC = EXTRACTORS[STACKED]
CHANNELS = 3


class StackedExtractor(Extractor):
    """Features (N, 3 · 64) of the channels in order, and joint log-probabilities (N, K³).

    The class of an image whose channels are of classes a, b and c is a K² + b K + c.
    """

    name = SPEC.name
    layer = SPEC.layer

    def __init__(self, weights: Path, *, device: str | torch.device = "cpu") -> None:
        """Load the classifier of single grey images in a folder, or of that folder's weights file.

        Raises:
            ExtractorError: if it is incomplete, damaged, or a classifier of colour images.
        """
        self._single = ClassifierExtractor(weights, device=device)
        channels = self._single.recipe["architecture"]["channels"]
        if channels != 1:
            raise ExtractorError(
                f"{self.name} needs a classifier of grey images, got one of {channels} channels"
            )
        self.device = self._single.device
        self.weights_sha256 = self._single.weights_sha256
        self.recipe = {"version": 1, "channels": CHANNELS, "classifier": self._single.recipe}
        self.dim = CHANNELS * self._single.dim

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and joint log-probabilities of uint8 images (N, 3, H, W)."""
        if images.shape[1] != CHANNELS:
            raise ExtractorError(f"expected {CHANNELS} channels, got {images.shape[1]}")
        features, logits = self._single.forward(images.reshape(-1, 1, *images.shape[2:]))
        single = logits.log_softmax(1).view(len(images), CHANNELS, -1)  # (N, channels, K)
        a, b, c = single.unbind(1)
        joint = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]  # (N, K, K, K)
        return features.view(len(images), -1), joint.flatten(1)
