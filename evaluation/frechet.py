"""The Fréchet distance between Gaussians fitted to two sets of features (FD; FID on Inception)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.moments import Moments, MomentSums, centred_rows
from evaluation.specs import METRICS
from evaluation.uncertainty import (
    Features,
    MetricResult,
    as_feature_pair,
    interval_around,
    student_quantile,
    undefined,
)


@dataclass(frozen=True)
class ReferenceGaussian:
    """The real images' Gaussian: mean (D,), trace of the covariance, and a factor of it.

    ``factor`` is F of shape (D, R) with F Fᵀ equal to the covariance and R its rank.
    """

    mean: Tensor
    trace: float
    factor: Tensor


def reference_gaussian(features: Tensor) -> ReferenceGaussian:
    """Return the Gaussian fitted to ``features``, (N, D) float64 with N of at least 2."""
    if len(features) <= features.shape[1]:
        _, s, v = torch.linalg.svd(centred_rows(features), full_matrices=False)
        return ReferenceGaussian(mean=features.mean(0), trace=float((s**2).sum()), factor=v.T * s)
    return gaussian_from_moments(MomentSums.of(features, features.mean(0)).moments())


def gaussian_from_moments(moments: Moments) -> ReferenceGaussian:
    """Return the Gaussian with these moments."""
    eigenvalues, eigenvectors = torch.linalg.eigh(moments.covariance)
    # Exact nulls are dropped, not lifted by an epsilon: epsilon changes the distance.
    floor = eigenvalues[-1] * len(eigenvalues) * torch.finfo(torch.float64).eps
    kept = eigenvalues > floor
    return ReferenceGaussian(
        mean=moments.mean,
        trace=float(moments.covariance.trace()),
        factor=eigenvectors[:, kept] * eigenvalues[kept].sqrt(),
    )


def distance_from_moments(generated: Moments, reference: ReferenceGaussian) -> float:
    """Return the squared Fréchet distance ‖Δμ‖² + tr Σ_g + tr Σ_r − 2 tr (Σ_g Σ_r)^½.

    The trace of the root is the sum of √λ of Fᵀ Σ_g F, whose eigenvalues are those of Σ_g Σ_r.
    The result may be below zero by rounding and is not clamped.

    Source: Heusel et al., 2017, "GANs trained by a two time-scale update rule", eq. 6.
    """
    product = reference.factor.T @ generated.covariance @ reference.factor
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
    root_trace = eigenvalues.clamp(min=0).sqrt().sum()
    return _distance(generated.mean, generated.covariance.trace(), root_trace, reference)


def distance_from_rows(generated: Tensor, reference: ReferenceGaussian) -> float:
    """Return the same distance from features (N, D) float64, exact also for N < D.

    Singular values of A F, with AᵀA = Σ_g, keep the digits that eigenvalues of a rank-deficient
    product lose.
    """
    rows = centred_rows(generated)
    root_trace = torch.linalg.svdvals(rows @ reference.factor).sum()
    return _distance(generated.mean(0), (rows**2).sum(), root_trace, reference)


def _distance(
    mean: Tensor, trace: Tensor, root_trace: Tensor, reference: ReferenceGaussian
) -> float:
    shift = ((mean - reference.mean) ** 2).sum()
    return float(shift + trace + reference.trace - 2 * root_trace)


def frechet_distance(
    generated: Features,
    reference: Features,
    *,
    groups: int = 20,
    seed: int = 0,
    images_per_dimension: int = 5,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the Fréchet distance of generated (N, D) from reference (M, D) features.

    Bias correction and standard error come from leaving out one of ``groups`` seeded groups of the
    generated images at a time. The reference is held fixed: its own sampling error is common to
    all generated sets and is not in the interval. ``keep_going`` is called between the parts of
    the work and may raise to end it.

    Raises:
        ValueError: if the features are no finite (N, D) and (M, D).
    """
    x, y = as_feature_pair(generated, reference)
    count, dim = x.shape
    if min(count, len(y)) < 2:
        return undefined(f"needs at least 2 images on each side, got {count} and {len(y)}")

    gaussian = reference_gaussian(y)
    keep_going()
    if count < dim:
        value = distance_from_rows(x, gaussian)
    else:
        sums = MomentSums.of(x, gaussian.mean)
        value = distance_from_moments(sums.moments(), gaussian)
    if count < images_per_dimension * dim:
        reason = (
            f"no interval: {count} images are fewer than {images_per_dimension} per feature "
            f"dimension ({images_per_dimension} x {dim})"
        )
        return MetricResult(value=value, reason=reason)
    if count < 2 * groups:
        return MetricResult(
            value=value,
            reason=f"no interval: {count} images are fewer than 2 in each of {groups} groups",
        )

    left_out = []
    for group in seeded_groups(count, groups, seed=seed):
        keep_going()
        rest = sums.without(MomentSums.of(x[torch.from_numpy(group)], gaussian.mean))
        left_out.append(distance_from_moments(rest.moments(), gaussian))
    return jackknifed(value, np.array(left_out), level=level)


def seeded_groups(count: int, groups: int, *, seed: int) -> list[np.ndarray]:
    """Return a partition of 0..count-1 into groups of equal size, at most one image apart.

    Shuffled, because images sorted by class would make the groups unlike each other.
    """
    return np.array_split(np.random.default_rng(seed).permutation(count), groups)


def jackknifed(value: float, left_out: np.ndarray, *, level: float) -> MetricResult:
    """Return ``value`` without its 1/N bias, and a Student interval around that.

    ``left_out``: (B,), the same estimate with one of B groups left out.
    """
    groups = len(left_out)
    spec = METRICS["fd"]
    corrected = groups * value - (groups - 1) * float(left_out.mean())
    variance = (groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum())
    error = variance**0.5
    half_width = error * student_quantile(level, degrees_of_freedom=groups - 1)
    if corrected + half_width < 0:
        return MetricResult(
            value=value,
            corrected=corrected,
            standard_error=error,
            reason="no interval: too close to the reference, the whole interval lies below 0",
        )
    return MetricResult(
        value=value,
        corrected=corrected,
        standard_error=error,
        interval=interval_around(corrected, half_width, minimum=spec.minimum, maximum=spec.maximum),
    )
