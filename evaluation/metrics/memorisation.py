"""C_T: whether generated images lie nearer to the training images than held-out ones do."""

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
from evaluation.metrics.uncertainty import Features, MetricResult, as_rows, undefined

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


def ct_score(
    train: Features,
    test: Features,
    generated: Features,
    *,
    cells: int = 3,
    components: int = 64,
    seed: int = 0,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return C_T of generated (N, D) features, given training (T, D) and held-out (M, D) ones.

    Features wider than ``components`` are first projected on the principal components of the
    training ones, whose k-means ``cells`` then divide space. In each cell the distances of
    generated images to the nearest training image of the cell are ranked among those of held-out
    images; C_T is the mean of the cells' Mann-Whitney z-scores, by their shares of held-out images.
    It is near 0 where both are as far, far below 0 for copies, far above 0 for images beside the
    data. Cells with fewer than 20 images of a set are left out. Ranks are corrected for ties.

    There is no interval: C_T is a z-score, whose own standard deviation is about 1.

    Source: Meehan, Chaudhuri and Dasgupta, 2020, "A non-parametric test to detect data-copying in
    generative models", eq. 5; cells by k-means with a seed, features by principal components.

    Raises:
        ValueError: if the features are not finite sets of equal width.
    """
    t, p, q = _projected([train, test, generated], components)
    if len(t) < cells:
        return undefined(f"needs at least {cells} training images, got {len(t)}")
    in_t, in_p, in_q = _cells([t, p, q], cells, seed)
    found = [
        _cell(t[in_t == cell], p[in_p == cell], q[in_q == cell], len(p), keep_going)
        for cell in range(cells)
    ]
    used = [cell for cell in found if cell.z is not None]
    details = {"cells": [vars(cell) for cell in found]}
    if not used:
        reason = f"needs a cell with {MIN_IN_CELL} held-out and {MIN_IN_CELL} generated images"
        return MetricResult(value=None, reason=reason, details=details)
    weighted = sum(cell.share * (cell.z or 0.0) for cell in used)
    return MetricResult(
        value=weighted / sum(cell.share for cell in used),
        reason="no interval: a z-score, whose own standard deviation is about 1",
        details=details,
    )


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


def _cell(t: Tensor, p: Tensor, q: Tensor, held_out: int, keep_going: Callable[[], None]) -> _Cell:
    """Return the z-score of one cell: below 0 where generated images are the nearer ones."""
    facts: dict[str, Any] = {
        "share": len(p) / max(held_out, 1),
        "train": len(t),
        "test": len(p),
        "generated": len(q),
    }
    if len(t) == 0 or min(len(p), len(q)) < MIN_IN_CELL:
        return _Cell(**facts, z=None)
    return _Cell(**facts, z=mann_whitney_z(nearest(q, t, keep_going), nearest(p, t, keep_going)))


def nearest(points: Tensor, to: Tensor, keep_going: Callable[[], None]) -> np.ndarray:
    """Return the distance of each row (N,) of ``points`` to the nearest row of ``to``, float64."""
    found = []
    for part in points.split(TILE):
        keep_going()
        best = (to**2).sum(1) - 2 * part @ to.T  # without the part's own norms, which rank nothing
        # The difference itself: products of features lose the digits of small distances.
        found.append((part - to[best.argmin(1)]).norm(dim=1))
    return torch.cat(found).cpu().numpy()


def mann_whitney_z(a: np.ndarray, b: np.ndarray) -> float:
    """Return the z-score of the Mann-Whitney test, below 0 where ``a`` is the smaller.

    It is 0 where all values are equal.
    """
    n, m = len(a), len(b)
    ranks = rankdata(np.concatenate([a, b]))
    _, tied = np.unique(ranks, return_counts=True)
    total = n + m
    ties = float((tied.astype(float) ** 3 - tied).sum()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    return 0.0 if variance <= 0 else (u - n * m / 2) / variance**0.5
