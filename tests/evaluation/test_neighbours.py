"""Precision and recall against closed forms, torch-fidelity and their own error bars."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from evaluation.neighbours import neighbour_metrics
from tests.evaluation.factories import numbers


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def both(x: np.ndarray, y: np.ndarray, *, neighbours: int = 3) -> tuple[float, float]:
    results = neighbour_metrics(y, x, k=neighbours).results
    precision, recall = results["precision"].value, results["recall"].value
    assert precision is not None and recall is not None
    return precision, recall


def test_points_on_a_line_give_the_closed_form() -> None:
    assert both(column(0.5, 1.5, 10, 11), column(0, 1, 2, 3), neighbours=1) == (0.5, 0.75)


def test_a_point_on_the_border_is_inside() -> None:
    assert both(column(2, 3), column(0, 1), neighbours=1) == (0.5, 0.5)


def test_equal_points_cover_each_other() -> None:
    ones = np.full((6, 4), 0.1)

    assert both(ones, ones.copy(), neighbours=2) == (1, 1)


def test_exact_copies_are_covered_wherever_they_lie() -> None:
    x = np.random.default_rng(0).normal(size=(300, 32)) * 100 + 1e4
    copies = np.repeat(x[:50], 6, axis=0)

    precision, recall = both(copies, x)

    assert precision == 1
    assert recall == pytest.approx(50 / 300)


def test_a_tight_cluster_in_a_wide_cloud_is_precise_and_covers_little() -> None:
    rng = np.random.default_rng(1)
    wide, tight = rng.normal(size=(500, 8)), rng.normal(size=(500, 8)) * 0.3

    precision, recall = both(tight, wide)

    assert precision > 0.8
    assert recall < 0.3
    assert both(wide, tight) == (recall, precision)


def test_mode_collapse_lowers_recall() -> None:
    rng = np.random.default_rng(2)
    modes = rng.normal(size=(10, 8)) * 10
    real = modes[np.arange(600) % 10] + rng.normal(size=(600, 8))

    recalls = [
        both(modes[np.arange(600) % kept] + rng.normal(size=(600, 8)), real)[1]
        for kept in (10, 6, 3, 1)
    ]

    assert recalls == sorted(recalls, reverse=True)
    assert recalls[-1] < 0.15 < 0.8 < recalls[0]


def test_the_result_equals_that_of_torch_fidelity() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 12)) * 0.9, rng.normal(size=(400, 12))

    theirs = prc_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), verbose=False)

    assert both(x, y) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-5)


def test_the_result_does_not_depend_on_the_tiles() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(130, 5)) * 0.8, rng.normal(size=(170, 5))

    whole = neighbour_metrics(y, x, k=3)
    with patch("evaluation.neighbours.TILE", 32):
        tiled = neighbour_metrics(y, x, k=3)

    assert tiled == whole


def test_half_samples_have_the_radii_of_their_own_distances() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(200, 4)), rng.normal(size=(200, 4))

    shares = []
    half_rng = np.random.default_rng(7)
    masks = [np.zeros(200, bool) for _ in range(20)]
    for mask in masks:
        mask[half_rng.permutation(200)[:100]] = True
    for mask_x, mask_y in zip(masks[:10], masks[10:], strict=True):
        shares.append(both(x[mask_x], y[mask_y])[0])

    found = neighbour_metrics(y, x, k=3, draws=10, seed=7).results["precision"].standard_error
    assert found == pytest.approx(np.std(shares, ddof=1), abs=1e-12)


def test_the_standard_error_is_near_the_spread_over_repetitions() -> None:
    rng = np.random.default_rng(6)

    results = [
        neighbour_metrics(rng.normal(size=(300, 6)), rng.normal(size=(300, 6)) * 0.8, k=3, draws=20)
        for _ in range(60)
    ]

    for name in ("precision", "recall"):
        found = [result.results[name] for result in results]
        spread = numbers(found, "value").std()
        reported = numbers(found, "standard_error").mean()
        assert 0.8 * spread < reported < 1.8 * spread  # half-sampling is slightly conservative
        for one in found:
            assert one.value is not None and one.interval is not None
            assert 0 <= one.interval[0] <= one.value <= one.interval[1] <= 1


def test_few_images_have_no_interval_and_fewer_no_value() -> None:
    rng = np.random.default_rng(8)

    few = neighbour_metrics(rng.normal(size=(60, 2)), rng.normal(size=(49, 2)), k=3).results[
        "recall"
    ]
    none = neighbour_metrics(rng.normal(size=(60, 2)), rng.normal(size=(3, 2)), k=3).results[
        "recall"
    ]

    assert few.value is not None and few.interval is None
    assert few.reason == "no interval: needs at least 50 images on each side"
    assert none.value is None
    assert none.reason == "needs more than 3 images on each side, got 3 and 60"


def test_a_share_that_no_half_varies_has_no_interval() -> None:
    rng = np.random.default_rng(7)
    far = rng.normal(size=(100, 4)) + 1000

    results = neighbour_metrics(rng.normal(size=(100, 4)), far, k=3).results

    assert (results["precision"].value, results["recall"].value) == (0, 0)
    assert results["precision"].interval is None
    assert results["precision"].reason == (
        "no interval: every half of the images gives 0, so its spread is unknown"
    )
