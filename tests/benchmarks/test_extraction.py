"""Inception features against torch-fidelity and pytorch-fid, from the same weights file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.features.base import extract
from evaluation.features.inception import InceptionExtractor
from tests.benchmarks.conftest import Race
from tests.inception import load_theirs, make_textures, their_features, write_random_weights

COUNT = 64  # one batch as torch-fidelity has it by default
pytorch_fid = pytest.importorskip("pytorch_fid.inception")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp("inception"))


@pytest.fixture
def pytorch_fid_network(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tensor], list[Tensor]]:
    state = torch.load(weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_args, **_more: state)
    network: Callable[[Tensor], list[Tensor]] = pytorch_fid.InceptionV3().eval()
    return network


@pytest.mark.parametrize("side", [32, 299])
def test_features_take_less_than_half_the_time_of_torch_fidelity(
    side: int,
    race: Race,
    weights: Path,
    pytorch_fid_network: Callable[[Tensor], list[Tensor]],
) -> None:
    images = make_textures(COUNT, side=side // 8 * 8 + 8)[:, :, :side, :side].copy()
    extractor, theirs = InceptionExtractor(weights), load_theirs(weights)

    def others(images: np.ndarray) -> float:
        with torch.inference_mode():
            return float(pytorch_fid_network(torch.from_numpy(images) / 255)[0].mean())

    result = race(
        f"Inception features of {COUNT} images, {side}x{side} (value: their mean)",
        lambda: float(extract(extractor, images).features.mean()),
        {
            "torch-fidelity": lambda: float(their_features(theirs, images)[0].mean()),
            "pytorch-fid": partial(others, images),
        },
        rounds=5,
    )

    assert result.peers["torch-fidelity"].value == pytest.approx(result.ours.value, rel=1e-5)
    # Its resize is another one, so that its values are near but no more.
    assert result.peers["pytorch-fid"].value == pytest.approx(result.ours.value, rel=0.05)
    assert result.ratio("torch-fidelity") >= 2.2
