"""On a CUDA device every metric has the value that it has on the processor."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.features.base import Extractor, extract
from evaluation.features.classifier import LabelledImages, TrainedClassifier
from evaluation.features.registry import build_extractor
from evaluation.imagesets.opening import images_digest
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.kernel_distance import kernel_distance
from evaluation.metrics.moments import Moments
from evaluation.metrics.neighbours import neighbour_metrics
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.scoring.evaluate import EvaluationResult, evaluate_images
from tests.gpu import MARKS
from tests.inception import make_textures, write_random_weights

pytestmark = MARKS


def features(count: int, *, seed: int, device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 256, generator=generator).relu().to(device)


def test_distances_and_neighbours_are_equal() -> None:
    def measured(device: str) -> dict[str, float]:
        real, fake = features(3000, seed=0, device=device), features(2500, seed=1, device=device)
        found = neighbour_metrics(real, fake, k=3)
        distance = kernel_distance(real, fake)
        return {
            "fd": frechet_distance(Moments.from_features(real), Moments.from_features(fake)),
            "kd": distance.value or 0.0,
            "kd error": distance.standard_error or 0.0,
            "precision": found.precision.value if found.precision else 0.0,
            "recall": found.recall.value if found.recall else 0.0,
            "density": found.density.value if found.density else 0.0,
            "coverage": found.coverage.value if found.coverage else 0.0,
        }

    cpu, gpu = measured("cpu"), measured("cuda")

    counted = ("precision", "recall", "density", "coverage")
    assert {name: gpu[name] for name in counted} == {name: cpu[name] for name in counted}
    assert gpu["fd"] == pytest.approx(cpu["fd"], rel=1e-8)
    assert gpu["kd"] == pytest.approx(cpu["kd"], abs=1e-3 * cpu["kd error"])


@pytest.mark.parametrize("compiled", [None, "inductor"])
def test_inceptions_features_are_equal(tmp_path: Path, compiled: str | None) -> None:
    weights, images = write_random_weights(tmp_path), make_textures(8).astype(np.uint8)

    def found(device: str, backend: str | None) -> torch.Tensor:
        extractor = build_extractor(
            "inception-v3-compat",
            weights=weights,
            cache=tmp_path,
            device=device,
            compile_backend=backend,
        )
        return extract(extractor, images).features.cpu()

    cpu, gpu = found("cpu", None), found("cuda", compiled)

    assert (gpu - cpu).norm() <= 1e-4 * cpu.norm()


def scored(extractor: Extractor, digits: tuple[LabelledImages, LabelledImages]) -> EvaluationResult:
    train, test = digits
    dataset = DatasetFacts(
        slug="digits",
        resolution=8,
        channels=1,
        splits={
            "train": SplitFacts(images_digest(train.pixels), len(train.pixels)),
            "test": SplitFacts(images_digest(test.pixels), len(test.pixels)),
        },
    )
    protocol = build_protocol(
        dataset,
        extractor=CLASSIFIER,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        num_images=400,
    )
    fakes = np.roll(test.pixels, 1, axis=2)
    return evaluate_images(protocol, fakes, train.pixels, held_out=test.pixels, extractor=extractor)


def test_a_whole_evaluation_has_the_same_values(
    digits: tuple[LabelledImages, LabelledImages], trained: TrainedClassifier, tmp_path: Path
) -> None:
    results = [
        scored(
            build_extractor(CLASSIFIER, weights=trained.folder, cache=tmp_path, device=device),
            digits,
        )
        for device in ("cpu", "cuda")
    ]

    for name, cpu in results[0].values.items():
        gpu = results[1].values[name]
        error = cpu.standard_error or 0.0
        assert gpu.value == pytest.approx(cpu.value, rel=1e-4, abs=1e-2 * error), name
