"""The Fréchet distance between populations: free of the bias of both sides, with both sides' error."""

import numpy as np
import pytest
import torch

from evaluation.metrics.frechet import measure_frechet, reference_gaussian
from evaluation.metrics.frechet_population import (
    measure_paired_frechet,
    measure_population_frechet,
)
from evaluation.metrics.uncertainty import MetricResult
from tests.evaluation.factories import numbers
from tests.evaluation.metrics.test_frechet import distance as distance_of_sets
from tests.evaluation.populations import Population, distance, population


def measured(x: Population, y: Population, counts: tuple[int, int], *, seed: int) -> MetricResult:
    rng = np.random.default_rng([seed, *counts])
    return measure_population_frechet(x.draw(counts[0], rng), y.draw(counts[1], rng))


def holds(found: MetricResult, truth: float) -> bool:
    return found.interval is not None and found.interval[0] <= truth <= found.interval[1]


def test_closed_forms_are_those_of_large_sets() -> None:
    for kind in ("normal", "skewed", "rectified"):
        for falling in (False, True):
            known = population(kind, 4, falling=falling, shift=0.5, scale=2)

            rows = known.draw(200_000, np.random.default_rng(0))

            assert rows.mean(0) == pytest.approx(known.mean, abs=0.03)
            assert np.cov(rows.T) == pytest.approx(known.covariance, abs=0.1)


def test_the_value_is_the_distance_of_the_sets() -> None:
    x, y = population("skewed", 8, shift=0.2), population("skewed", 8)
    rng = np.random.default_rng(0)
    a, b = x.draw(300, rng), y.draw(500, rng)

    found = measure_population_frechet(torch.from_numpy(a).float(), b)

    assert found.value == pytest.approx(distance_of_sets(a, b), rel=1e-5)


@pytest.mark.slow
def test_the_bias_and_the_error_of_a_small_reference_are_known_too() -> None:
    """What `measure_frechet`, which holds the reference fixed, neither takes out nor counts."""
    x, y = population("normal", 16, shift=0.25), population("normal", 16)
    truth, rng = distance(x, y), np.random.default_rng(0)
    fixed, both = [], []
    for _ in range(40):
        a, b = x.draw(1000, rng), y.draw(200, rng)
        fixed.append(measure_frechet(a, reference_gaussian(b)))
        both.append(measure_population_frechet(a, b))

    assert sum(holds(found, truth) for found in fixed) < 20
    assert sum(holds(found, truth) for found in both) >= 36
    assert numbers(fixed, "corrected").mean() > 1.2 * truth
    assert numbers(both, "corrected").mean() == pytest.approx(truth, rel=0.1)


def test_many_features_leave_their_bias_too() -> None:
    x = population("normal", 256, falling=True, shift=0.1, scale=1.1)
    y = population("normal", 256, falling=True)
    truth = distance(x, y)

    found = measured(x, y, (2000, 10_000), seed=0)

    assert found.value is not None
    assert found.value > truth * 1.02
    assert found.standard_error is not None
    assert found.corrected == pytest.approx(truth, abs=3 * found.standard_error)


def test_equal_populations_have_no_distance() -> None:
    same = population("skewed", 16, falling=True)

    results = [measured(same, same, (160, 240), seed=seed) for seed in range(40)]

    corrected = numbers(results, "corrected")
    assert abs(corrected.mean()) < 3 * corrected.std() / 40**0.5
    assert numbers(results, "value").min() > 0
    assert all(holds(found, 0.0) or "below 0" in found.reason for found in results)
    assert sum(found.interval is None for found in results) <= 5


def test_the_distance_is_the_same_both_ways() -> None:
    x, y = population("normal", 6, shift=0.5), population("rectified", 6)
    rng = np.random.default_rng(0)
    a, b = x.draw(200, rng), y.draw(200, rng)

    there, back = measure_population_frechet(a, b), measure_population_frechet(b, a)

    assert there.value == pytest.approx(back.value)
    assert there.corrected == pytest.approx(back.corrected, abs=3 * (back.standard_error or 0))


@pytest.mark.parametrize("groups", [2, 3, 20, 21])
def test_any_number_of_groups_takes_the_bias_out(groups: int) -> None:
    x, y = population("normal", 8, shift=0.3), population("normal", 8)
    truth, rng = distance(x, y), np.random.default_rng(1)

    corrected = [
        measure_population_frechet(x.draw(200, rng), y.draw(200, rng), groups=groups, halves=4)
        for _ in range(40)
    ]

    known = numbers([found for found in corrected if found.value is not None], "corrected")
    assert known.mean() == pytest.approx(truth, abs=4 * known.std() / len(known) ** 0.5)


