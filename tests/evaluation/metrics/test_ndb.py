"""NDB/K: its test against a reference, its level for equal sets, and its directions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from evaluation.metrics.ndb import ndb


def clusters(counts: list[int], *, seed: int = 0) -> np.ndarray:
    """Return so many points near each of len(counts) far centres in 3 dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), 3)) * 100
    return np.repeat(centres, counts, axis=0) + rng.normal(size=(sum(counts), 3)) * 0.1


def value(real: np.ndarray, generated: np.ndarray, *, bins: int = 5) -> float:
    found = ndb(real, generated, bins=bins).value
    assert found is not None
    return found


def test_equal_sets_fill_all_bins_alike() -> None:
    x = clusters([40, 30, 20, 10, 5])

    result = ndb(x, x, bins=5)

    assert result.value == 0
    assert result.details["differing_bins"] == 0
    assert result.details["jensen_shannon"] == pytest.approx(0, abs=1e-15)
    assert sorted(result.details["real"]) == sorted(result.details["generated"])


def test_clusters_become_bins_and_their_counts_are_kept() -> None:
    result = ndb(clusters([50, 40, 30]), clusters([10, 20, 30], seed=1), bins=3)

    pairs = set(zip(result.details["real"], result.details["generated"], strict=True))
    assert pairs == {(50, 10), (40, 20), (30, 30)}


@settings(max_examples=30)
@given(
    real=st.lists(st.integers(20, 200), min_size=4, max_size=4),
    generated=st.lists(st.integers(0, 200), min_size=4, max_size=4).filter(any),
)
def test_bins_differ_where_the_chi_square_test_says_so(
    real: list[int], generated: list[int]
) -> None:
    result = ndb(clusters(real), clusters(generated, seed=1), bins=4)

    differing = 0
    for m, n in zip(result.details["real"], result.details["generated"], strict=True):
        table = [[m, sum(real) - m], [n, sum(generated) - n]]
        # Without continuity correction the square of the pooled z is Pearson's chi-square.
        differing += chi2_contingency(table, correction=False).pvalue < 0.05
    assert result.details["differing_bins"] == differing
    assert result.value == differing / 4
    assert result.details["jensen_shannon"] == pytest.approx(
        jensenshannon(result.details["real"], result.details["generated"]) ** 2, abs=1e-12
    )


def test_disjoint_histograms_have_the_largest_divergence() -> None:
    real = clusters([100, 100])
    collapsed = np.tile(real[:1], (200, 1))

    result = ndb(real, collapsed, bins=2)

    expected = 0.5 * (math.log(1 / 0.75) + 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert result.value == 1
    assert result.details["jensen_shannon"] == pytest.approx(expected)


def test_equal_distributions_differ_in_about_the_level_of_bins() -> None:
    rng = np.random.default_rng(0)
    # On the corners of a cube the bins are given, and only the counts are random.
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * 10.0

    shares = [
        value(corners[rng.integers(0, 8, 500)], corners[rng.integers(0, 8, 500)], bins=8)
        for _ in range(150)
    ]

    assert np.mean(shares) == pytest.approx(0.05, abs=0.025)


def test_the_more_modes_are_lost_the_more_bins_differ() -> None:
    real = clusters([60] * 10)

    lost = [
        value(real, clusters([60] * kept + [0] * (10 - kept), seed=1), bins=10)
        for kept in (10, 9, 7, 4)
    ]

    assert lost == sorted(lost)
    assert lost[0] == 0 and lost[-1] == 1


def test_the_result_depends_on_the_seed_alone() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 6)), rng.normal(size=(300, 6))

    assert ndb(x, y, bins=20) == ndb(x, y, bins=20)
    assert ndb(x, y, bins=20).details["real"] != ndb(x, y, bins=20, seed=1).details["real"]


def test_the_order_of_the_generated_images_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 6)), rng.normal(size=(300, 6))

    assert ndb(x, y[::-1], bins=20) == ndb(x, y, bins=20)


def test_features_of_unlike_precision_are_compared() -> None:
    x, y = clusters([50, 40, 30]), clusters([10, 20, 30], seed=1)

    assert ndb(x.astype(np.float32), y, bins=3) == ndb(x, y, bins=3)


def test_one_bin_never_differs() -> None:
    assert value(clusters([5]), clusters([9], seed=1), bins=1) == 0


def test_fewer_different_real_images_than_bins_are_not_enough() -> None:
    nine = np.tile(clusters([9]), (50, 1))

    result = ndb(nine, clusters([200]))

    assert result.value is None
    assert result.reason == "needs 100 different real images for 100 bins, got 9"


def test_there_is_never_an_interval_and_it_says_why() -> None:
    result = ndb(clusters([50, 50]), clusters([50, 50], seed=1), bins=2)

    assert result.interval is None
    assert result.reason == "no interval: tests on resampled images have another power"


def test_no_generated_images_and_no_bins_are_refused() -> None:
    assert ndb(clusters([9]), clusters([0]), bins=2).value is None
    with pytest.raises(ValueError, match="at least 1 bin, got 0"):
        ndb(clusters([9]), clusters([9]), bins=0)
