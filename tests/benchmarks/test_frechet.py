"""The Fréchet distance against torch-fidelity, clean-fid and pytorch-fid on two CPU cores."""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.metrics.frechet import frechet_distance, measure_frechet, reference_gaussian
from evaluation.metrics.moments import Moments
from tests.benchmarks.conftest import Race

DIM = 2048
fidelity = pytest.importorskip("torch_fidelity.metric_fid")
clean_fid = pytest.importorskip("cleanfid.fid")
pytorch_fid = pytest.importorskip("pytorch_fid.fid_score")

SquareRootDistance = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


def features(count: int, *, seed: int, shift: float = 0.0) -> Tensor:
    """Return float32 features whose spectrum falls as those of images do, seen from all sides."""
    generator = torch.Generator().manual_seed(seed)
    turn: Tensor = torch.linalg.qr(
        torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0))
    )[0]
    deviations = torch.arange(1, DIM + 1) ** -0.5
    rows = torch.randn(count, DIM, generator=generator) * deviations + shift
    return rows @ turn


def fidelity_distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    metric = fidelity.fid_statistics_to_metric(a, b, verbose=False)
    return float(metric["frechet_inception_distance"])


def square_root_distance(
    distance: SquareRootDistance, a: dict[str, np.ndarray], b: dict[str, np.ndarray]
) -> float:
    with warnings.catch_warnings(action="ignore"):  # of options that scipy will take away
        return float(distance(a["mu"], a["sigma"], b["mu"], b["sigma"]))


@pytest.fixture(scope="module")
def sets() -> tuple[Tensor, Tensor]:
    return features(10_000, seed=1, shift=0.01), features(10_000, seed=2)


def test_distances_from_moments_take_less_than_those_of_others(
    race: Race, sets: tuple[Tensor, Tensor]
) -> None:
    ours = [Moments.from_features(x) for x in sets]
    theirs = [fidelity.fid_features_to_statistics(x) for x in sets]

    result = race(
        f"Fréchet distance from moments, d = {DIM}",
        partial(frechet_distance, *ours),
        {
            "torch-fidelity": partial(fidelity_distance, *theirs),
            "clean-fid": partial(square_root_distance, clean_fid.frechet_distance, *theirs),
            "pytorch-fid": partial(
                square_root_distance, pytorch_fid.calculate_frechet_distance, *theirs
            ),
        },
    )

    for peer in result.peers.values():
        assert peer.value == pytest.approx(result.ours.value, rel=1e-4)
    assert result.ratio("torch-fidelity") >= 2.5
    assert result.ratio("clean-fid") >= 12


def test_distances_from_features_take_less_than_those_of_torch_fidelity(
    race: Race, sets: tuple[Tensor, Tensor]
) -> None:
    def ours() -> float:
        return frechet_distance(*(Moments.from_features(x) for x in sets))

    def theirs() -> float:
        return fidelity_distance(*(fidelity.fid_features_to_statistics(x) for x in sets))

    result = race(
        f"Fréchet distance from 10,000 + 10,000 features, d = {DIM}",
        ours,
        {"torch-fidelity": theirs},
    )

    assert result.peers["torch-fidelity"].value == pytest.approx(result.ours.value, rel=1e-4)
    assert result.ratio("torch-fidelity") > 1


@pytest.mark.parametrize("count", [500, 2000])
def test_fewer_images_than_dimensions_are_measured_exactly_and_no_slower(
    race: Race, count: int, sets: tuple[Tensor, Tensor]
) -> None:
    generated, reference = sets[0][:count], Moments.from_features(sets[1])
    theirs = [fidelity.fid_features_to_statistics(x) for x in (generated, sets[1])]

    result = race(
        f"Fréchet distance of {count} images from moments, d = {DIM}",
        partial(frechet_distance, Moments.from_features(generated), reference),
        {"torch-fidelity": partial(fidelity_distance, *theirs)},
        rounds=2,
    )

    assert result.peers["torch-fidelity"].value == pytest.approx(result.ours.value, rel=1e-4)


def test_the_cost_grows_with_the_number_of_images_as_that_of_moments_does(
    report: Callable[[str], None], race: Race, sets: tuple[Tensor, Tensor]
) -> None:
    reference, pool = reference_gaussian(sets[1]), torch.cat(sets)

    def plain_value(count: int) -> float:
        return measure_frechet(pool[:count], reference, images_per_dimension=count).value or 0.0

    lines = [f"Growth of the Fréchet distance with N, from a ready reference, d = {DIM}"]
    for count in (1000, 2000, 5000, 10_000, 20_000):
        result = race(f"Fréchet distance of {count} images", partial(plain_value, count), {})
        lines.append(f"  {count:>6} images {result.ours.seconds:8.3f} s")
    report("\n".join(lines))
