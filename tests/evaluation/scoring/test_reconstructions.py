"""What an autoencoder loses, measured in one place: PSNR, SSIM and reconstruction-FD."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from evaluation.features.base import ExtractionStopped
from evaluation.features.cache import FeatureCache
from evaluation.imagesets.opening import open_images
from evaluation.metrics.frechet_population import measure_paired_frechet
from evaluation.scoring.controls import blurred
from evaluation.scoring.reconstructions import Pairs
from tests.evaluation.factories import RandomProjection, make_images


def pairs(count: int = 60, side: int = 16) -> tuple[np.ndarray, np.ndarray, Pairs]:
    images = make_images(count, side=side)
    made = blurred(images, sigma=0.7)
    return images, made, Pairs(open_images(images), made)


def test_psnr_is_that_of_torchmetrics_and_ssim_nearly_which_pads_at_borders() -> None:
    images, made, both = pairs(side=48)

    found = both.faithfulness()

    x, y = (torch.from_numpy(each).double() for each in (made, images))
    ratio = peak_signal_noise_ratio(x, y, data_range=255, dim=(1, 2, 3))
    similarity = structural_similarity_index_measure(x, y, data_range=255)
    assert found["psnr"].value == pytest.approx(float(ratio), rel=1e-6)
    assert isinstance(similarity, torch.Tensor)
    assert found["ssim"].value == pytest.approx(float(similarity), abs=0.01)
    assert found["psnr"].interval is not None and found["ssim"].interval is not None


def test_the_reconstruction_fd_is_that_of_the_features_of_pairs(tmp_path: Path) -> None:
    images, made, both = pairs(side=8)
    extractor = RandomProjection()

    found = both.distance(extractor, cache=FeatureCache(tmp_path))

    features = [extractor.forward(torch.from_numpy(each))[0] for each in (made, images)]
    assert found.value == pytest.approx(measure_paired_frechet(*features).value, rel=1e-4)
    calls = extractor.calls
    both.distance(extractor, cache=FeatureCache(tmp_path))
    assert extractor.calls == calls + 1  # the originals' features were kept


def test_measuring_can_be_stopped() -> None:
    _, _, both = pairs(side=8)

    with pytest.raises(ExtractionStopped):
        both.distance(RandomProjection(), cache=FeatureCache(None), should_stop=lambda: True)
