"""The kernel distance against closed forms, torch-fidelity and its own error bars."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric

from evaluation.metrics.kernel_distance import kernel_distance, subset_kernel_distance
from tests.evaluation.factories import coverage, numbers


def expected_distance(dim: int, s: float) -> float:
    """Return MMD² of N(0, I) and N(μ, I) with ‖μ‖² = s under the cubic kernel."""
    return 3 * s / dim + 3 * s**2 / dim**2 + (s**3 + 6 * s**2 + (3 * dim + 6) * s) / dim**3


def normal(rng: np.random.Generator, count: int, dim: int, s: float = 0.0) -> np.ndarray:
    return rng.normal((s / dim) ** 0.5, size=(count, dim))


def textbook_distance(
    x: np.ndarray, y: np.ndarray, *, degree: int, gamma: float, coef0: float
) -> float:
    """Return the unbiased estimate with whole kernel matrices in float64."""
    xx, yy, xy = ((gamma * (a @ b.T) + coef0) ** degree for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return float(sum(within) - 2 * xy.mean())


def test_the_closed_form_has_the_published_values() -> None:
    assert expected_distance(1, 1) == pytest.approx(22)
    assert expected_distance(8, 2) == pytest.approx(1.1171875)
    assert expected_distance(2048, 20.48) == pytest.approx(0.0303159557, abs=1e-9)


def test_the_mean_estimate_is_the_closed_form() -> None:
    rng = np.random.default_rng(1)

    results = [kernel_distance(normal(rng, 500, 8, s=2), normal(rng, 500, 8)) for _ in range(40)]

    values = numbers(results, "value")
    assert values.mean() == pytest.approx(1.1171875, abs=4 * values.std() / 40**0.5)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize(("gamma", "coef0"), [(None, 1.0), (0.3, 0.0), (0.05, 2.5)])
def test_any_polynomial_kernel_gives_the_textbook_estimate(
    degree: int, gamma: float | None, coef0: float
) -> None:
    rng = np.random.default_rng(2)
    x, y = normal(rng, 60, 16, s=1), normal(rng, 50, 16)

    result = kernel_distance(x, y, degree=degree, gamma=gamma, coef0=coef0)

    expected = textbook_distance(x, y, degree=degree, gamma=gamma or 1 / 16, coef0=coef0)
    assert result.value == pytest.approx(expected, rel=1e-9, abs=1e-12)


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


@pytest.mark.parametrize(("count", "dim"), [(1200, 64), (600, 2048)])
def test_the_mean_over_subsets_is_that_of_torch_fidelity(count: int, dim: int) -> None:
    rng = np.random.default_rng(3)
    x = normal(rng, count, dim, s=0.01 * dim).astype(np.float32)
    y = normal(rng, count + 50, dim).astype(np.float32)

    result = subset_kernel_distance(y, x, subsets=20, subset_size=500)

    theirs = kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_subsets=20,
        kid_subset_size=500,
        verbose=False,
    )
    assert result.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    spread = result.details["subset_sd"]
    assert spread == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-3)
    assert result.standard_error is None
    assert result.interval is None
    assert result.reason == "no interval: the spread over subsets is not a standard error"


def test_sets_smaller_than_a_subset_have_no_distance_over_subsets() -> None:
    result = subset_kernel_distance(np.zeros((999, 2)), np.zeros((1000, 2)))

    assert result.value is None
    assert (
        result.reason == "needs at least 1000 images on each side, got 1000 generated and 999 real"
    )


def test_the_result_does_not_depend_on_the_blocks() -> None:
    rng = np.random.default_rng(3)
    x, y = normal(rng, 130, 5, s=1), normal(rng, 170, 5)

    whole = kernel_distance(x, y)
    with patch("evaluation.metrics.pairs.points.BLOCK", 32):
        cut = kernel_distance(x, y)

    assert cut.value == pytest.approx(whole.value, rel=1e-10)
    assert cut.standard_error == pytest.approx(whole.standard_error, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("s", [0, 0.16, 0.8, 4])
def test_the_interval_covers_the_truth_as_often_as_it_says(s: float) -> None:
    rng = np.random.default_rng(4)

    results = [kernel_distance(normal(rng, 200, 64, s=s), normal(rng, 250, 64)) for _ in range(400)]

    spread = numbers(results, "value").std()
    assert numbers(results, "standard_error").mean() == pytest.approx(spread, rel=0.15)
    assert 0.92 <= coverage(results, expected_distance(64, s)) <= 0.97


@pytest.mark.parametrize("offset", [0, 10])
def test_float32_features_give_the_distance_of_their_float64_values(offset: float) -> None:
    rng = np.random.default_rng(5)
    x = torch.from_numpy(normal(rng, 700, 256, s=1)).float() + offset
    y = torch.from_numpy(normal(rng, 600, 256)).float() + offset

    result, precise = kernel_distance(x, y), kernel_distance(x.double(), y.double())

    tolerance = 1e-6 * (1 + offset**2) ** 3
    assert result.value == pytest.approx(precise.value, abs=tolerance)
    assert result.standard_error == pytest.approx(precise.standard_error, rel=1e-3)


def test_copies_are_counted_one_by_one() -> None:
    rng = np.random.default_rng(6)
    x, y = np.repeat(normal(rng, 20, 4), 10, axis=0), normal(rng, 100, 4)

    result = kernel_distance(x, y)

    expected = textbook_distance(x, y, degree=3, gamma=1 / 4, coef0=1)
    assert result.value == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 12), count=st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_swapping_the_sets_rotating_and_reordering_change_nothing(
    seed: int, dim: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = normal(rng, count, dim), normal(rng, count + 3, dim, s=1)
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]

    result = kernel_distance(x, y)

    assert kernel_distance(y, x).value == pytest.approx(result.value, rel=1e-7, abs=1e-9)
    turned = kernel_distance(x @ rotation, y @ rotation)
    assert turned.value == pytest.approx(result.value, rel=1e-7, abs=1e-9)
    reordered = kernel_distance(rng.permutation(x), rng.permutation(y))
    assert reordered.value == pytest.approx(result.value, rel=1e-7, abs=1e-9)


def test_one_image_has_no_distance() -> None:
    result = kernel_distance(np.zeros((1, 2)), np.zeros((5, 2)))

    assert result.value is None
    assert result.reason == ("needs at least 2 images on each side, got 5 generated and 1 real")


def test_no_image_has_no_distance() -> None:
    assert kernel_distance(np.zeros((0, 2)), np.zeros((5, 2))).value is None


def test_a_kernel_of_no_degree_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a kernel of degree at least 1, got 0"):
        kernel_distance(np.zeros((3, 2)), np.zeros((5, 2)), degree=0)


def test_work_ends_when_it_is_told_to() -> None:
    def stop() -> None:
        raise InterruptedError

    for distance in (kernel_distance, subset_kernel_distance):
        with pytest.raises(InterruptedError):
            distance(np.zeros((1000, 2)), np.zeros((1000, 2)), keep_going=stop)
