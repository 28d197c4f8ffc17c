"""Numbers that every right Fréchet distance and inception score must give, in closed form."""

import numpy as np
import pytest

from evaluation.metrics.frechet import (
    extrapolated,
    frechet_distance,
    gaussian_from_moments,
    jackknifed,
    measure_frechet,
    reference_gaussian,
)
from evaluation.metrics.inception_score import inception_score, inception_score_from_logits
from evaluation.metrics.moments import Moments
from tests.evaluation.factories import coverage, numbers


def gaussian(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(count=100, mean=np.array(mean), covariance=np.array(covariance))


def isotropic(dim: int, mean: float, variance: float) -> Moments:
    return Moments(count=100, mean=np.full(dim, mean), covariance=variance * np.eye(dim))


def correlated(dim: int) -> Moments:
    rows = np.random.default_rng(0).normal(size=(3 * dim, dim)) * np.linspace(0.1, 5, dim)
    return Moments(count=3 * dim, mean=rows.mean(0), covariance=np.cov(rows.T))


def probabilities(*rows: list[float], times: int) -> np.ndarray:
    return np.repeat(np.array(rows), times, axis=0)


DIAGONAL_1 = gaussian([0, 0, 0], [[1, 0, 0], [0, 4, 0], [0, 0, 9]])
DIAGONAL_2 = gaussian([1, 2, 2], [[4, 0, 0], [0, 4, 0], [0, 0, 1]])
TILTED = gaussian([0, 0], [[2, 1], [1, 2]])
STRAIGHT = gaussian([0, 0], [[1, 0], [0, 4]])
ALONG_X = gaussian([0, 0], [[1, 0], [0, 0]])
ALONG_Y = gaussian([0, 0], [[0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("a", "b", "expected", "tolerance"),
    [
        (isotropic(2048, 0, 1), isotropic(2048, 1, 1), 2048, 1e-6),
        (isotropic(64, 0, 1), isotropic(64, 0, 9), 256, 1e-8),
        (DIAGONAL_1, DIAGONAL_2, 14, 1e-10),
        (TILTED, STRAIGHT, 0.7712204476543416, 1e-10),
        (ALONG_X, ALONG_Y, 2, 1e-7),
    ],
    ids=["shifted", "scaled", "diagonal", "not commuting", "of rank one without overlap"],
)
def test_the_distance_of_known_gaussians_is_the_closed_form(
    a: Moments, b: Moments, expected: float, tolerance: float
) -> None:
    assert frechet_distance(a, b) == pytest.approx(expected, abs=tolerance)
    if len(a.mean) < 1000:  # seconds of linear algebra
        assert frechet_distance(b, a) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("moments", [correlated(200), TILTED, ALONG_X], ids=["200", "2", "rank 1"])
def test_equal_statistics_have_no_distance(moments: Moments) -> None:
    trace = float(moments.covariance.trace())

    assert frechet_distance(moments, moments) == pytest.approx(0, abs=1e-9 * trace)


def test_covariances_have_one_degree_of_freedom_less_than_images() -> None:
    x, y = np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])

    distance = frechet_distance(Moments.from_features(x), Moments.from_features(y))

    assert distance == pytest.approx(3, abs=1e-12)
    assert measure_frechet(x, reference_gaussian(y)).value == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize("exponent", [0, 2, 6])
def test_fewer_images_than_dimensions_have_no_distance_from_themselves(exponent: int) -> None:
    spectrum = np.logspace(0, -exponent, 384)
    x = np.random.default_rng(1).normal(size=(150, 384)) * spectrum
    moments = Moments.from_features(x)

    distance = frechet_distance(moments, moments)

    assert distance == pytest.approx(0, abs=1e-8 * float(moments.covariance.trace()))
    assert measure_frechet(x, reference_gaussian(x)).value == pytest.approx(distance, abs=1e-12)


def test_sampling_alone_makes_a_distance_of_known_size() -> None:
    rng = np.random.default_rng(13)
    exact, one_set, two_sets = isotropic(16, 0, 1), [], []
    for _ in range(200):
        x, y = (Moments.from_features(rng.normal(size=(4000, 16))) for _ in range(2))
        one_set.append(frechet_distance(x, exact))
        two_sets.append(frechet_distance(x, y))

    assert np.mean(one_set) == pytest.approx(0.0210, abs=0.0007)
    assert np.mean(two_sets) == pytest.approx(0.0420, abs=0.0012)


def test_what_falls_as_one_over_n_is_extrapolated_to_its_limit() -> None:
    def distance(count: np.ndarray | float) -> np.ndarray | float:
        return 7 + 3 / count

    counts = np.linspace(5000, 50_000, 15)
    jackknife = jackknifed(
        float(distance(50_000)),
        left_out=np.full(20, distance(47_500)),
        halves=np.full(4, distance(25_000)),
        level=0.95,
    )

    assert extrapolated(counts, np.asarray(distance(counts))) == pytest.approx(7, abs=1e-10)
    assert jackknife.corrected == pytest.approx(7, abs=1e-10)


@pytest.mark.slow
def test_intervals_cover_the_true_distance_as_often_as_they_say() -> None:
    dim, shift = 16, 0.1
    truth, reference = dim * shift**2, gaussian_from_moments(isotropic(16, 0, 1))
    rng = np.random.default_rng(46)

    results = [measure_frechet(rng.normal(size=(2000, dim)) + shift, reference) for _ in range(300)]

    plain, errors = numbers(results, "value"), numbers(results, "standard_error")
    assert 0.92 <= coverage(results, truth) <= 0.97
    assert (np.abs(plain - truth) <= 1.96 * errors).mean() < 0.8  # the plain value is too large


def test_the_same_prediction_for_every_image_scores_one() -> None:
    p = probabilities([0.2, 0.3, 0.5], times=50)

    assert inception_score(p).value == pytest.approx(1, abs=1e-12)
    assert inception_score_from_logits(np.log(p)).value == pytest.approx(1, abs=1e-12)


def test_certain_predictions_of_each_of_ten_classes_score_ten() -> None:
    p = np.repeat(np.eye(10), 100, axis=0)

    assert inception_score(p).value == pytest.approx(10, abs=1e-12)


def test_images_sorted_by_class_score_one_in_splits_of_a_class_each() -> None:
    result = inception_score(np.repeat(np.eye(10), 100, axis=0), splits=10)

    assert result.value == pytest.approx(1, abs=1e-12)
    assert result.details["split_sd"] == pytest.approx(0, abs=1e-12)


def test_two_halves_of_opposite_predictions_score_the_closed_form() -> None:
    p = probabilities([0.9, 0.1], [0.1, 0.9], times=20)

    assert inception_score(p).value == pytest.approx(1.4449348111684153, abs=1e-12)
    assert inception_score_from_logits(np.log(p)).value == pytest.approx(
        1.4449348111684153, abs=1e-12
    )


def test_the_spread_of_splits_is_that_of_a_population() -> None:
    alike, certain = probabilities([1, 0, 0], times=30), np.repeat(np.eye(3), 10, axis=0)

    result = inception_score(np.concatenate([alike, certain]), splits=2)

    assert result.value == pytest.approx(2, abs=1e-12)  # the scores are 1 and 3
    assert result.details["split_sd"] == pytest.approx(1, abs=1e-12)  # and not 1.41421