@pytest.mark.parametrize("counts", [(79, 500), (500, 79)])
def test_too_few_images_on_either_side_have_a_reason_and_no_number(counts: tuple[int, int]) -> None:
    found = measured(population("normal", 16), population("normal", 16), counts, seed=0)

    assert (found.value, found.corrected, found.interval) == (None, None, None)
    assert found.reason == (
        "needs at least 80 images on each side, 5 for each of 16 feature dimensions and 2 in each "
        f"of 20 groups; got {counts[0]} generated and {counts[1]} reference images"
    )


def test_a_bias_too_large_to_be_taken_out_has_a_reason_and_no_number() -> None:
    x, y = population("normal", 128), population("normal", 128)
    rng = np.random.default_rng(0)

    found = measure_population_frechet(x.draw(200, rng), y.draw(9000, rng), images_per_dimension=1)

    assert (found.value, found.corrected, found.interval) == (None, None, None)
    assert found.reason == "so few images have more bias than can be taken out"


def test_features_that_are_always_zero_change_nothing() -> None:
    x, y = population("rectified", 6, shift=0.5), population("rectified", 6)
    rng = np.random.default_rng(0)
    a, b = x.draw(200, rng), y.draw(200, rng)
    dead = np.zeros((200, 1))

    found = measure_population_frechet(np.hstack([a, dead]), np.hstack([b, dead]))

    alive = measure_population_frechet(a, b)
    assert found.corrected == pytest.approx(alive.corrected, rel=1e-6)
    assert found.interval == pytest.approx(alive.interval, rel=1e-6)


def test_the_work_can_be_ended_between_its_parts() -> None:
    calls = 0

    def keep_going() -> None:
        nonlocal calls
        calls += 1
        if calls == 30:
            raise InterruptedError

    x = population("normal", 4)
    rng = np.random.default_rng(0)
    with pytest.raises(InterruptedError):
        measure_population_frechet(x.draw(100, rng), x.draw(100, rng), keep_going=keep_going)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "skewed", "rectified"])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    x, y = population(kind, 16, shift=0.1, scale=1.1), population(kind, 16)
    truth, draws = distance(x, y), 300

    for counts in ((80, 80), (160, 2000)):
        results = [measured(x, y, counts, seed=seed) for seed in range(draws)]
        held = sum(holds(found, truth) for found in results)
        given = sum(found.interval is not None for found in results)
        assert given >= 0.95 * draws
        assert 0.92 - 0.02 <= held / given <= 0.97 + 0.02  # ± the simulation's own error


# --- pairs: images and what was made of each ---


def test_images_that_come_back_as_they_are_have_no_distance() -> None:
    y = population("skewed", 4).draw(300, np.random.default_rng(0))

    found = measure_paired_frechet(y, y)

    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.corrected == pytest.approx(0, abs=1e-9)


def test_the_distance_of_pairs_is_that_of_the_sets_and_a_shift_is_its_square() -> None:
    y = population("skewed", 4).draw(300, np.random.default_rng(0))

    found = measure_paired_frechet(y * 0.7, y)

    assert found.value == pytest.approx(distance_of_sets(y * 0.7, y), rel=1e-6)
    assert measure_paired_frechet(y + 0.5, y).value == pytest.approx(4 * 0.5**2, rel=1e-6)


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_the_interval_of_pairs_is_calibrated_and_their_shared_chance_cancels(kind: str) -> None:
    real = population(kind, 8)
    made = Population(
        draw=real.draw,  # not drawn from: each row is made of one of the other set
        mean=0.7 * real.mean + 0.1,
        covariance=0.49 * real.covariance + 0.04 * np.eye(8),
    )
    truth, rng = distance(made, real), np.random.default_rng(1)
    results = []
    for _ in range(100):
        y = real.draw(400, rng)
        results.append(measure_paired_frechet(0.7 * y + 0.1 + 0.2 * rng.normal(size=y.shape), y))

    assert sum(holds(found, truth) for found in results) >= 87
    assert numbers(results, "corrected").mean() == pytest.approx(truth, rel=0.02)


def test_too_few_pairs_have_a_value_and_no_interval() -> None:
    y = population("normal", 8).draw(30, np.random.default_rng(0))

    found = measure_paired_frechet(y * 0.5, y)

    assert found.value == pytest.approx(distance_of_sets(y * 0.5, y), rel=1e-6)
    assert found.interval is None and "30 images are fewer than 5 per" in found.reason


def test_pairs_are_as_many_on_both_sides() -> None:
    with pytest.raises(ValueError, match="as many images as originals, got 3 and 4"):
        measure_paired_frechet(np.zeros((3, 2)), np.zeros((4, 2)))
