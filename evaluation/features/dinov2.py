"""DINOv2 ViT-L/14: self-supervised features, which rank generators more as people do than Inception's.

Stein et al., 2023, "Exposing flaws of generative model evaluation metrics and their unfair treatment
of diffusion models", propose them. Codes differ in how they resize; this is torch-fidelity's way, so
that values agree with its ``dinov2-vit-l-14``, and neither dgm-eval's nor EDM2's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.dinov2_network import SIDE, DinoNetwork
from evaluation.features.resize import resize_bilinear
from evaluation.features.weights import PublishedWeights, build_from_file
from evaluation.imagesets.atomic import sha256_of
from evaluation.protocols.extractor_specs import DINOV2
from evaluation.protocols.extractors import EXTRACTORS

SPEC = EXTRACTORS[DINOV2]
PUBLISHED = PublishedWeights(
    owner="DINOv2",
    name="dinov2_vitl14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    max_bytes=1_217_586_395,
)
MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pixels in 0..1, red, green and blue
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """What tells the sizes of the model apart."""

    patch: int
    width: int
    depth: int


class DinoExtractor(Extractor):
    """The class token (N, 1024) of DINOv2 ViT-L/14 without registers."""

    name = SPEC.name
    layer = SPEC.layer
    recipe: Mapping[str, Any] = {}
    batch_size = 16
    has_logits = False
    architecture = Architecture(patch=14, width=1024, depth=24)

    def __init__(self, weights: Path, *, device: str | torch.device = "cpu") -> None:
        """Load a local weights file.

        Raises:
            ExtractorError: if the file is missing or holds no weights of this network.
        """
        if not weights.is_file():
            raise ExtractorError(f"DINOv2 weights not found: {weights}")
        self.device = torch.device(device)
        self.weights_sha256 = sha256_of(weights)
        network = build_from_file(weights, self._build, name=self.name)
        self.dim = network.width
        self._network = network.to(self.device)
        scale = torch.tensor([MEAN, STD]).to(self.device) * 255
        self._mean, self._std = scale.view(2, 1, 3, 1, 1)

    def _build(self, state: dict[str, Tensor]) -> DinoNetwork:
        network = DinoNetwork(state)
        found = Architecture(patch=network.patch, width=network.width, depth=network.depth)
        if found != self.architecture:
            raise ValueError(f"expected {self.architecture}, got {found}")
        return network

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features (N, 1024), grey images replicated to RGB.

        Images are resized to 224x224, bilinear as in TensorFlow 1, and normalised by the mean and
        standard deviation of ImageNet's pixels.
        """
        x = resize_bilinear(images.expand(-1, 3, -1, -1), SIDE)
        return self._network(x.sub_(self._mean).div_(self._std)), None
