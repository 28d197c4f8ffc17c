"""What all metrics share: results, values that know their error, choices and features."""

import copy

import numpy as np
import pytest
import torch

from evaluation.imagesets.splits import choose
from evaluation.metrics.uncertainty import (
    Estimate,
    Features,
    MetricResult,
    as_feature_pair,
    as_features,
    as_row_pair,
    as_rows,
    estimated,
    normal_quantile,
    student_quantile,
    undefined,
    within,
)

MEASURED = MetricResult(
    value=0.5, corrected=0.4, standard_error=0.1, interval=(0.2, 0.6), details={"count": 3}
)


# --- results ---


def test_an_estimate_is_a_number_that_knows_its_error() -> None:
    estimate = Estimate(MEASURED)

    assert estimate == 0.5
    assert estimate * 2 == 1
    assert (estimate.value, estimate.corrected) == (0.5, 0.4)
    assert (estimate.standard_error, estimate.interval) == (0.1, (0.2, 0.6))
    assert (estimate.reason, estimate.result) == ("", MEASURED)
    assert type(estimate.value) is float


def test_a_copy_of_an_estimate_knows_it_too() -> None:
    assert copy.deepcopy(Estimate(MEASURED)).result == MEASURED


def test_nothing_undefined_is_a_number() -> None:
    with pytest.raises(ValueError, match="expected a result with a value, got none: too few"):
        Estimate(undefined("too few"))
    assert estimated(undefined("too few")) is None
    assert estimated(MEASURED) == 0.5


def test_a_record_holds_plain_values_or_the_reason_for_none() -> None:
    assert MEASURED.to_record() == {
        "value": 0.5,
        "corrected": 0.4,
        "standard_error": 0.1,
        "interval": [0.2, 0.6],
        "details": {"count": 3},
    }
    assert undefined("too few").to_record() == {"absent": True, "reason": "too few"}


def test_intervals_stay_within_what_the_quantity_can_be() -> None:
    def interval(estimate: float, **ends: float) -> tuple[float, float] | None:
        around = estimate - 0.2, estimate + 0.2
        return within(MetricResult(estimate, interval=around), **ends).interval

    assert interval(0.5) == pytest.approx((0.3, 0.7))
    assert interval(0.9, minimum=0, maximum=1) == pytest.approx((0.7, 1))
    assert interval(-0.1, minimum=0) == pytest.approx((0, 0.1))
    assert interval(-1.0, minimum=0) is None


def test_quantiles_are_those_of_tables() -> None:
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert student_quantile(0.95, degrees_of_freedom=19) == pytest.approx(2.093024, abs=1e-6)


# --- choices ---


def test_a_choice_is_sorted_without_repeats_and_depends_on_its_seed_alone() -> None:
    chosen = choose(100, 30, seed=1)

    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == 30
    assert np.array_equal(chosen, choose(100, 30, seed=1))
    assert not np.array_equal(chosen, choose(100, 30, seed=2))
    assert np.array_equal(choose(5, 5, seed=3), np.arange(5))


def test_more_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="expected at least 6 images, got 5"):
        choose(5, 6, seed=0)


# --- features ---


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float64),
        (torch.uint8, torch.float64),
    ],
)
def test_rows_keep_the_widest_type_that_says_no_more_than_they_do(
    given: torch.dtype, kept: torch.dtype
) -> None:
    features = torch.ones(4, 3).to(given)

    assert as_rows(features).dtype == kept
    assert as_features(features).dtype == torch.float64


def test_large_numbers_are_finite_although_their_sum_is_not() -> None:
    features = torch.full((10, 2), 3e38)

    assert as_rows(features) is features


def test_rows_are_not_copied() -> None:
    array, tensor = np.ones((4, 3), np.float32), torch.ones(4, 3)

    assert as_rows(tensor) is tensor
    assert as_rows(array).data_ptr() == array.ctypes.data


@pytest.mark.parametrize("kind", ["read-only", "of the other byte order", "strided"])
def test_arrays_of_every_layout_are_taken(kind: str) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    expected = array.copy()
    if kind == "read-only":
        array.flags.writeable = False
    elif kind == "strided":
        array = np.asfortranarray(array)[::-1]
        expected = expected[::-1].copy()
    else:
        array = array.astype(array.dtype.newbyteorder())

    assert np.array_equal(as_rows(array).numpy(), expected)


def test_pairs_have_one_width() -> None:
    first, second = as_feature_pair(np.ones((2, 3), np.float32), torch.ones(4, 3))

    assert (first.dtype, second.dtype) == (torch.float64, torch.float64)
    with pytest.raises(ValueError, match="expected features of equal width, got 3 and 2"):
        as_row_pair(np.ones((2, 3)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(4), "expected features of shape (N, D), got (4,)"),
        (np.zeros((4, 0)), "expected features of shape (N, D), got (4, 0)"),
        (torch.zeros(4, 3, 2), "expected features of shape (N, D), got (4, 3, 2)"),
        (np.full((4, 2), np.inf), "expected finite features, got NaN or infinity"),
        (np.array([[np.inf, -np.inf]]), "expected finite features, got NaN or infinity"),
        (torch.full((9000, 2), torch.nan), "expected finite features, got NaN or infinity"),
    ],
)
def test_what_is_no_feature_set_is_refused(features: Features, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        as_rows(features)

    assert str(caught.value) == message
