"""Weights for Inception where the published ones cannot be had."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from evaluation.features.base import FeatureSet
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.moments import Moments

LAYERS = ["2048", "logits_unbiased"]


def write_random_weights(folder: Path) -> Path:
    """Return the path of a state dict of the right network with seeded random values.

    They are scaled as trained ones are: convolutions preserve the variance, and each normalisation
    knows mean and variance of what reaches it, so that features differ from image to image.
    """
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda _self, _state: None)
        torch.save({}, folder / "empty.pth")
        network = FeatureExtractorInceptionV3(
            "any", LAYERS, feature_extractor_weights_path=folder / "empty.pth"
        )
        for module in network.modules():
            _randomise(module)
        network.train()
        network(torch.from_numpy(make_textures(6)))
    torch.save(network.state_dict(), folder / "random.pth")
    return folder / "random.pth"


def _randomise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, mean=0.5, std=0.3)
        module.momentum = None  # the plain average over all batches: there is one
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.1)


def load_theirs(weights: Path) -> FeatureExtractorInceptionV3:
    """Return torch-fidelity's own extractor of features and logits."""
    return FeatureExtractorInceptionV3("any", LAYERS, feature_extractor_weights_path=weights)


def their_features(theirs: FeatureExtractorInceptionV3, images: np.ndarray) -> tuple[Tensor, ...]:
    """Return torch-fidelity's features (N, 2048) and logits (N, 1008), in its batches of 64."""
    with torch.inference_mode():
        found = [theirs(part) for part in torch.split(torch.from_numpy(images), 64)]
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def make_textures(count: int, *, seed: int = 0, side: int = 32) -> np.ndarray:
    """Return RGB images uint8 (N, 3, side, side) whose colours, contrasts and grain all differ."""
    rng = np.random.default_rng(seed)
    grains = rng.choice([1, 2, 4, 8], count)
    contrasts = rng.uniform(10, 80, count)
    colours = rng.uniform(60, 200, (count, 3, 1, 1))
    images = [
        colour + contrast * np.kron(rng.normal(size=(3, side // g, side // g)), np.ones((g, g)))
        for g, contrast, colour in zip(grains, contrasts, colours, strict=True)
    ]
    return np.stack(images).clip(0, 255).astype(np.uint8)


def relative_difference(found: Tensor | None, expected: Tensor | None) -> float:
    """Return the largest difference as a share of the largest value."""
    assert found is not None and expected is not None
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def fd(real: Tensor, generated: Tensor) -> float:
    """Return the Fréchet distance of two sets of features."""
    return frechet_distance(Moments.from_features(real), Moments.from_features(generated))


def logits_of(found: FeatureSet) -> Tensor:
    """Return the logits, which must be there."""
    assert found.logits is not None
    return found.logits
