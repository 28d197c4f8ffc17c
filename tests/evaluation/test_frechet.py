"""The Fréchet distance against closed forms, other implementations and its own error bars."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from evaluation.frechet import (
    distance_from_moments,
    distance_from_rows,
    frechet_distance,
    gaussian_from_moments,
    jackknifed,
    reference_gaussian,
    seeded_groups,
)
from evaluation.moments import Moments, MomentSums
from tests.evaluation.factories import coverage, numbers


def gaussian(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(
        count=100,
        mean=torch.tensor(mean, dtype=torch.float64),
        covariance=torch.tensor(covariance, dtype=torch.float64),
    )


def isotropic(dim: int, mean: float, variance: float) -> Moments:
    eye = torch.eye(dim, dtype=torch.float64)
    return Moments(count=100, mean=mean * torch.ones_like(eye[0]), covariance=variance * eye)


def distance(a: Moments, b: Moments) -> float:
    return distance_from_moments(a, gaussian_from_moments(b))


def features(count: int, dim: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dim)) * np.linspace(0.2, 3, dim) + shift


DIAGONAL_1 = gaussian([0, 0, 0], [[1, 0, 0], [0, 4, 0], [0, 0, 9]])
DIAGONAL_2 = gaussian([1, 2, 2], [[4, 0, 0], [0, 4, 0], [0, 0, 1]])
CORRELATED = gaussian([0, 0], [[2, 1], [1, 2]])
UNCORRELATED = gaussian([0, 0], [[1, 0], [0, 4]])


@pytest.mark.parametrize(
    ("a", "b", "expected", "tolerance"),
    [
        (isotropic(2048, 0, 1), isotropic(2048, 1, 1), 2048, 1e-6),
        (isotropic(64, 0, 1), isotropic(64, 0, 9), 256, 1e-8),
        (DIAGONAL_1, DIAGONAL_2, 14, 1e-10),
        (CORRELATED, UNCORRELATED, 9 - 2 * (10 + 2 * 12**0.5) ** 0.5, 1e-10),
        (gaussian([0, 0], [[1, 0], [0, 0]]), gaussian([0, 0], [[0, 0], [0, 1]]), 2, 1e-7),
    ],
    ids=["shift", "scale", "diagonal", "correlated", "disjoint rank one"],
)
def test_the_distance_of_known_gaussians_is_the_closed_form(
    a: Moments, b: Moments, expected: float, tolerance: float
) -> None:
    assert distance(a, b) == pytest.approx(expected, abs=tolerance)
    if len(a.mean) < 1000:  # seconds of linear algebra
        assert distance(b, a) == pytest.approx(expected, abs=tolerance)


def test_covariances_have_one_degree_of_freedom_less_than_images() -> None:
    result = frechet_distance(np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]]))

    assert result.value == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize(("count", "dim"), [(500, 48), (150, 384)])
def test_a_set_has_no_distance_from_itself(count: int, dim: int) -> None:
    x = features(count, dim, seed=1)

    result = frechet_distance(x, x)

    assert result.value == pytest.approx(0, abs=1e-8 * x.var(0).sum())


@settings(deadline=None, max_examples=25)
@given(count=st.integers(2, 40), dim=st.integers(1, 20), seed=st.integers(0, 1000))
def test_rows_and_moments_give_the_same_distance_and_both_ways(
    count: int, dim: int, seed: int
) -> None:
    x = torch.from_numpy(features(count, dim, seed=seed, shift=0.5))
    y = torch.from_numpy(features(count + 3, dim, seed=seed + 1))

    from_rows = distance_from_rows(x, reference_gaussian(y))
    from_moments = distance_from_moments(
        MomentSums.of(x, y.mean(0)).moments(), reference_gaussian(y)
    )

    scale = float((x**2).sum(1).mean() + (y**2).sum(1).mean())
    assert from_rows == pytest.approx(from_moments, abs=1e-6 * scale)
    assert from_rows == pytest.approx(
        distance_from_rows(y, reference_gaussian(x)), abs=1e-7 * scale
    )


def test_the_distance_equals_that_of_torch_fidelity() -> None:
    x, y = features(600, 32, seed=1, shift=0.1), features(900, 32, seed=2)

    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(x)),
        fid_features_to_statistics(torch.from_numpy(y)),
        verbose=False,
    )["frechet_inception_distance"]

    assert frechet_distance(x, y).value == pytest.approx(theirs, rel=1e-5)


def test_a_large_mean_costs_no_digits() -> None:
    x, y = features(400, 8, seed=1), features(500, 8, seed=2)

    near = frechet_distance(x, y).value
    far = frechet_distance(x + 1e5, y + 1e5).value

    assert far == pytest.approx(near, rel=1e-6)


def test_blocks_can_be_taken_out_of_the_sums_again() -> None:
    x = torch.from_numpy(features(90, 5, seed=3))
    centre = torch.zeros(5, dtype=torch.float64)

    rest = MomentSums.of(x, centre).without(MomentSums.of(x[:30], centre)).moments()

    assert rest.count == 60
    assert torch.allclose(rest.mean, x[30:].mean(0))
    assert torch.allclose(rest.covariance, torch.cov(x[30:].T))


def test_moments_of_one_image_are_refused() -> None:
    one = torch.zeros(1, 3, dtype=torch.float64)

    with pytest.raises(ValueError, match="expected at least 2 images, got 1"):
        MomentSums.of(one, one[0]).moments()


def test_the_jackknife_takes_out_an_exact_1_over_n_bias() -> None:
    count, groups = 100, 20
    with_all, without_one = 7 + 3 / count, 7 + 3 / (count - count / groups)

    result = jackknifed(with_all, np.full(groups, without_one), level=0.95)

    assert result.corrected == pytest.approx(7, abs=1e-10)
    assert result.standard_error == pytest.approx(0, abs=1e-10)


def test_groups_are_a_seeded_partition_of_even_parts() -> None:
    groups = seeded_groups(103, 20, seed=0)

    assert sorted(np.concatenate(groups)) == list(range(103))
    assert {len(group) for group in groups} == {5, 6}
    assert all(map(np.array_equal, groups, seeded_groups(103, 20, seed=0)))


def test_the_interval_covers_the_true_distance_and_the_plain_value_is_biased() -> None:
    dim, shift, repeats = 8, 0.15, 120
    truth = dim * shift**2
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100_000, dim))

    results = [
        frechet_distance(rng.normal(size=(400, dim)) + shift, reference) for _ in range(repeats)
    ]

    assert coverage(results, truth) >= 0.9
    corrected, plain = numbers(results, "corrected"), numbers(results, "value")
    assert abs(corrected.mean() - truth) < abs(plain.mean() - truth) / 3
    assert plain.mean() > truth + 0.02
    assert numbers(results, "standard_error").mean() == pytest.approx(corrected.std(), rel=0.25)


def test_an_interval_that_lies_below_zero_is_none() -> None:
    x = np.random.default_rng(5).normal(size=(400, 8))

    result = frechet_distance(x, x)

    assert result.corrected is not None
    assert result.corrected < 0
    assert result.interval is None
    assert result.reason == (
        "no interval: too close to the reference, the whole interval lies below 0"
    )


def test_an_interval_that_reaches_below_zero_begins_there() -> None:
    rng = np.random.default_rng(6)

    result = frechet_distance(rng.normal(size=(400, 8)), rng.normal(size=(400, 8)))

    assert result.interval is not None
    assert result.interval[0] == 0
    assert result.interval[1] > 0


def test_too_few_images_for_an_interval_are_said_to_be() -> None:
    result = frechet_distance(features(319, 64, seed=1), features(400, 64, seed=2))

    assert result.value is not None and result.value > 0
    assert (result.corrected, result.standard_error) == (None, None)
    assert result.interval is None
    assert result.reason == (
        "no interval: 319 images are fewer than 5 per feature dimension (5 x 64)"
    )


def test_one_image_has_no_distance() -> None:
    result = frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))

    assert result.value is None
    assert result.reason == "needs at least 2 images on each side, got 1 and 5"


def test_more_shift_is_more_distance() -> None:
    reference = features(1000, 8, seed=0)

    distances = [
        frechet_distance(features(500, 8, seed=1, shift=shift), reference).value or 0.0
        for shift in (0, 0.2, 0.5, 1, 2)
    ]

    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("generated", "message"),
    [
        (np.zeros(4), "expected features of shape (N, D), got (4,)"),
        (np.zeros((4, 0)), "expected features of shape (N, D), got (4, 0)"),
        (np.zeros((4, 3)), "expected features of equal width, got 3 and 2"),
        (np.full((4, 2), np.nan), "expected finite features, got NaN or infinity"),
    ],
)
def test_what_is_no_feature_set_is_refused(generated: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        frechet_distance(generated, np.zeros((4, 2)))

    assert str(caught.value) == message
