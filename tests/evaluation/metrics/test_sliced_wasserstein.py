"""Sliced Wasserstein distance: exact transport, closed forms, invariances and calibration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.special import ndtri
from scipy.stats import wasserstein_distance

from evaluation.metrics.sliced_wasserstein import (
    random_directions,
    sliced_cost,
    sliced_wasserstein,
    squared_distance,
    transport_cost,
)
from evaluation.metrics.uncertainty import MetricResult
from tests.evaluation.factories import coverage, numbers

SEEDS = st.integers(0, 10_000)


def features(count: int, dim: int = 5, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def value(real: np.ndarray, generated: np.ndarray, *, order: float = 2, seed: int = 0) -> float:
    found = sliced_wasserstein(real, generated, directions=20, order=order, seed=seed).value
    assert found is not None
    return found


def test_equal_sets_have_no_distance() -> None:
    x = features(50)

    assert value(x, x) == 0
    assert value(x, x[::-1]) == pytest.approx(0, abs=1e-12)


@given(n=st.integers(1, 30), m=st.integers(1, 30), seed=SEEDS)
def test_transport_on_a_line_is_that_of_scipy(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = np.sort(rng.normal(size=(1, n))), np.sort(rng.normal(size=(1, m)))

    cost = transport_cost(a, b, order=1)

    assert cost[0] == pytest.approx(wasserstein_distance(a[0], b[0]), abs=1e-12)


@given(n=st.integers(1, 8), m=st.integers(1, 8), order=st.floats(1, 4), seed=SEEDS)
def test_unequal_sets_cost_what_their_repetitions_to_equal_size_cost(
    n: int, m: int, order: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = np.sort(rng.normal(size=(2, n))), np.sort(rng.normal(size=(2, m)))

    repeated = np.abs(np.repeat(a, m, axis=1) - np.repeat(b, n, axis=1)) ** order

    assert transport_cost(a, b, order=order) == pytest.approx(repeated.mean(1), abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_shift_costs_its_length_along_each_direction(order: int) -> None:
    x, delta = features(60), np.array([3.0, 0, -1, 2, 0.5])
    along = np.abs(random_directions(20, 5, seed=0) @ delta)

    expected = (along**order).mean() ** (1 / order)

    assert value(x, x + delta, order=order) == pytest.approx(expected, abs=1e-12)


def test_over_many_directions_a_shift_costs_its_length_by_the_root_of_the_dimension() -> None:
    x, delta = features(40, 16), np.full(16, 0.5)

    found = sliced_wasserstein(x, x + delta, directions=20_000)

    assert found.value == pytest.approx(np.linalg.norm(delta) / 4, rel=0.02)


def test_a_wider_set_costs_the_difference_of_its_spreads() -> None:
    x = features(40)

    squares = [value(x, x * (1 + spread)) for spread in (0.5, 1.0, 2.0)]

    assert squares[1] == pytest.approx(2 * squares[0], rel=1e-12)
    assert squares[2] == pytest.approx(4 * squares[0], rel=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS, scale=st.floats(0.01, 100), shift=st.floats(-1e3, 1e3))
def test_swap_order_shift_and_scale_are_as_they_should(
    seed: int, scale: float, shift: float
) -> None:
    x, y = features(23, seed=seed), features(31, seed=seed + 1) * 1.5
    plain = value(x, y)

    shuffled = np.random.default_rng(seed).permutation(y)

    assert value(y, x) == pytest.approx(plain, rel=1e-9)
    assert value(x, shuffled) == pytest.approx(plain, rel=1e-9)
    assert value(x + shift, y + shift) == pytest.approx(plain, rel=1e-7)
    assert value(x * scale, y * scale) == pytest.approx(plain * scale, rel=1e-9)


def test_a_rotation_matters_only_through_the_choice_of_directions() -> None:
    x, y = features(300, 6), features(300, 6, seed=1) * [1, 2, 3, 1, 1, 1]
    rotation, _ = np.linalg.qr(features(6, 6, seed=2))

    turned = sliced_wasserstein(x @ rotation, y @ rotation, directions=4000)

    assert turned.value == pytest.approx(sliced_wasserstein(x, y, directions=4000).value, rel=0.02)


def test_directions_are_unit_vectors_that_depend_on_the_seed_alone() -> None:
    directions = random_directions(300, 7, seed=3)

    assert np.linalg.norm(directions, axis=1) == pytest.approx(1, abs=1e-12)
    assert (directions == random_directions(300, 7, seed=3)).all()
    assert (directions != random_directions(300, 7, seed=4)).any()


def test_a_subset_of_the_groups_costs_what_its_images_cost() -> None:
    x, y = torch.from_numpy(features(47)), torch.from_numpy(features(60, seed=1) + 0.3)
    labels, directions = np.arange(47) % 5, random_directions(200, 5, seed=0)
    subsets = np.array([[1, 1, 1, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)

    found = sliced_cost(y, x, directions, order=2, labels=labels, subsets=subsets)

    alone = [
        sliced_cost(y, x[torch.from_numpy(subset[labels])], directions, order=2).value
        for subset in subsets
    ]
    assert found.of_subsets == pytest.approx(alone, rel=1e-10)
    assert found.value == pytest.approx(alone[-1], rel=1e-10)


@pytest.mark.parametrize("count", [300, 400, 500])
def test_sets_of_equal_size_are_corrected_like_those_of_other_sizes(count: int) -> None:
    rng = np.random.default_rng(2)
    directions = random_directions(20, 32, seed=0)
    mixing = rng.normal(size=(32, 32)) / math.sqrt(32)

    def drawn(size: int) -> torch.Tensor:
        return torch.from_numpy(rng.laplace(size=(size, 32)) @ mixing).relu()

    real = drawn(400)
    truth = sliced_cost(real, drawn(100_000), directions, order=2).value

    results = [squared_distance(real, drawn(count), directions) for _ in range(150)]

    assert numbers(results, "corrected").mean() == pytest.approx(truth, rel=0.15)
    assert numbers(results, "value").mean() > 1.4 * truth
    assert coverage(results, truth) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.1, 1.0), (0.3, 1.2)])
def test_the_interval_covers_the_truth(shift: float, scale: float) -> None:
    rng = np.random.default_rng(5)
    directions = random_directions(20, 6, seed=0)
    real = torch.from_numpy(rng.normal(size=(1000, 6)))
    quantiles = ndtri((np.arange(100_000) + 0.5) / 100_000)
    population = (directions.sum(1) * shift)[:, None] + scale * quantiles
    projected = np.sort((real.numpy() @ directions.T).T, axis=1)
    truth = float(transport_cost(population, projected, order=2).mean())

    results: list[MetricResult] = []
    for _ in range(300):
        x = torch.from_numpy(shift + scale * rng.normal(size=(300, 6)))
        results.append(squared_distance(real, x, directions))

    within = [found for found in results if found.interval is not None]
    assert len(within) >= 295
    assert 0.92 <= coverage(within, truth) <= (0.975 if shift else 0.995)  # careful near 0
    corrected = numbers(results, "corrected")
    assert corrected.mean() == pytest.approx(truth, abs=4 * corrected.std() / math.sqrt(300))
    assert numbers(results, "value").mean() > truth + 0.005


def test_the_interval_of_the_distance_is_the_root_of_that_of_its_square() -> None:
    x, y = features(400), features(400, seed=1) + 0.5

    distance = sliced_wasserstein(x, y, directions=30)

    square = squared_distance(
        torch.from_numpy(x), torch.from_numpy(y), random_directions(30, 5, seed=0)
    )
    assert distance.interval is not None and square.interval is not None
    assert np.square(distance.interval) == pytest.approx(square.interval)
    assert distance.value == pytest.approx(math.sqrt(square.value or 0))
    assert distance.details["square_corrected"] == square.corrected
    assert distance.standard_error is not None


def test_a_distance_near_nothing_has_no_standard_error() -> None:
    result = sliced_wasserstein(features(1000), features(300, seed=1), directions=30)

    assert result.standard_error is None
    assert result.interval is not None and result.interval[0] == 0


def test_few_images_and_other_orders_have_no_interval() -> None:
    few = sliced_wasserstein(features(500), features(199, seed=1))
    cubic = sliced_wasserstein(features(500), features(500, seed=1), order=3)

    assert (few.interval, few.reason) == (None, "no interval: 199 images are fewer than 200")
    assert few.value is not None
    assert (cubic.interval, cubic.reason) == (
        None,
        "no interval: it is known for order 2 alone",
    )


def test_single_precision_is_computed_in_double() -> None:
    x, y = features(100).astype(np.float32), features(120, seed=1).astype(np.float32)

    assert value(x, y) == value(x.astype(np.float64), y.astype(np.float64))


def test_no_images_have_no_distance() -> None:
    result = sliced_wasserstein(features(3), features(0))

    assert result.value is None
    assert result.reason == "needs at least 1 image on each side, got 0 and 3"


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"order of at least 1, got 0\.5"):
        sliced_wasserstein(features(3), features(3), order=0.5)


def test_the_work_can_be_ended_between_directions() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sliced_wasserstein(features(3), features(3), keep_going=stop)
