"""Precision, recall, density, coverage and authenticity: closed forms, references, error bars."""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch_fidelity.metric_prc import prc_features_to_metric

from evaluation.metrics.neighbours import NeighbourMetrics, neighbour_metrics
from evaluation.metrics.uncertainty import Estimate
from tests.evaluation.factories import coverage, numbers

NAMES = ("precision", "recall", "density", "coverage", "authenticity")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def values(metrics: NeighbourMetrics) -> list[float | None]:
    return [metrics.results[name].value for name in NAMES]


def normal(seed: int, count: int, dim: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)) * scale


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a[:, None].astype(np.float64) - b[None]
    return np.asarray((difference**2).sum(-1))


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    squared = squared_distances(x, x)
    np.fill_diagonal(squared, np.inf)
    return np.asarray(np.sort(squared, axis=1)[:, k - 1])


def textbook_values(
    real: np.ndarray,
    generated: np.ndarray,
    *,
    k: int,
    strict: bool = False,
    train: np.ndarray | None = None,
) -> list[float]:
    """Return the metrics from whole float64 matrices of differences, as the papers define them."""
    inside = np.less if strict else np.less_equal
    train = real if train is None else train
    squared = squared_distances(generated, real)
    in_real = inside(squared, squared_radii(real, k))
    in_generated = inside(squared, squared_radii(generated, k)[:, None])
    to_train = squared_distances(generated, train)
    nearest = to_train.argmin(1)
    authentic = squared_radii(train, 1)[nearest] < to_train[np.arange(len(generated)), nearest]
    return [
        in_real.any(1).mean(),
        in_generated.any(0).mean(),
        in_real.sum() / (k * len(generated)),
        in_real.any(0).mean(),
        authentic.mean(),
    ]


