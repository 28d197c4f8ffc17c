"""Weights for Inception where the published ones cannot be had."""

from pathlib import Path

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


def write_random_weights(folder: Path) -> Path:
    """Return the path of a state dict of the right network with random values."""
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda _self, _state: None)
        torch.save({}, folder / "empty.pth")
        network = FeatureExtractorInceptionV3(
            "any", ["2048"], feature_extractor_weights_path=folder / "empty.pth"
        )
    torch.save(network.state_dict(), folder / "random.pth")
    return folder / "random.pth"
