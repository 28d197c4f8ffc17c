"""Labels follow shares at every length, and image i's label is a function of i and the shares."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from generators.trained.labels import balanced_labels, check_seen, labels_by_share
from tests.generators.conftest import exactly

SHARES = st.lists(st.integers(0, 60), min_size=1, max_size=25).filter(any)


@given(shares=SHARES, count=st.integers(0, 400))
def test_any_first_images_hold_each_class_its_share_of_times_rounded_down_or_up(
    shares: list[int], count: int
) -> None:
    labels = labels_by_share(count, shares)

    drawn = np.cumsum(labels[:, None] == np.arange(len(shares)), axis=0)
    for images, numbers in enumerate(drawn, start=1):
        for share, number in zip(shares, numbers, strict=True):
            assert abs(int(number) - Fraction(images * share, sum(shares))) < 1


@given(shares=SHARES, count=st.integers(0, 400), more=st.integers(1, 9))
def test_a_label_depends_on_its_place_and_the_shares_alone(
    shares: list[int], count: int, more: int
) -> None:
    labels = labels_by_share(count, shares)

    assert labels.dtype == np.int64 and labels.shape == (count,)
    assert np.array_equal(labels, labels_by_share(count + 50, shares)[:count])
    assert np.array_equal(labels, labels_by_share(count, [more * share for share in shares]))


@given(count=st.integers(0, 100), num_classes=st.integers(1, 30), share=st.integers(1, 9))
def test_equal_shares_give_the_classes_in_turn(count: int, num_classes: int, share: int) -> None:
    in_turn = np.arange(count) % num_classes

    assert np.array_equal(labels_by_share(count, [share] * num_classes), in_turn)
    assert np.array_equal(balanced_labels(count, num_classes), in_turn)


def test_few_images_hold_what_a_long_tail_makes_of_them() -> None:
    """Where one class is half of all, divisor methods give the first 50 images to it alone."""
    labels = labels_by_share(50, [100, *[1] * 100])

    assert (labels == 0).sum() == 25
    assert len(set(labels)) == 26


def test_a_class_without_a_share_is_never_drawn() -> None:
    assert labels_by_share(6, [0, 3, 0, 3]).tolist() == [1, 3, 1, 3, 1, 3]


@pytest.mark.parametrize("shares", [[], [0, 0], [1, -1]])
def test_shares_that_are_none_are_refused(shares: list[int]) -> None:
    with pytest.raises(
        ValueError, match=exactly(f"expected shares from 0 and one above it, got {shares}")
    ):
        labels_by_share(3, shares)


def test_classes_that_a_generator_never_saw_are_named() -> None:
    check_seen([0, 1, 1], [0, 5, 5])

    message = (
        "expected shares of classes with training images alone, got one for class 0, 3, which the "
        "generator never saw"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        check_seen([1, 1, 1, 1], [0, 5, 5])
