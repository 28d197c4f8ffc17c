"""Class histograms of both sets: closed forms, directions, invariances and calibration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import entropy

from evaluation.metrics.classes import (
    class_divergence,
    missing_classes,
    mode_count,
    per_class_frechet,
)
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.moments import Moments
from evaluation.metrics.uncertainty import MetricResult
from tests.evaluation.factories import coverage, numbers

COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=8)


def logits_of(*counts: int) -> np.ndarray:
    """Return logits (N, K) of so many images of each class."""
    return np.repeat(np.eye(len(counts)) * 5, counts, axis=0)


def drawn(shares: np.ndarray, count: int, seed: int) -> np.ndarray:
    return logits_of(*np.random.default_rng(seed).multinomial(count, shares))


def test_equal_histograms_have_no_divergence() -> None:
    result = class_divergence(logits_of(30, 10), logits_of(90, 30))

    assert result.value == pytest.approx(0, abs=1e-12)


def test_the_divergence_is_the_closed_form() -> None:
    result = class_divergence(logits_of(75, 25), logits_of(50, 50))

    assert result.value == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-12)
    assert result.corrected == pytest.approx((result.value or 0) - 1 / 200, abs=1e-12)
    assert result.details == {"generated": [75, 25], "reference": [50, 50]}


def test_a_collapse_to_one_of_k_classes_costs_log_k() -> None:
    result = class_divergence(logits_of(100, 0, 0, 0), logits_of(10, 10, 10, 10))

    assert result.value == pytest.approx(math.log(4), abs=1e-12)
    assert result.interval is None
    assert "all generated images are of one class" in result.reason


def test_the_more_classes_are_dropped_the_larger_the_divergence() -> None:
    reference = logits_of(*[50] * 10)

    values = numbers(
        [
            class_divergence(logits_of(*[50] * kept, *[0] * (10 - kept)), reference)
            for kept in (10, 8, 5, 2, 1)
        ],
        "value",
    )

    assert (np.diff(values) > 0).all()


def test_a_class_that_the_reference_lacks_makes_the_divergence_absent() -> None:
    result = class_divergence(logits_of(10, 3, 2), logits_of(20, 0, 0))

    assert result.value is None
    assert result.reason == (
        "infinite: 5 generated images are predicted as class 1, 2, which no reference image is"
    )
    assert result.details["generated"] == [10, 3, 2]


@given(generated=COUNTS, reference=COUNTS)
def test_the_divergence_is_that_of_scipy_and_never_negative(
    generated: list[int], reference: list[int]
) -> None:
    width = min(len(generated), len(reference))
    p, q = generated[:width], reference[:width]

    value = class_divergence(logits_of(*p), logits_of(*q)).value

    assert value == pytest.approx(entropy(p, q), abs=1e-12)
    assert value is not None and value >= -1e-12


@given(counts=COUNTS, seed=st.integers(0, 1000), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_order_scale_and_shift_of_the_logits_do_not_matter(
    counts: list[int], seed: int, scale: float, shift: float
) -> None:
    logits = logits_of(*counts)
    reference = logits_of(*[7] * len(counts))
    shuffled = np.random.default_rng(seed).permutation(logits)

    assert class_divergence(shuffled * scale + shift, reference) == class_divergence(
        logits, reference
    )


def test_features_of_any_kind_give_the_same() -> None:
    generated, reference = logits_of(20, 10), logits_of(20, 20)

    single = class_divergence(
        torch.from_numpy(generated).float(), torch.from_numpy(reference).float()
    )

    assert single == class_divergence(generated, reference)


@pytest.mark.parametrize(
    "generated",
    [np.full(10, 0.1), np.linspace(1, 2, 10) / 15, np.r_[0.4, np.full(9, 0.6 / 9)]],
    ids=["equal", "near", "far"],
)
def test_the_interval_covers_the_truth(generated: np.ndarray) -> None:
    reference = logits_of(*[100] * 10)
    truth = float(entropy(generated, np.full(10, 0.1)))

    results = [class_divergence(drawn(generated, 400, seed), reference) for seed in range(400)]

    given_out = [found for found in results if found.interval is not None]
    assert len(given_out) >= 380
    assert 0.92 <= coverage(given_out, truth) <= 0.975
    corrected = numbers(results, "corrected")
    assert corrected.mean() == pytest.approx(truth, abs=4 * corrected.std() / math.sqrt(400))
    assert numbers(results, "value").mean() > truth + 0.008


def test_few_images_per_class_have_no_interval() -> None:
    result = class_divergence(logits_of(4, 5), logits_of(50, 50))

    assert result.interval is None
    assert result.reason == "no interval: 9 images are fewer than 20 per class (20 x 2)"


def test_missing_classes_are_counted_and_named() -> None:
    result = missing_classes(logits_of(5, 0, 3, 0, 0), logits_of(4, 4, 4, 4, 0))

    assert result.value == 2
    assert result.details["missing"] == [1, 3]
    assert result.details["present"] == 4
    assert result.details["expected_by_chance"] == pytest.approx(4 * 0.75**8)


def test_a_rare_class_of_the_reference_can_be_left_out() -> None:
    reference = logits_of(50, 1)

    assert missing_classes(logits_of(9, 0), reference).value == 1
    assert missing_classes(logits_of(9, 0), reference, minimum=2).value == 0


def test_no_class_is_missing_from_the_reference_itself() -> None:
    reference = drawn(np.full(20, 0.05), 300, seed=1)

    assert missing_classes(reference, reference).value == 0


def test_classes_missing_by_chance_are_as_many_as_announced() -> None:
    shares = np.full(20, 0.05)
    reference = logits_of(*[50] * 20)

    results = [missing_classes(drawn(shares, 40, seed), reference) for seed in range(200)]

    expected = results[0].details["expected_by_chance"]
    assert numbers(results, "value").mean() == pytest.approx(expected, rel=0.1)


def test_modes_are_the_different_classes() -> None:
    result = mode_count(logits_of(3, 0, 1, 2))

    assert result.value == 3
    assert result.details == {"classes": 4, "images": 6}
    assert "no interval" in result.reason


def test_a_thousand_joint_classes_are_counted() -> None:
    logits = torch.zeros(5000, 1000)
    chosen = torch.arange(5000) % 730
    logits[torch.arange(5000), chosen] = 1

    assert mode_count(logits).value == 730


def features_of(logits: np.ndarray, *, dim: int = 3, seed: int = 0) -> np.ndarray:
    """Return features (N, D) whose mean depends on the class."""
    means = logits.argmax(1)[:, None] * 10.0
    features: np.ndarray = np.random.default_rng(seed).normal(size=(len(logits), dim)) + means
    return features


def test_the_distance_within_classes_is_the_mean_of_each_class_alone() -> None:
    generated, reference = logits_of(20, 30, 40), logits_of(25, 35, 45)
    x, y = features_of(generated) * 1.1, features_of(reference, seed=1)

    result = per_class_frechet(x, generated, y, reference)

    alone = [
        frechet_distance(
            Moments.from_features(x[generated.argmax(1) == label]),
            Moments.from_features(y[reference.argmax(1) == label]),
        )
        for label in range(3)
    ]
    assert result.details["values"] == pytest.approx(alone, rel=1e-9)
    assert result.value == pytest.approx(np.mean(alone), rel=1e-9)
    assert result.details["classes"] == [0, 1, 2]
    assert result.details["worst_class"] == int(np.argmax(alone))
    assert result.details["generated"] == [20, 30, 40]


def test_each_class_shifted_by_d_costs_d_squared() -> None:
    logits = logits_of(50, 50)
    x = features_of(logits)
    shift = np.where(logits.argmax(1) == 1, 2.0, 1.0)[:, None] * [1, 0, 0]

    result = per_class_frechet(x + shift, logits, x, logits)

    assert result.details["values"] == pytest.approx([1, 4], abs=1e-9)
    assert result.value == pytest.approx(2.5, abs=1e-9)


def test_other_shares_of_the_classes_do_not_matter_but_a_collapse_within_them_does() -> None:
    reference = logits_of(200, 200)
    y = features_of(reference)

    uneven = logits_of(300, 90)
    shares = per_class_frechet(features_of(uneven, seed=1), uneven, y, reference)
    collapsed = features_of(reference, seed=2)
    collapsed[200:] = collapsed[200]
    collapse = per_class_frechet(collapsed, reference, y, reference)

    assert (shares.value or 1) < 0.2
    assert collapse.details["worst_class"] == 1
    assert (collapse.value or 0) > 1


def test_a_class_with_one_image_has_no_distance() -> None:
    generated, reference = logits_of(20, 1, 30, 0, 0), logits_of(20, 20, 30, 9, 0)

    result = per_class_frechet(features_of(generated), generated, features_of(reference), reference)

    assert result.value is None
    assert result.reason == (
        "needs at least 2 images of each class on each side; class 3 has 0 generated and 9 "
        "reference images (2 of 4 classes have fewer)"
    )
    assert result.details["generated"] == [20, 1, 30, 0]


@pytest.mark.slow
def test_the_interval_within_classes_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    reference, generated = logits_of(500, 500, 500), logits_of(120, 100, 110)
    y = features_of(reference, dim=2)
    shift = np.array([0.0, 0.3, 0.6])[generated.argmax(1)][:, None]
    means = generated.argmax(1)[:, None] * 10.0
    truth = np.mean(
        [
            frechet_distance(
                Moments(0, np.full(2, 10.0 * label + delta), np.eye(2)),
                Moments.from_features(y[reference.argmax(1) == label]),
            )
            for label, delta in enumerate([0.0, 0.3, 0.6])
        ]
    )

    results = [
        per_class_frechet(rng.normal(size=(330, 2)) + means + shift, generated, y, reference)
        for _ in range(150)
    ]

    assert 0.9 <= coverage(results, float(truth)) <= 0.99
    corrected = numbers(results, "corrected")
    assert corrected.mean() == pytest.approx(truth, abs=4 * corrected.std() / math.sqrt(150))
    assert numbers(results, "value").mean() > truth + 0.01


def test_few_images_in_one_class_leave_no_interval() -> None:
    generated, reference = logits_of(60, 14), logits_of(60, 60)

    result = per_class_frechet(
        features_of(generated), generated, features_of(reference, seed=1), reference
    )

    assert result.value is not None and result.interval is None
    assert result.reason.startswith("no interval: class 1: 14 images are fewer than 5 per feature")


def test_features_and_logits_must_be_of_the_same_images() -> None:
    logits = logits_of(5, 5)

    with pytest.raises(ValueError, match="of the same images, got 9 and 10"):
        per_class_frechet(np.ones((9, 2)), logits, np.ones((10, 2)), logits)


@pytest.mark.parametrize(
    "result",
    [
        per_class_frechet(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 3))),
        class_divergence(np.zeros((0, 3)), np.zeros((5, 3))),
        missing_classes(np.zeros((5, 3)), np.zeros((0, 3))),
        mode_count(np.zeros((0, 3))),
    ],
)
def test_without_images_nothing_is_defined(result: MetricResult) -> None:
    assert result.value is None
    assert result.reason.startswith("needs at least 1 image")


def test_logits_of_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="equal width, got 2 and 3"):
        class_divergence(np.zeros((4, 2)), np.zeros((4, 3)))


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        mode_count(np.full((4, 2), np.nan))
