"""The Fréchet distance against other implementations, its invariances and its own error bars."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import special_ortho_group
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from evaluation.metrics.frechet import (
    ReferenceGaussian,
    covariance_factor,
    extrapolated,
    frechet_distance,
    gaussian_distance,
    gaussian_from_moments,
    jackknifed,
    measure_frechet,
    measure_frechet_infinity,
    reference_gaussian,
)
from evaluation.metrics.jackknife import seeded_groups
from evaluation.metrics.moments import Moments
from evaluation.metrics.uncertainty import Features, MetricResult
from tests.evaluation.factories import coverage, numbers


def features(count: int, dim: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dim)) * np.linspace(0.2, 3, dim) + shift


def distance(x: Features, y: Features) -> float:
    return frechet_distance(Moments.from_features(x), Moments.from_features(y))


def measured(x: Features, y: Features) -> MetricResult:
    return measure_frechet(x, reference_gaussian(y))


def standard_normal(dim: int) -> ReferenceGaussian:
    return gaussian_from_moments(Moments(count=0, mean=np.zeros(dim), covariance=np.eye(dim)))


def total_variance(*sets: np.ndarray) -> float:
    return float(sum(x.var(0, ddof=1).sum() for x in sets))


# --- the distance of two Gaussians ---


@pytest.mark.parametrize(("count", "dim"), [(500, 48), (384, 384), (150, 384), (2, 3)])
def test_a_set_has_no_distance_from_itself(count: int, dim: int) -> None:
    x = features(count, dim, seed=1)

    assert distance(x, x) == pytest.approx(0, abs=1e-8 * total_variance(x))
    assert measured(x, x).value == pytest.approx(0, abs=1e-8 * total_variance(x))


@pytest.mark.parametrize("counts", [(500, 400), (20, 500), (500, 20), (20, 30)])
def test_two_gaussians_of_any_rank_are_as_far_apart_as_their_moments(
    counts: tuple[int, int],
) -> None:
    x, y = (features(count, 48, seed=count, shift=count / 500) for count in counts)

    found = gaussian_distance(reference_gaussian(x), reference_gaussian(y))

    assert found == pytest.approx(distance(x, y), rel=1e-9)


SIZES = st.tuples(st.integers(2, 40), st.integers(2, 40), st.integers(1, 20))


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_the_distance_is_the_same_both_ways(sizes: tuple[int, int, int], seed: int) -> None:
    n, m, dim = sizes
    x, y = features(n, dim, seed=seed, shift=0.5), features(m, dim, seed=seed + 1)

    there, back = distance(x, y), distance(y, x)

    assert there == pytest.approx(back, abs=1e-9 * total_variance(x, y))


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_rows_and_covariances_give_the_same_distance(
    sizes: tuple[int, int, int], seed: int
) -> None:
    n, m, dim = sizes
    x, y = features(n, dim, seed=seed, shift=0.5), features(m, dim, seed=seed + 1)
    a, b = (
        Moments(count=len(z), mean=z.mean(0), covariance=np.cov(z.T).reshape(dim, dim))
        for z in (x, y)
    )

    # 1e-6: without the rows, the nulls of a covariance are known to the root of rounding only.
    scale = 1e-6 * total_variance(x, y)
    assert frechet_distance(a, b) == pytest.approx(distance(x, y), abs=scale)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=scale)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(3, 60), dim=st.integers(2, 20), seed=st.integers(0, 1000))
def test_turning_moving_and_reordering_both_sets_changes_nothing(
    count: int, dim: int, seed: int
) -> None:
    x, y = features(count, dim, seed=seed, shift=0.5), features(50, dim, seed=seed + 1)
    rng = np.random.default_rng(seed)
    turn = special_ortho_group.rvs(dim, random_state=seed)
    shift = rng.normal(size=dim) * 10

    moved = distance(rng.permutation(x) @ turn + shift, rng.permutation(y) @ turn + shift)

    assert moved == pytest.approx(distance(x, y), abs=1e-9 * total_variance(x, y))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(3, 60), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
def test_scaling_both_sets_scales_the_distance_by_the_square(
    count: int, scale: float, seed: int
) -> None:
    x, y = features(count, 12, seed=seed, shift=0.5), features(50, 12, seed=seed + 1)

    scaled = distance(x * scale, y * scale)

    expected = scale**2 * distance(x, y)
    assert scaled == pytest.approx(expected, abs=1e-9 * scale**2 * total_variance(x, y))


@pytest.mark.parametrize(("n", "m"), [(600, 900), (600, 20), (20, 600), (20, 25)])
def test_the_distance_equals_that_of_torch_fidelity(n: int, m: int) -> None:
    x, y = features(n, 32, seed=1, shift=0.1), features(m, 32, seed=2)

    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(x)),
        fid_features_to_statistics(torch.from_numpy(y)),
        verbose=False,
    )["frechet_inception_distance"]

    assert distance(x, y) == pytest.approx(theirs, rel=1e-6)
    assert measured(x, y).value == pytest.approx(theirs, rel=1e-6)


def test_features_without_variance_count_by_their_shift_alone() -> None:
    x, y = features(200, 9, seed=1), features(300, 9, seed=2)
    without = distance(x[:, 2:], y[:, 2:])

    x[:, :2], y[:, :2] = 3.0, 1.0

    assert distance(x, y) == pytest.approx(without + 8, abs=1e-9)
    assert distance(y, x) == pytest.approx(without + 8, abs=1e-9)


def test_a_feature_without_variance_on_one_side_counts_by_the_other_side() -> None:
    x, y = features(200, 9, seed=1), features(300, 9, seed=2)
    y[:, 8] = 0
    without = distance(x[:, :8], y[:, :8])

    x[:, 8] -= x[:, 8].mean()

    assert distance(x, y) == pytest.approx(without + x[:, 8].var(ddof=1), abs=1e-9)
    assert distance(y, x) == pytest.approx(distance(x, y), abs=1e-9)


@pytest.mark.parametrize("spread", [1e-4, 1e-7, 1e-10])
def test_repeated_and_nearly_repeated_features_keep_the_digits(spread: float) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 400, 10))
    x[:, 5:] = x[:, :5] + spread * rng.normal(size=(400, 5))
    y[:, 5:] = y[:, :5]
    a, b = (torch.from_numpy((z - z.mean(0)) / 399**0.5) for z in (x, y))
    root_trace = float(torch.linalg.svdvals(a @ b.T).sum())

    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + total_variance(x, y) - 2 * root_trace

    assert distance(x, y) == pytest.approx(expected, abs=1e-8)
    assert distance(y, x) == pytest.approx(expected, abs=1e-8)


def test_sets_of_one_repeated_image_are_as_far_apart_as_the_images() -> None:
    x, y = np.zeros((9, 4)), np.ones((9, 4))

    assert distance(x, y) == 4
    assert distance(np.zeros((3, 4)), np.ones((3, 4))) == 4
    assert distance(x, features(50, 4, seed=0)) > 0


def test_a_large_mean_costs_no_digits() -> None:
    x, y = features(400, 8, seed=1), features(500, 8, seed=2)

    assert distance(x + 1e5, y + 1e5) == pytest.approx(distance(x, y), rel=1e-6)


def test_float32_features_are_measured_in_float64() -> None:
    x, y = features(400, 64, seed=1).astype(np.float32), features(900, 64, seed=2)

    assert measured(x, y).value == pytest.approx(distance(x.astype(np.float64), y), rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(2, 40), dim=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_factor_of_a_covariance_multiplies_to_it(count: int, dim: int, seed: int) -> None:
    moments = Moments.from_features(features(count, dim, seed=seed))
    without_rows = Moments(moments.count, moments.mean, moments.covariance)

    for factor in covariance_factor(moments), covariance_factor(without_rows):
        assert torch.allclose(factor @ factor.T, moments.covariance, atol=1e-12)
        assert factor.shape[1] <= dim


def test_distances_of_unequal_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected moments of equal dimension, got 3 and 2"):
        distance(features(9, 3, seed=0), features(9, 2, seed=0))


# --- a generated set against a reference, with its error ---


def test_the_measured_value_is_the_distance_of_the_moments() -> None:
    y = features(500, 12, seed=2)
    for count in (7, 12, 30, 60, 400):  # fewer than dimensions, without interval, with one
        x = features(count, 12, seed=1, shift=0.3)

        assert measured(x, y).value == pytest.approx(distance(x, y), abs=1e-9)


def test_a_reference_of_fewer_images_than_dimensions_is_no_obstacle() -> None:
    x, y = features(200, 12, seed=1, shift=0.3), features(8, 12, seed=2)

    result = measured(x, y)

    assert result.value == pytest.approx(distance(x, y), abs=1e-9)
    assert result.interval is not None


def test_a_reference_can_be_kept_as_plain_tensors() -> None:
    x, y = features(400, 12, seed=1, shift=0.3), features(500, 12, seed=2)
    kept = reference_gaussian(y)

    again = ReferenceGaussian(kept.mean.clone(), float(kept.trace), kept.factor.clone(), kept.count)

    assert kept.count == 500
    assert measure_frechet(x, again) == measure_frechet(x, kept)


@pytest.mark.parametrize("groups", [3, 4, 20, 21])
@pytest.mark.parametrize("second_order", [0.0, 5.0])
def test_the_jackknife_takes_out_an_exact_bias(groups: int, second_order: float) -> None:
    def distance(share: float) -> float:
        count = 100 * share
        return 7 + 3 / count + second_order / count**2

    result = jackknifed(
        distance(1),
        left_out=np.full(groups, distance(1 - 1 / groups)),
        halves=np.full(4, distance(groups // 2 / groups)),
        level=0.95,
    )

    assert result.corrected == pytest.approx(7, abs=1e-10)
    assert result.standard_error == pytest.approx(0, abs=1e-10)


def test_two_groups_take_out_the_first_order_alone() -> None:
    halves = np.array([7 + 3 / 50, 7 + 3 / 50])

    result = jackknifed(7 + 3 / 100, left_out=halves, halves=halves, level=0.95)

    assert result.corrected == pytest.approx(7, abs=1e-10)


def test_the_interval_is_valid_with_no_more_images_than_it_needs() -> None:
    dim = 64
    truth, reference = dim * 0.1**2, standard_normal(dim)
    rng = np.random.default_rng(1)

    results = [measure_frechet(rng.normal(size=(5 * dim, dim)) + 0.1, reference) for _ in range(60)]

    bias = numbers(results, "value").mean() - truth
    assert bias > 5 * truth
    assert numbers(results, "corrected").mean() == pytest.approx(truth, abs=bias / 50)
    assert coverage(results, truth) >= 0.9


def test_images_too_few_for_the_bias_to_be_known_have_no_interval() -> None:
    result = jackknifed(
        9.0, left_out=np.linspace(9.09, 9.11, 20), halves=np.full(4, 15.0), level=0.95
    )

    assert result.corrected is not None and result.standard_error is not None
    assert result.interval is None
    assert result.reason == "no interval: so few images have more bias than can be corrected"


def test_groups_are_a_seeded_partition_of_even_parts() -> None:
    groups = seeded_groups(103, 20, seed=0)

    assert sorted(np.concatenate(groups)) == list(range(103))
    assert {len(group) for group in groups} == {5, 6}
    assert all(map(np.array_equal, groups, seeded_groups(103, 20, seed=0)))


@pytest.mark.slow
def test_the_interval_covers_the_true_distance_where_the_plain_one_does_not() -> None:
    dim, shift = 16, 0.15
    truth = dim * shift**2
    reference = standard_normal(dim)
    rng = np.random.default_rng(0)

    results = [measure_frechet(rng.normal(size=(800, dim)) + shift, reference) for _ in range(300)]

    assert 0.92 <= coverage(results, truth) <= 0.97
    corrected, plain = numbers(results, "corrected"), numbers(results, "value")
    naive = np.abs(plain - truth) <= 1.96 * numbers(results, "standard_error")
    assert naive.mean() < 0.92
    assert abs(corrected.mean() - truth) < abs(plain.mean() - truth) / 5
    assert numbers(results, "standard_error").mean() == pytest.approx(corrected.std(), rel=0.15)


def test_an_interval_that_lies_below_zero_is_none() -> None:
    x = np.random.default_rng(5).normal(size=(400, 8))

    result = measured(x, x)

    assert result.corrected is not None
    assert result.corrected < 0
    assert result.interval is None
    assert result.reason == ("no interval: all of it lies below 0, the least possible value")


def test_an_interval_that_reaches_below_zero_begins_there() -> None:
    rng = np.random.default_rng(6)

    result = measured(rng.normal(size=(400, 8)), rng.normal(size=(400, 8)))

    assert result.interval is not None
    assert result.interval[0] == 0
    assert result.interval[1] > 0


@pytest.mark.parametrize(
    ("count", "dim", "reason"),
    [
        (319, 64, "no interval: 319 images are fewer than 5 per feature dimension (5 x 64)"),
        (39, 2, "no interval: 39 images are fewer than 2 in each of 20 groups"),
    ],
)
def test_too_few_images_for_an_interval_are_said_to_be(count: int, dim: int, reason: str) -> None:
    result = measured(features(count, dim, seed=1), features(400, dim, seed=2))

    assert result.value is not None and result.value > 0
    assert (result.corrected, result.standard_error, result.interval) == (None, None, None)
    assert result.reason == reason


def test_one_image_has_no_distance() -> None:
    result = measured(np.zeros((1, 4)), np.zeros((5, 4)))

    assert result.value is None
    assert result.reason == "needs at least 2 images, got 1"
    with pytest.raises(ValueError, match="expected at least 2 images, got 1"):
        reference_gaussian(np.zeros((1, 4)))


def test_more_shift_is_more_distance() -> None:
    reference = reference_gaussian(features(1000, 8, seed=0))

    distances = [
        measure_frechet(features(500, 8, seed=1, shift=shift), reference).value or 0.0
        for shift in (0, 0.2, 0.5, 1, 2)
    ]

    assert distances == sorted(distances)


def test_work_can_be_ended_between_its_parts() -> None:
    calls = 0

    def keep_going() -> None:
        nonlocal calls
        calls += 1
        if calls == 30:
            raise InterruptedError

    x = features(400, 8, seed=1)
    with pytest.raises(InterruptedError):
        measure_frechet(x, reference_gaussian(x), keep_going=keep_going)


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
        measured(generated, np.zeros((4, 2)))

    assert str(caught.value) == message


# --- at infinitely many images ---


def test_an_exact_1_over_n_bias_is_extrapolated_away() -> None:
    counts = np.array([100, 250, 700, 5000])

    assert extrapolated(counts, 7 + 3 / counts) == pytest.approx(7, abs=1e-10)


def test_the_distance_of_infinitely_many_images_is_nearly_unbiased() -> None:
    dim, shift = 16, 0.15
    truth, reference = dim * shift**2, standard_normal(dim)
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(800, dim)) + shift for _ in range(60)]

    results = [measure_frechet_infinity(x, reference) for x in sets]

    values = numbers(results, "value")
    plain = np.array([measure_frechet(x, reference, groups=2).value for x in sets])
    assert abs(values.mean() - truth) < abs(plain.mean() - truth) / 3
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 60**0.5)


def test_the_points_of_the_extrapolation_are_recorded_and_have_no_interval() -> None:
    x, y = features(300, 8, seed=1), features(400, 8, seed=2)

    result = measure_frechet_infinity(x, reference_gaussian(y), points=4, smallest=60)

    assert result.details["counts"] == [60, 140, 220, 300]
    assert result.details["values"][-1] == pytest.approx(distance(x, y), abs=1e-9)
    assert result.interval is None
    assert result.reason == (
        "no interval: the points share images, so their spread does not tell the error"
    )


def test_the_extrapolation_depends_on_its_seed_alone() -> None:
    x, reference = features(300, 8, seed=1), reference_gaussian(features(400, 8, seed=2))

    first, again, other = (
        measure_frechet_infinity(x, reference, seed=seed).value for seed in (0, 0, 1)
    )

    assert first == again != other


def test_an_extrapolation_from_too_few_images_is_undefined() -> None:
    reference = reference_gaussian(features(400, 8, seed=2))

    result = measure_frechet_infinity(features(31, 8, seed=1), reference)

    assert (result.value, result.reason) == (
        None,
        "needs at least 32 images, twice the 16 of the first point",
    )
    with pytest.raises(ValueError, match="expected at least 2 points, got 1"):
        measure_frechet_infinity(features(99, 8, seed=1), reference, points=1)
