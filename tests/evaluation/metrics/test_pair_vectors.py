"""Numbers that every right kernel distance and neighbour metric must give, in closed form."""

import numpy as np
import pytest

from evaluation.metrics.kernel_distance import kernel_distance
from evaluation.metrics.neighbours import neighbour_metrics

FOUR = ("precision", "recall", "density", "coverage")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def numbers(real: np.ndarray, generated: np.ndarray, *, k: int, strict: bool) -> list[float | None]:
    found = neighbour_metrics(real, generated, k=k, strict=strict).results
    return [found[name].value for name in FOUR]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x", "y", "expected"), [([0, 0], [1, 1], 7), ([0, 1], [0, 1], -3.5)])
def test_small_sets_give_the_unbiased_estimate_over_all_pairs(
    x: list[float], y: list[float], expected: float, dtype: type
) -> None:
    result = kernel_distance(column(*x).astype(dtype), column(*y).astype(dtype))

    assert result.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("dim", "shift", "expected"), [(1, 1.0, 22), (8, 0.5, 1.1171875), (2048, 0.1, 0.0303159557)]
)
def test_many_images_of_two_normal_laws_give_the_distance_of_the_laws(
    dim: int, shift: float, expected: float
) -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(3000, dim)).astype(np.float32)
    generated = rng.normal(shift, size=(3000, dim)).astype(np.float32)

    result = kernel_distance(real, generated)

    assert result.value is not None and result.standard_error is not None
    assert abs(result.value - expected) < 3 * result.standard_error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strict", [False, True])
def test_points_on_a_line_give_the_closed_form(strict: bool, dtype: str) -> None:
    real, generated = column(0, 1, 2, 3).astype(dtype), column(0.5, 1.5, 10, 11).astype(dtype)

    assert numbers(real, generated, k=1, strict=strict) == [0.5, 0.75, 1.0, 0.75]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_point_on_the_border_is_inside_unless_strict(dtype: str) -> None:
    real, generated = column(0, 1).astype(dtype), column(2, 3).astype(dtype)

    assert numbers(real, generated, k=1, strict=False) == [0.5] * 4
    assert numbers(real, generated, k=1, strict=True) == [0] * 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1, 0.1])
def test_equal_points_cover_each_other_unless_strict(value: float, dtype: str) -> None:
    ones = np.full((6, 4), value, dtype=dtype)

    assert numbers(ones, ones.copy(), k=2, strict=False) == [1, 1, 3, 1]
    assert numbers(ones, ones.copy(), k=2, strict=True) == [0] * 4


def test_ten_thousand_equal_points_do_so_too() -> None:
    ones = np.full((10_000, 4), 0.1, dtype=np.float32)

    assert numbers(ones, ones.copy(), k=3, strict=False) == [1, 1, 10_000 / 3, 1]
    assert numbers(ones, ones.copy(), k=3, strict=True) == [0] * 4


def test_a_tight_cluster_in_a_wide_cloud_is_precise_and_covers_little() -> None:
    rng = np.random.default_rng(1)
    wide, tight = rng.normal(size=(500, 8)), rng.normal(size=(500, 8)) * 0.3

    precision, recall, _, _ = numbers(wide, tight, k=3, strict=False)

    assert precision is not None and precision > 0.8
    assert recall is not None and recall < 0.3


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_in_three_is_authentic_and_no_copy_is(k: int, dtype: str) -> None:
    train, generated = column(0, 10, 20).astype(dtype), column(0.5, 14, 40).astype(dtype)

    fresh = neighbour_metrics(train, generated, k=k, train=train)
    copied = neighbour_metrics(train, train[::-1].copy(), k=k, train=train)

    assert fresh.authenticity == pytest.approx(1 / 3, abs=1e-15)
    assert copied.results["authenticity"].value == 0