def kinds_of_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return real and generated features that are each hard in a way of their own."""
    real = normal(0, 300, 16)
    rng = np.random.default_rng(1)
    modes = np.repeat(real[:5], 40, axis=0)
    return {
        "alike": (real, normal(2, 260, 16)),
        "of unequal count": (real[:60], normal(2, 260, 16)),
        "in the centre": (real, normal(2, 260, 16, scale=1e-3)),
        "far out": (real, normal(2, 260, 16, scale=2)),
        "far from the origin": (real + 1e3, normal(2, 260, 16) + 1e3),
        "one image many times": (real, np.repeat(real[:1], 150, axis=0)),
        "some images many times": (np.repeat(real[:20], 20, axis=0), real[:200]),
        "all images equal": (np.full((200, 16), 0.1), np.full((100, 16), 0.1)),
        "almost copies": (real, modes + rng.normal(size=modes.shape) * 1e-5),
        "real almost copies": (modes + rng.normal(size=modes.shape) * 1e-5, real),
        "bits, with many ties": (rng.integers(0, 2, (300, 10)), rng.integers(0, 2, (250, 10))),
        "classes": (np.eye(8)[rng.integers(0, 8, 300)], np.eye(8)[rng.integers(0, 8, 200)]),
        "all equally far": (np.eye(150), np.eye(150)[:100] * 2),
        "with an outlier": (np.vstack([real, real[:1] * 1e5]), normal(2, 260, 16)),
    }


@pytest.mark.parametrize("kind", kinds_of_sets())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "strict"), [(3, False), (5, True)])
def test_counts_are_exact_whatever_the_features(
    kind: str, dtype: str, k: int, strict: bool
) -> None:
    real, generated = kinds_of_sets()[kind]
    real, generated = real.astype(dtype), generated.astype(dtype)

    with patch("evaluation.metrics.pairs.points.BLOCK", 112):
        found = neighbour_metrics(real, generated, k=k, strict=strict)

    expected = textbook_values(real, generated, k=k, strict=strict)
    assert values(found) == pytest.approx(expected, rel=1e-12, abs=0)


def test_training_images_may_be_others_than_the_real_ones() -> None:
    real, generated, train = normal(0, 100, 4), normal(1, 90, 4), normal(2, 300, 4)
    train[:10] = generated[:10]

    found = neighbour_metrics(real, generated, k=2, train=train)

    assert values(found) == textbook_values(real, generated, k=2, train=train)
    assert found.authenticity != neighbour_metrics(real, generated, k=2).authenticity


def test_copies_of_training_images_are_not_authentic() -> None:
    train, fresh = normal(0, 200, 8), normal(1, 200, 8)

    copied = neighbour_metrics(fresh, train[:100], k=3, train=train)
    nearly = neighbour_metrics(fresh, train[:100] + 1e-4, k=3, train=train)
    own = neighbour_metrics(fresh, normal(2, 100, 8), k=3, train=train)

    assert copied.results["authenticity"].value == 0
    assert nearly.results["authenticity"].value == 0
    assert own.authenticity is not None and own.authenticity > 0.5


@pytest.mark.parametrize(("count", "dim"), [(2000, 64), (600, 2048)])
def test_precision_and_recall_equal_those_of_torch_fidelity(count: int, dim: int) -> None:
    real = torch.from_numpy(normal(3, count, dim)).float()
    generated = torch.from_numpy(normal(4, count, dim, scale=0.97)).float()

    found = neighbour_metrics(real, generated, k=3)

    theirs = prc_features_to_metric(generated, real, verbose=False)
    assert found.precision == pytest.approx(theirs["precision"], abs=1e-7)  # theirs is float32
    assert found.recall == pytest.approx(theirs["recall"], abs=1e-7)


def test_a_tight_cluster_in_a_wide_cloud_is_precise_and_covers_little() -> None:
    wide, tight = normal(1, 500, 8), normal(2, 500, 8, scale=0.3)

    found, swapped = (neighbour_metrics(*pair, k=3) for pair in ((wide, tight), (tight, wide)))

    assert found.precision is not None and found.precision > 0.8
    assert found.recall is not None and found.recall < 0.3
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)


def test_mode_collapse_lowers_recall_and_coverage() -> None:
    rng = np.random.default_rng(2)
    modes = rng.normal(size=(10, 8)) * 10
    real = modes[np.arange(600) % 10] + rng.normal(size=(600, 8))

    found = [
        neighbour_metrics(real, modes[np.arange(600) % kept] + rng.normal(size=(600, 8)), k=3)
        for kept in (10, 6, 3, 1)
    ]

    for lowered in ("recall", "coverage"):
        shares = [float(getattr(metrics, lowered)) for metrics in found]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < 0.15 < 0.7 < shares[0]


def test_density_counts_how_many_balls_overlap() -> None:
    real = normal(3, 400, 8)

    inner = neighbour_metrics(real, normal(4, 400, 8, scale=0.3), k=5).density
    outer = neighbour_metrics(real, normal(4, 400, 8, scale=2), k=5).density

    assert inner is not None and inner > 1
    assert outer is not None and outer < 0.2


def test_rows_may_be_brought_to_unit_length_first() -> None:
    real, generated = normal(5, 200, 6), normal(6, 150, 6)
    lengths = np.random.default_rng(7).uniform(0.1, 10, size=(150, 1))

    found = neighbour_metrics(real, generated * lengths, k=3, normalise=True)

    def unit(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))

    expected = textbook_values(unit(real), unit(generated), k=3)
    assert values(found) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 8), k=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_moving_scaling_turning_and_reordering_change_nothing(seed: int, dim: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(40, dim)), rng.normal(size=(30, dim)) * 0.8
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]

    def of(change: Callable[[np.ndarray], np.ndarray]) -> list[float | None]:
        return values(neighbour_metrics(change(real), change(generated), k=k))

    expected = of(lambda x: x)
    assert of(lambda x: x + 3.25) == expected
    assert of(lambda x: x * 1e-3) == expected
    assert of(lambda x: x @ rotation) == expected
    assert of(lambda x: rng.permutation(x)) == expected


def test_half_samples_have_the_radii_of_their_own_distances() -> None:
    real, generated = normal(5, 200, 4), normal(6, 200, 4)
    rng = np.random.default_rng(7)
    halves = np.zeros((2, 10, 200), bool)
    for mask in halves.reshape(20, 200):
        mask[rng.permutation(200)[:100]] = True

    shares = np.array(
        [
            textbook_values(real[of_real], generated[of_generated], k=3)
            for of_generated, of_real in zip(*halves, strict=True)
        ]
    )

    found = neighbour_metrics(real, generated, k=3, draws=10, seed=7)
    errors = [found.results[name].standard_error for name in NAMES]
    assert errors == pytest.approx(shares.std(0, ddof=1).tolist(), abs=1e-12)


def test_half_samples_of_sets_with_copies_count_them_one_by_one() -> None:
    real, generated = np.repeat(normal(5, 40, 4), 5, axis=0), np.repeat(normal(6, 60, 4), 3, axis=0)
    rng = np.random.default_rng(1)
    generated_halves = [rng.permutation(180)[:90] for _ in range(70)]
    real_halves = [rng.permutation(200)[:100] for _ in range(70)]

    shares = np.array(
        [
            textbook_values(real[of_real], generated[of_generated], k=4)
            for of_generated, of_real in zip(generated_halves, real_halves, strict=True)
        ]
    )

    found = neighbour_metrics(real, generated, k=4, draws=70, seed=1)
    errors = [found.results[name].standard_error for name in NAMES]
    assert errors == pytest.approx(shares.std(0, ddof=1).tolist(), abs=1e-12)


def test_the_standard_error_is_near_the_spread_over_repetitions() -> None:
    rng = np.random.default_rng(6)

    results = [
        neighbour_metrics(rng.normal(size=(300, 6)), rng.normal(size=(300, 6)) * 0.8, k=3).results
        for _ in range(80)
    ]

    for name in NAMES:
        found = [result[name] for result in results]
        spread = numbers(found, "value").std()
        reported = numbers(found, "standard_error").mean()
        assert 0.8 * spread < reported < 1.8 * spread  # half-sampling is slightly conservative
        assert coverage(found, float(numbers(found, "value").mean())) >= 0.92


def test_intervals_stay_within_what_a_share_can_be() -> None:
    found = neighbour_metrics(normal(1, 100, 2), normal(2, 100, 2), k=3)

    for name in ("precision", "recall", "coverage", "authenticity"):
        interval = found.results[name].interval
        assert interval is not None
        assert 0 <= interval[0] <= interval[1] <= 1


def test_a_metric_is_a_number_that_knows_its_error() -> None:
    precision = neighbour_metrics(normal(1, 100, 2), normal(2, 100, 2), k=3).precision

    assert isinstance(precision, Estimate)
    assert precision.value == float(precision)
    assert precision.interval is not None
    assert precision.standard_error is not None and precision.standard_error > 0


def test_the_same_features_give_the_same_numbers_again() -> None:
    first, second = (
        neighbour_metrics(normal(1, 100, 2), normal(2, 100, 2), k=3).results for _ in range(2)
    )

    assert first == second


def test_few_images_have_no_interval_and_fewer_no_value() -> None:
    few = neighbour_metrics(normal(8, 60, 2), normal(9, 49, 2), k=3)
    none = neighbour_metrics(normal(8, 60, 2), normal(9, 3, 2), k=3)

    assert few.recall is not None and few.recall.interval is None
    assert few.recall.reason == "no interval: needs at least 50 images on each side"
    assert none.precision is none.recall is none.density is none.coverage is None
    assert none.results["recall"].reason == (
        "needs more than 3 images on each side, got 3 generated and 60 real"
    )
    assert none.authenticity is not None


def test_authenticity_needs_two_training_images() -> None:
    found = neighbour_metrics(normal(8, 60, 2), normal(9, 60, 2), k=3, train=normal(7, 1, 2))

    assert found.authenticity is None
    assert found.results["authenticity"].reason == (
        "needs a generated image and at least 2 training images, got 60 and 1"
    )
    assert found.precision is not None


def test_no_images_have_no_values() -> None:
    empty = np.zeros((0, 2))

    for pair in ((empty, normal(1, 5, 2)), (normal(1, 5, 2), empty), (empty, empty)):
        assert values(neighbour_metrics(*pair, k=1)) == [None] * 5


def test_a_share_that_no_half_varies_has_no_interval() -> None:
    far = normal(7, 100, 4) + 1000

    results = neighbour_metrics(normal(8, 100, 4), far, k=3).results

    assert (results["precision"].value, results["recall"].value) == (0, 0)
    assert results["precision"].interval is None
    assert results["precision"].reason == (
        "no interval: every half of the images gives 0, so its spread is unknown"
    )


def test_balls_need_a_neighbour() -> None:
    with pytest.raises(ValueError, match="expected k of at least 1, got 0"):
        neighbour_metrics(np.zeros((5, 2)), np.zeros((5, 2)), k=0)
