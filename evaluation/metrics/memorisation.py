"""C_T: whether generated images lie nearer to the training images than held-out ones do."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from evaluation.metrics.moments import Moments
from evaluation.metrics.uncertainty import (
    Features,
    MetricResult,
    as_rows,
    normal_quantile,
    undefined,
)

MIN_IN_CELL = 20  # images of each set, for the rank test's normal approximation
MAX_ITERATIONS = 100  # of k-means
TILE = 1024  # rows whose distances are held at a time


@dataclass(frozen=True)
class _Cell:
    """One cell: its share of the held-out images, how many images of each set, and its z-score."""

    share: float
    train: int
    test: int
    generated: int
    z: float | None  # None: too few images, left out


@dataclass(frozen=True)
class _Ranked:
    """A cell's z-score, and what it is without each of its generated and held-out images."""

    z: float
    without_generated: np.ndarray  # (n,)
    without_held_out: np.ndarray  # (m,)

    @property
    def from_generated(self) -> float:
        """The share of the z-score's variance that generated images bring without copies."""
        n, m = len(self.without_generated), len(self.without_held_out)
        return (m + 0.5) / (n + m + 1)


def ct_score(
    train: Features,
    test: Features,
    generated: Features,
    *,
    cells: int = 3,
    components: int = 64,
    seed: int = 0,
    level: float | None = 0.95,  # of the interval; None = no interval
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return C_T of generated (N, D) features, given training (T, D) and held-out (M, D) ones.

    Features wider than ``components`` are first projected on the principal components of the
    training ones, whose k-means ``cells`` then divide space. In each cell the distances of
    generated images to the nearest training image of the cell are ranked among those of held-out
    images; C_T is the mean of the cells' Mann-Whitney z-scores, by their shares of held-out images.
    It is near 0 where both are as far, far below 0 for copies, far above 0 for images beside the
    data. Cells with fewer than 20 images of a set are left out. Ranks are corrected for ties.

    Where generated images are as held-out ones, C_T is about normal around 0, and its standard
    deviation is the root of the sum of the squared shares: 0.58 for three equal cells, not 1.
    ``details`` has it, with the parts of its square that either side brings, for
    `evaluation.protocols.replication.nearness_p_value`. Standard error and interval are those at the value that
    is found: the jackknife over generated and held-out images, training images and cells fixed.

    Source: Meehan, Chaudhuri and Dasgupta, 2020, "A non-parametric test to detect data-copying in
    generative models", eq. 5; cells by k-means with a seed, features by principal components. Its
    z-scores are of variance 1 each, so that their weighted mean is not.

    Raises:
        ValueError: if the features are not finite sets of equal width.
    """
    t, p, q = _projected([train, test, generated], components)
    if len(t) < cells:
        return undefined(f"needs at least {cells} training images, got {len(t)}")
    in_t, in_p, in_q = _cells([t, p, q], cells, seed)
    ranked = [
        _ranked(t[in_t == cell], p[in_p == cell], q[in_q == cell], keep_going)
        for cell in range(cells)
    ]
    found = [
        _Cell(
            share=int((in_p == cell).sum()) / max(len(p), 1),
            train=int((in_t == cell).sum()),
            test=int((in_p == cell).sum()),
            generated=int((in_q == cell).sum()),
            z=None if each is None else each.z,
        )
        for cell, each in enumerate(ranked)
    ]
    details = {"cells": [vars(cell) for cell in found]}
    used = [each for each in ranked if each is not None]
    if not used:
        reason = f"needs a cell with {MIN_IN_CELL} held-out and {MIN_IN_CELL} generated images"
        return MetricResult(value=None, reason=reason, details=details)
    return _result(used, level, details)


def _result(cells: list[_Ranked], level: float | None, details: dict[str, Any]) -> MetricResult:
    """Return the mean of the z-scores by numbers of held-out images, with its errors."""
    counts = np.array([len(cell.without_held_out) for cell in cells])
    value = float(np.average([cell.z for cell in cells], weights=counts))
    squares = (counts / counts.sum()) ** 2
    shares = np.array([cell.from_generated for cell in cells])
    from_generated, from_held_out = float(squares @ shares), float(squares @ (1 - shares))
    error = math.sqrt(sum(_jackknife_variance(side) for side in _left_out(cells, counts, value)))
    reason = "no interval: the protocol asks for none" if level is None else ""
    if level is not None and error == 0:
        reason = "no interval: no image changes the value"
    half_width = normal_quantile(level or 0) * error
    return MetricResult(
        value=value,
        standard_error=error or None,
        interval=None if reason else (value - half_width, value + half_width),
        reason=reason,
        details=details
        | {
            "null_standard_deviation": math.sqrt(squares.sum()),
            "null_variance_generated": from_generated,
            "null_variance_held_out": from_held_out,
        },
    )


def _left_out(
    cells: list[_Ranked], counts: np.ndarray, value: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return C_T without each of the generated images (N,), and of the held-out ones (M,)."""
    total = counts.sum()
    generated = [
        value + count / total * (cell.without_generated - cell.z)
        for cell, count in zip(cells, counts, strict=True)
    ]
    held_out = [
        (total * value - count * cell.z + (count - 1) * cell.without_held_out) / (total - 1)
        for cell, count in zip(cells, counts, strict=True)
    ]
    return np.concatenate(generated), np.concatenate(held_out)


def _jackknife_variance(left_out: np.ndarray) -> float:
    count = len(left_out)
    return (count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum())


def _projected(sets: list[Features], components: int) -> list[Tensor]:
    """Return the sets in float64, on the first principal components of the first if wide."""
    rows = [as_rows(features) for features in sets]
    widths = {each.shape[1] for each in rows}
    if len(widths) > 1:
        raise ValueError(f"expected features of equal width, got {sorted(widths)}")
    if rows[0].shape[1] <= components or len(rows[0]) < 2:
        return [each.double().to(rows[0].device) for each in rows]
    moments = Moments.from_features(rows[0])
    _, vectors = torch.linalg.eigh(moments.covariance)
    axes = vectors[:, -components:].to(rows[0].device)
    mean = moments.mean.to(axes.device)
    return [
        torch.cat([(part.to(axes.device) - mean) @ axes for part in each.split(TILE)])
        for each in rows
    ]


def _cells(sets: list[Tensor], cells: int, seed: int) -> list[np.ndarray]:
    """Return the cell of each row of the three sets, (N,) each."""
    arrays = [each.cpu().numpy() for each in sets]
    # One thread: several would add up in another order each time, and move images at the border.
    with threadpool_limits(limits=1):
        found = KMeans(cells, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed).fit(arrays[0])
        others = [found.predict(each) if len(each) else np.zeros(0, int) for each in arrays[1:]]
    return [found.labels_, *others]


def _ranked(t: Tensor, p: Tensor, q: Tensor, keep_going: Callable[[], None]) -> _Ranked | None:
    """Return the z-scores of one cell, below 0 where generated images are nearer; None if too few."""
    if len(t) == 0 or min(len(p), len(q)) < MIN_IN_CELL:
        return None
    return ranked_scores(nearest(q, t, keep_going), nearest(p, t, keep_going))


def nearest(points: Tensor, to: Tensor, keep_going: Callable[[], None]) -> np.ndarray:
    """Return the distance of each row (N,) of ``points`` to the nearest row of ``to``, float64."""
    found = []
    for part in points.split(TILE):
        keep_going()
        best = (to**2).sum(1) - 2 * part @ to.T  # without the part's own norms, which rank nothing
        # The difference itself: products of features lose the digits of small distances.
        found.append((part - to[best.argmin(1)]).norm(dim=1))
    return torch.cat(found).cpu().numpy()


def ranked_scores(a: np.ndarray, b: np.ndarray) -> _Ranked:
    """Return the z-score of the Mann-Whitney test, below 0 where ``a`` is smaller than ``b``.

    It is 0 where all values are equal. What it is without one of the values follows from the
    placements of DeLong, DeLong and Clarke-Pearson, 1988, "Comparing the areas under two or more
    correlated receiver operating characteristic curves"; the correction for ties stays.
    """
    n, m = len(a), len(b)
    ranks = rankdata(np.concatenate([a, b]))
    _, tied = np.unique(ranks, return_counts=True)
    ties = float((tied.astype(float) ** 3 - tied).sum()) / ((n + m) * (n + m - 1))

    def z(area: Any, n: int, m: int) -> Any:
        spread = n + m + 1 - ties
        return (area - 0.5) * math.sqrt(12 * n * m / spread) if spread > 1e-9 else area * 0.0

    below = (ranks[:n] - rankdata(a)) / m  # the share of b below each of a, ties by half
    above = 1 - (ranks[n:] - rankdata(b)) / n  # the share of a above each of b
    area = float(below.mean())
    return _Ranked(
        z=float(z(area, n, m)),
        without_generated=z((n * area - below) / (n - 1), n - 1, m),
        without_held_out=z((m * area - above) / (m - 1), n, m - 1),
    )
