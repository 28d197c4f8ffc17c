"""Class histograms of both sets: closed forms, directions, invariances and calibration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import entropy

from evaluation.classes import class_divergence, missing_classes, mode_count
from evaluation.uncertainty import MetricResult
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


@pytest.mark.parametrize(
    "result",
    [
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
