"""The kernel distance against closed forms, torch-fidelity and its own error bars."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kernel_mmd

from evaluation.kid import kernel_distance
from tests.evaluation.factories import coverage, numbers


def expected_distance(dim: int, s: float) -> float:
    """Return MMD² of N(0, I) and N(μ, I) with ‖μ‖² = s under the cubic kernel."""
    return 3 * s / dim + 3 * s**2 / dim**2 + (s**3 + 6 * s**2 + (3 * dim + 6) * s) / dim**3


def normal(rng: np.random.Generator, count: int, dim: int, s: float = 0.0) -> np.ndarray:
    return rng.normal((s / dim) ** 0.5, size=(count, dim))


def test_the_closed_form_has_the_published_values() -> None:
    assert expected_distance(1, 1) == pytest.approx(22)
    assert expected_distance(8, 2) == pytest.approx(1.1171875)
    assert expected_distance(2048, 20.48) == pytest.approx(0.0303159557, abs=1e-9)


@pytest.mark.parametrize(("x", "y", "expected"), [([0, 0], [1, 1], 7), ([0, 1], [0, 1], -3.5)])
def test_small_sets_give_the_unbiased_estimate_over_all_pairs(
    x: list[float], y: list[float], expected: float
) -> None:
    result = kernel_distance(np.array(x)[:, None], np.array(y)[:, None])

    assert result.value == pytest.approx(expected, abs=1e-12)


def test_the_mean_estimate_is_the_closed_form() -> None:
    rng = np.random.default_rng(1)

    results = [kernel_distance(normal(rng, 500, 8, s=2), normal(rng, 500, 8)) for _ in range(40)]

    values = numbers(results, "value")
    assert values.mean() == pytest.approx(1.1171875, abs=4 * values.std() / 40**0.5)


def test_the_distance_equals_that_of_torch_fidelity() -> None:
    rng = np.random.default_rng(2)
    x, y = normal(rng, 300, 16, s=1), normal(rng, 300, 16)

    theirs = kernel_mmd(
        x,
        y,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
    )

    assert kernel_distance(y, x).value == pytest.approx(theirs, rel=1e-5)


def test_the_result_does_not_depend_on_the_tiles() -> None:
    rng = np.random.default_rng(3)
    x, y = normal(rng, 130, 5, s=1), normal(rng, 170, 5)

    whole = kernel_distance(y, x)
    with patch("evaluation.kid.TILE", 32):
        tiled = kernel_distance(y, x)

    assert tiled.value == pytest.approx(whole.value, rel=1e-10)
    assert tiled.standard_error == pytest.approx(whole.standard_error, rel=1e-10)


@pytest.mark.parametrize("s", [0, 0.02, 0.72])
def test_the_standard_error_is_the_spread_over_repetitions(s: float) -> None:
    rng = np.random.default_rng(4)

    results = [kernel_distance(normal(rng, 300, 8, s=s), normal(rng, 400, 8)) for _ in range(150)]

    spread = numbers(results, "value").std()
    assert numbers(results, "standard_error").mean() == pytest.approx(spread, rel=0.25)
    assert coverage(results, expected_distance(8, s)) >= 0.9


def test_half_precision_of_the_input_is_not_that_of_the_sums() -> None:
    rng = np.random.default_rng(5)
    x = torch.from_numpy(normal(rng, 200, 16)).float()

    result = kernel_distance(x, x)

    assert result.value == pytest.approx(kernel_distance(x.double(), x.double()).value, abs=1e-12)


def test_one_image_has_no_distance() -> None:
    result = kernel_distance(np.zeros((1, 2)), np.zeros((5, 2)))

    assert result.value is None
    assert result.reason == "needs at least 2 images on each side, got 5 and 1"
