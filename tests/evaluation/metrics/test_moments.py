"""Moments against numpy, and the sums that they are made from against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from evaluation.metrics.moments import Moments, MomentSums


def features(count: int, dim: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)) * np.linspace(0.2, 3, dim)


def sums(x: np.ndarray) -> MomentSums:
    return MomentSums.of(torch.from_numpy(x), torch.zeros(x.shape[1], dtype=torch.float64))


@pytest.mark.parametrize(("count", "dim"), [(90, 5), (5, 5), (4, 20), (3000, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_are_those_of_numpy(count: int, dim: int, dtype: type) -> None:
    x: np.ndarray = features(count, dim).astype(dtype)

    moments = Moments.from_features(x)

    assert moments.count == count
    assert (moments.mean.dtype, moments.covariance.dtype) == (torch.float64, torch.float64)
    assert moments.mean.numpy() == pytest.approx(x.mean(0, dtype=np.float64), abs=1e-12)
    assert moments.covariance.numpy() == pytest.approx(np.cov(x.T.astype(np.float64)), abs=1e-12)
    assert torch.equal(moments.covariance, moments.covariance.T)


@pytest.mark.parametrize(("count", "kept"), [(6, True), (7, True), (8, False)])
def test_rows_are_kept_where_there_are_no_more_than_dimensions(count: int, kept: bool) -> None:
    moments = Moments.from_features(features(count, 7))

    assert (moments.rows is not None) == kept
    if moments.rows is not None:
        assert torch.allclose(moments.rows.T @ moments.rows, moments.covariance)


def test_a_large_mean_costs_float32_features_no_digits() -> None:
    x = (features(2000, 4) * 0.01 + 30).astype(np.float32)

    moments = Moments.from_features(torch.from_numpy(x))

    exact = np.cov(x.T.astype(np.float64))
    assert moments.covariance.numpy() == pytest.approx(exact, rel=1e-9, abs=1e-14)


def test_features_are_left_as_they_are() -> None:
    x = torch.from_numpy(features(50, 4))
    before = x.clone()

    Moments.from_features(x)

    assert torch.equal(x, before)


@settings(deadline=None, max_examples=25)
@given(
    cut=st.integers(0, 60), dim=st.integers(1, 9), seed=st.integers(0, 99), shift=st.floats(-9, 9)
)
def test_sums_of_disjoint_sets_add_up_and_can_be_taken_out_again(
    cut: int, dim: int, seed: int, shift: float
) -> None:
    x = features(60, dim, seed=seed) + shift
    first, second, whole = sums(x[:cut]), sums(x[cut:]), sums(x)

    together, rest = first + second, whole - first

    assert (together.count, rest.count) == (60, 60 - cut)
    assert torch.allclose(together.second, whole.second, atol=1e-9)
    assert torch.allclose(rest.second, second.second, atol=1e-9)
    assert torch.allclose(together.moments().covariance, Moments.from_features(x).covariance)


def test_sums_need_not_see_all_features_at_once() -> None:
    x = torch.from_numpy(features(1000, 6))

    streamed = MomentSums.streamed((x[i : i + 37] for i in range(0, 1000, 37)), x[0])

    assert streamed.count == 1000
    assert torch.allclose(streamed.moments().mean, x.mean(0))
    assert torch.allclose(streamed.moments().covariance, torch.cov(x.T))


def test_sums_about_two_centres_are_not_added() -> None:
    x = torch.from_numpy(features(10, 2))

    with pytest.raises(AssertionError, match="sums about two centres do not add up"):
        MomentSums.of(x, x[0]) + MomentSums.of(x, x[1])


def test_arrays_of_any_number_type_make_moments() -> None:
    moments = Moments(count=3, mean=np.zeros(2, np.float32), covariance=np.eye(2, dtype=int))

    assert (moments.mean.dtype, moments.covariance.dtype) == (torch.float64, torch.float64)


def test_moments_do_not_change_with_the_arrays_they_came_from() -> None:
    covariance = np.eye(2)

    moments = Moments(count=3, mean=np.zeros(2), covariance=covariance)
    covariance[0, 0] = 7

    assert moments.covariance[0, 0] == 1


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (
            np.zeros(3),
            np.zeros(3),
            "expected a mean of shape (D,) and a covariance of shape (D, D), got (3,) and (3,)",
        ),
        (
            np.zeros(3),
            np.eye(2),
            "expected a mean of shape (D,) and a covariance of shape (D, D), got (3,) and (2, 2)",
        ),
        (np.zeros(2), np.full((2, 2), np.nan), "expected finite moments, got NaN or infinity"),
        (np.full(2, np.inf), np.eye(2), "expected finite moments, got NaN or infinity"),
    ],
)
def test_what_are_no_moments_is_refused(
    mean: np.ndarray, covariance: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        Moments(count=0, mean=mean, covariance=covariance)

    assert str(caught.value) == message


def test_moments_of_one_image_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 2 images, got 1"):
        Moments.from_features(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="expected at least 2 images, got 1"):
        sums(np.zeros((1, 3))).moments()
