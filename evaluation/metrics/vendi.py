"""The Vendi score: how many different images a set effectively holds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import eigvalsh
from torch import Tensor

from evaluation.metrics.jackknife import jackknifed, seeded_groups
from evaluation.metrics.uncertainty import (
    CHUNK,
    Features,
    MetricResult,
    as_rows,
    clipped,
    undefined,
)

IMAGES_PER_GROUP = 10  # fewer images in a group of the jackknife: no interval


def vendi_score(
    features: Features,
    *,
    groups: int = 20,
    images_per_dimension: int = 5,  # fewer: no interval
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return exp(-Σ λ log λ), λ the eigenvalues of K / N, of features (N, D).

    K is the cosine kernel of the features as they are, not centred. The score is 1 where all
    point the same way and at most min(N, D); with N < D it grows with N, so that only sets of
    equal size compare. For D < N the eigenvalues are those of the D × D matrix Σ u uᵀ / N of the
    unit vectors u; the others are 0.

    The score is biased down. ``corrected`` and interval estimate the score of infinitely many
    images by the grouped jackknife of the entropy; in simulations the interval covers 93-97 % from
    5 images per dimension on, and more where all directions are equally filled.

    Source: Friedman & Dieng, 2023, "The Vendi score: a diversity evaluation metric for machine
    learning", eq. 1, of order 1.

    Raises:
        ValueError: if the features are not finite (N, D).
    """
    x = as_rows(features)
    count, dim = x.shape
    if count == 0:
        return undefined("needs at least 1 image, got 0")
    if zeros := sum(int((chunk == 0).all(1).sum()) for chunk in x.split(CHUNK)):
        return undefined(f"the features of {zeros} images are all 0: they point nowhere")
    if count <= dim:
        rows = _unit(x)
        entropy = _entropy(rows @ rows.T / count)
    else:
        total = _products(x, keep_going)
        entropy = _entropy(total / count)
    keep_going()
    needed = max(images_per_dimension * dim, IMAGES_PER_GROUP * groups, dim + 1)
    if count < needed:
        reason = f"no interval: {count} images are fewer than {needed}"
        return MetricResult(value=math.exp(entropy), reason=reason)
    left_out = _left_out(x, total, groups, keep_going)
    result = jackknifed(entropy, left_out, level=level, minimum=0.0, maximum=math.log(dim))
    if result.interval is None:
        reason = f"no interval: all of it lies beyond the 1 to {dim} that {dim} features allow"
        result = replace(result, reason=reason)
    return _exponential(result, largest=math.log(dim))


def _left_out(
    x: Tensor, total: np.ndarray, groups: int, keep_going: Callable[[], None]
) -> np.ndarray:
    """Return the entropy (B,) without each of the seeded groups of images."""
    entropies = []
    for group in seeded_groups(len(x), groups, seed=0):
        rest = total - _products(x[torch.from_numpy(group)], keep_going)
        entropies.append(_entropy(rest / (len(x) - len(group))))
    return np.array(entropies)


def _exponential(entropy: MetricResult, *, largest: float) -> MetricResult:
    """Return the score of which this is the logarithm."""
    if entropy.value is None or entropy.corrected is None or entropy.standard_error is None:
        return entropy
    # Beyond the largest entropy of D features, which boards do not know, there is no estimate.
    corrected = math.exp(clipped(entropy.corrected, 0.0, largest))
    interval = entropy.interval
    return replace(
        entropy,
        value=math.exp(entropy.value),
        corrected=corrected,
        standard_error=corrected * entropy.standard_error,  # delta method
        interval=None if interval is None else (math.exp(interval[0]), math.exp(interval[1])),
    )


def _entropy(matrix: np.ndarray) -> float:
    """Return -Σ λ log λ of a symmetric matrix of trace 1, in nats."""
    eigenvalues = eigvalsh(matrix, check_finite=False)
    # 0 log 0 is 0; rounding leaves nulls on either side of it.
    kept = eigenvalues[eigenvalues > 0]
    return max(0.0, float(-(kept * np.log(kept)).sum()))


def _products(x: Tensor, keep_going: Callable[[], None]) -> np.ndarray:
    """Return Σ u uᵀ (D, D) over the unit vectors of the rows, without a float64 copy of all."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for rows in _unit_chunks(x):
        keep_going()
        total += rows.T @ rows
    return total


def _unit_chunks(x: Tensor) -> Iterator[np.ndarray]:
    for chunk in x.split(CHUNK):
        yield _unit(chunk)


def _unit(x: Tensor) -> np.ndarray:
    """Return the rows in float64, divided by their lengths."""
    rows = x.double().cpu().numpy()
    # Largest to 1 first: squares of very small or large features leave the range of float64.
    scaled = rows / np.abs(rows).max(1, keepdims=True)
    unit: np.ndarray = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit
