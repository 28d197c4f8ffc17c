"""MIND: the published formula, its closed form for a shift, and its intervals."""

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.metrics.mind import mind
from tests.evaluation.factories import numbers


def features(count: int, dim: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def published(x: Tensor, y: Tensor, *, projections: int, seed: int) -> float:
    """Return 3d / (nM) Σ_i Σ_j |sort(X u_i)_j - sort(Y u_i)_j|², for sets of equal size."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(projections, x.shape[1], generator=generator)
    u = u / u.norm(dim=1, keepdim=True)
    gaps = (x.float() @ u.T).sort(dim=0).values - (y.float() @ u.T).sort(dim=0).values
    return float(3 * x.shape[1] * (gaps**2).mean())


def test_the_value_is_the_published_one_with_the_published_defaults() -> None:
    x, y = features(600, 32, seed=0), features(600, 32, seed=1) * 1.2 + 0.1

    expected = published(torch.from_numpy(x), torch.from_numpy(y), projections=1000, seed=2020)

    assert mind(x, y).value == pytest.approx(expected, rel=1e-5)


def test_equal_sets_are_at_zero() -> None:
    x = features(100, 8, seed=0)

    assert mind(x, x.copy(), projections=50).value == 0


@pytest.mark.slow
def test_a_shift_costs_three_times_its_square() -> None:
    x = features(300, 64, seed=0)

    result = mind(x, x + 1.0, projections=20_000)

    assert result.value == pytest.approx(3 * 64, rel=0.02)


def test_both_directions_are_alike() -> None:
    x, y = features(300, 8, seed=0), features(250, 8, seed=1) + 0.5

    assert mind(x, y, projections=50).value == pytest.approx(mind(y, x, projections=50).value)


def test_all_images_of_the_larger_set_count() -> None:
    x, y = features(300, 8, seed=0), features(900, 8, seed=1)
    far = y.copy()
    far[-1] += 1000

    values = numbers([mind(x, z, projections=50) for z in (y, far)], "value")
    assert values[1] > 10 * values[0]


def test_a_larger_shift_is_a_larger_distance() -> None:
    x, y = features(400, 8, seed=0), features(400, 8, seed=1)

    results = [mind(x, y + shift, projections=50) for shift in (0, 0.2, 0.5, 2)]

    assert (np.diff(numbers(results, "value")) > 0).all()


def test_the_interval_scales_with_the_value() -> None:
    x, y = features(400, 8, seed=0), features(400, 8, seed=1) + 0.5

    result = mind(x, y, projections=200)

    assert result.interval is not None and result.corrected is not None
    low, high = result.interval
    assert low < result.corrected < high
    assert low < 3 * 8 * 0.25 < high
    assert result.standard_error is not None
    assert result.standard_error == pytest.approx((high - low) / 2 / 2.093, rel=1e-3)


def test_few_images_have_no_interval_but_a_value() -> None:
    result = mind(features(50, 4, seed=0), features(60, 4, seed=1), projections=20)

    assert result.value is not None
    assert result.reason == "no interval: 60 images are fewer than 200"


def test_no_images_have_no_distance() -> None:
    assert mind(np.zeros((0, 3)), np.zeros((4, 3))).value is None
