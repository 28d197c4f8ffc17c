"""How often intervals of the Fréchet distance between populations hold it, by simulation.

`pytest tests/benchmarks/judgements` prints a line for each case. The truth is in closed form.
"""

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.metrics.frechet import measure_frechet, reference_gaussian
from evaluation.metrics.frechet_population import measure_population_frechet
from evaluation.metrics.uncertainty import MetricResult
from tests.evaluation.populations import distance, population

KINDS = ("normal", "skewed", "rectified")
DRAWS = {16: 100, 64: 60, 256: 15}  # of each kind


def simulated(
    kind: str, dim: int, counts: tuple[int, int], *, draws: int, **changed: float
) -> tuple[float, list[MetricResult], list[MetricResult]]:
    """Return the truth, and the distance between populations and to the reference of each draw."""
    falling = kind != "rectified"
    x, y = population(kind, dim, falling=falling, **changed), population(kind, dim, falling=falling)
    found, fixed = [], []
    for seed in range(draws):
        rng = np.random.default_rng([seed, dim, *counts, KINDS.index(kind)])
        a, b = x.draw(counts[0], rng), y.draw(counts[1], rng)
        found.append(measure_population_frechet(a, b))
        fixed.append(measure_frechet(a, reference_gaussian(b)))
    return distance(x, y), found, fixed


def held(results: list[MetricResult], truth: float) -> tuple[int, int]:
    """Return how many intervals hold the truth, and how many there are."""
    given = [found.interval for found in results if found.interval is not None]
    return sum(low <= truth <= high for low, high in given), len(given)


@pytest.mark.parametrize("reference", ["as few", "10,000"])
@pytest.mark.parametrize("images_per_dimension", [5, 10])
@pytest.mark.parametrize("dim", DRAWS)
def test_intervals_hold_the_distance_of_the_populations(
    dim: int, images_per_dimension: int, reference: str, report: Callable[[str], None]
) -> None:
    count = dim * images_per_dimension
    counts = count, 5 * dim if reference == "as few" else 10_000
    inside = given = draws = inside_fixed = given_fixed = 0
    for kind in KINDS:
        truth, found, fixed = simulated(kind, dim, counts, draws=DRAWS[dim], shift=0.1, scale=1.1)
        here, there = held(found, truth), held(fixed, truth)
        inside, given, draws = inside + here[0], given + here[1], draws + len(found)
        inside_fixed, given_fixed = inside_fixed + there[0], given_fixed + there[1]

    report(
        f"  {dim} features, {counts[0]} and {counts[1]} images, {draws} draws: {inside / given:.1%} "
        f"of {given} intervals hold the truth; with the reference held fixed "
        f"{inside_fixed / max(given_fixed, 1):.1%} of {given_fixed}"
    )
    error = (0.95 * 0.05 / given) ** 0.5
    assert given > 0.9 * draws
    assert 0.92 - 2 * error <= inside / given <= min(0.97 + 2 * error, 1)


@pytest.mark.parametrize("dim", [16, 64])
def test_equal_populations_are_hardly_ever_told_apart(
    dim: int, report: Callable[[str], None]
) -> None:
    """The interval begins at 0 then: one that holds 0 errs on one side only."""
    apart = absent = draws = 0
    for kind in KINDS:
        _, found, _ = simulated(kind, dim, (5 * dim, 10 * dim), draws=DRAWS[dim])
        apart += sum(one.interval is not None and one.interval[0] > 0 for one in found)
        absent += sum(one.interval is None for one in found)
        draws += len(found)

    report(f"  {dim} features, {draws} draws: {apart} told apart, {absent} without interval")
    assert apart <= 0.05 * draws
    assert absent <= 0.08 * draws
