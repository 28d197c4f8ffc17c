"""The Fréchet distance between Gaussians fitted to two sets of features (FD; FID on Inception)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg import eigvalsh, lapack
from torch import Tensor

from evaluation.metrics import jackknife
from evaluation.metrics.moments import Moments, MomentSums
from evaluation.metrics.uncertainty import Features, MetricResult, as_rows, undefined

EPS = torch.finfo(torch.float64).eps
LARGEST_SECOND_ORDER = 3.0  # of the bias, in standard errors; the third is about a fifth of it


@dataclass(frozen=True, eq=False)
class ReferenceGaussian:
    """The real images' Gaussian, with everything expensive computed once.

    ``factor``: F of shape (D, R), float64, with F Fᵀ equal to the covariance and R its rank.
    ``trace``: of the covariance. ``count``: images behind it; 0 if that is not known.
    """

    mean: Tensor
    trace: float
    factor: Tensor
    count: int = 0

    def to(self, device: torch.device) -> "ReferenceGaussian":
        """Return the same Gaussian on ``device``."""
        return ReferenceGaussian(
            self.mean.to(device), self.trace, self.factor.to(device), self.count
        )


def reference_gaussian(features: Features) -> ReferenceGaussian:
    """Return the Gaussian fitted to ``features``, (N, D) float32 or float64.

    Raises:
        ValueError: if they are not finite (N, D) with N of at least 2.
    """
    return gaussian_from_moments(Moments.from_features(features))


def gaussian_from_moments(moments: Moments) -> ReferenceGaussian:
    """Return the Gaussian with these moments."""
    return ReferenceGaussian(
        mean=moments.mean,
        trace=float(moments.covariance.trace()),
        factor=covariance_factor(moments),
        count=moments.count,
    )


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Fréchet distance ‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr (Σ_a Σ_b)^½.

    Nothing is added to the covariances, of whatever rank they are. Swapping ``a`` and ``b``
    changes the result by rounding only; the result may be below zero by rounding and is not
    clamped.

    Source: Heusel et al., 2017, "GANs trained by a two time-scale update rule", eq. 6.

    Raises:
        ValueError: if their dimensions differ.
    """
    if len(a.mean) != len(b.mean):
        raise ValueError(
            f"expected moments of equal dimension, got {len(a.mean)} and {len(b.mean)}"
        )
    if a.rows is not None and b.rows is None:
        a, b = b, a
    return _distance(b, gaussian_from_moments(a.to(b.mean.device)))


def gaussian_distance(a: ReferenceGaussian, b: ReferenceGaussian) -> float:
    """Return the squared Fréchet distance of two Gaussians of equal dimension; see above."""
    shift = ((a.mean - b.mean) ** 2).sum()
    return float(shift) + a.trace + b.trace - 2 * _nuclear_norm(a.factor.T @ b.factor)


def _distance(generated: Moments, reference: ReferenceGaussian) -> float:
    shift = ((generated.mean - reference.mean) ** 2).sum()
    trace = generated.covariance.trace() + reference.trace
    return float(shift + trace) - 2 * _root_trace(generated, reference.factor)


def _root_trace(moments: Moments, factor: Tensor) -> float:
    """Return tr (Σ F Fᵀ)^½ of the moments' covariance Σ, with F the ``factor`` (D, R).

    It is the sum of the singular values of A F with AᵀA = Σ, or of the roots of the eigenvalues of
    Fᵀ Σ F. The latter cost less, but each has an error of ε times the largest, and the root makes
    much of that where the eigenvalue should be 0.
    """
    if moments.rows is not None:
        return _nuclear_norm(moments.rows @ factor)
    eigenvalues = _product_eigenvalues(factor, moments.covariance)
    if len(eigenvalues) and eigenvalues[0] <= len(eigenvalues) * EPS * eigenvalues[-1]:
        other = covariance_factor(moments)
        # The product of triangles is graded: its least eigenvalues keep their digits.
        if not (_is_triangle(factor) and _is_triangle(other)):
            return _nuclear_norm(other.T @ factor)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def _nuclear_norm(product: Tensor) -> float:
    return float(torch.linalg.svdvals(product).sum())


def _product_eigenvalues(factor: Tensor, covariance: Tensor) -> np.ndarray:
    """Return the eigenvalues of Fᵀ Σ F, (R,), ascending."""
    if covariance.device.type != "cpu" or factor.shape[1] == 0:
        product = factor.T @ covariance @ factor
        return np.asarray(torch.linalg.eigvalsh(product).cpu())
    if not _is_triangle(factor):
        return _eigenvalues((factor.T @ covariance @ factor).numpy())
    # .T: LAPACK counts by column and so sees the upper triangle Fᵀ; half the work of two products.
    product, _ = lapack.dsygst(covariance.numpy().T, factor.numpy().T, itype=2)
    return _eigenvalues(product)


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Return those of a symmetric ``matrix``, ascending, from its upper half; overwrites it."""
    found: np.ndarray = eigvalsh(matrix, lower=False, overwrite_a=True)
    return found


def covariance_factor(moments: Moments) -> Tensor:
    """Return F (D, R), float64, with F Fᵀ equal to the covariance and R its rank, if not more.

    It is the lower triangle of Cholesky if the covariance has full rank. Exact zeros are left
    out, not lifted by an epsilon, which would change the distance: features without variance
    first, then directions without any after the features are brought to equal variance.
    """
    if moments.rows is not None:
        return moments.rows.T.contiguous()
    variances = moments.covariance.diagonal()
    live = variances > 0
    if bool(live.all()):
        return _factor_of_live(moments.covariance)
    part = _factor_of_live(moments.covariance[live][:, live])
    factor = part.new_zeros(len(variances), part.shape[1])
    factor[live] = part
    return factor


def _factor_of_live(covariance: Tensor) -> Tensor:
    """Return the factor of a covariance without zeros on its diagonal."""
    variances = covariance.diagonal()
    noise = len(variances) * EPS
    triangle: Tensor
    triangle, info = torch.linalg.cholesky_ex(covariance)
    if int(info) == 0 and bool((triangle.diagonal() ** 2 > noise * variances).all()):
        return triangle.contiguous()
    deviations = variances.sqrt()
    correlation = covariance / torch.outer(deviations, deviations)
    eigenvalues, eigenvectors = torch.linalg.eigh(correlation)
    kept = eigenvalues > noise * eigenvalues[-1:]
    factor: Tensor = deviations[:, None] * eigenvectors[:, kept] * eigenvalues[kept].sqrt()
    return factor


def _is_triangle(factor: Tensor) -> bool:
    return factor.shape[0] == factor.shape[1] and not bool(factor.triu(1).any())


def measure_frechet(
    generated: Features,
    reference: ReferenceGaussian,
    *,
    groups: int = 20,
    seed: int = 0,
    images_per_dimension: int = 5,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the Fréchet distance of generated features, (N, D), to this reference's Gaussian.

    Bias correction and standard error come from leaving out one of ``groups`` seeded groups of the
    generated images at a time, and half of them; they need at least ``images_per_dimension``
    images for each of the D dimensions. The reference is held fixed: what its own sampling adds is
    common to all generated sets, is not taken out, and is not in the interval. The distance to the
    population behind it is ``measure_population_frechet``. ``keep_going`` is called between the
    parts of the work and may raise to end it.

    Raises:
        ValueError: if the features are not finite (N, D).
    """
    x, reference = _on_one_device(generated, reference)
    count, dim = x.shape
    if count < 2:
        return undefined(f"needs at least 2 images, got {count}")
    reason = too_few(count, dim, groups=groups, images_per_dimension=images_per_dimension)
    if reason:
        return MetricResult(value=_distance(Moments.from_features(x), reference), reason=reason)

    def distance(sums: MomentSums) -> float:
        keep_going()
        return _distance(sums.moments(), reference)

    parts = []
    for group in jackknife.seeded_groups(count, groups, seed=seed):
        keep_going()
        parts.append(MomentSums.of(x[torch.from_numpy(group)], reference.mean))
    whole = _sum(parts)
    return jackknifed(
        distance(whole),
        left_out=np.array([distance(whole - part) for part in parts]),
        halves=np.array([distance(_sum(half)) for half in _halves(parts)]),
        level=level,
    )


def _sum(parts: Sequence[MomentSums]) -> MomentSums:
    return sum(parts[1:], start=parts[0])


def _halves(parts: Sequence[MomentSums]) -> list[Sequence[MomentSums]]:
    """Return two ways to take half of the parts and the other half."""
    half = len(parts) // 2
    return [parts[:half], parts[-half:], parts[: 2 * half : 2], parts[1 : 2 * half : 2]]


def _on_one_device(
    generated: Features, reference: ReferenceGaussian
) -> tuple[Tensor, ReferenceGaussian]:
    x = as_rows(generated)
    if x.shape[1] != len(reference.mean):
        raise ValueError(
            f"expected features of equal width, got {x.shape[1]} and {len(reference.mean)}"
        )
    return x, reference.to(x.device)


def too_few(count: int, dim: int, *, groups: int, images_per_dimension: int) -> str:
    """Return why the jackknife has too few images for an interval, "" if it has enough."""
    if count < images_per_dimension * dim:
        return (
            f"no interval: {count} images are fewer than {images_per_dimension} per feature "
            f"dimension ({images_per_dimension} x {dim})"
        )
    if count < 2 * groups:
        return f"no interval: {count} images are fewer than 2 in each of {groups} groups"
    return ""


def jackknifed(
    value: float, *, left_out: np.ndarray, halves: np.ndarray, level: float
) -> MetricResult:
    """Return ``value`` without its 1/N and 1/N² bias, and a Student interval around that.

    ``left_out``: (B,), the same estimate with one of B groups left out. ``halves``: its values for
    sets of B // 2 groups. If the second order is large, so may be the third: then no interval.
    """
    first_order = without_one_order(value, left_out)
    corrected = without_two_orders(value, left_out, halves)
    found = jackknife.jackknifed(value, left_out, level=level, corrected=corrected, minimum=0.0)
    assert found.standard_error is not None, "the jackknife knows it"
    if abs(corrected - first_order) > LARGEST_SECOND_ORDER * found.standard_error:
        reason = "no interval: so few images have more bias than can be corrected"
        return replace(found, interval=None, reason=reason)
    return found


def without_one_order(value: float, left_out: np.ndarray) -> float:
    """Return a of the curve a + b/n through the means at all and at B - 1 groups."""
    groups = len(left_out)
    return groups * value - (groups - 1) * float(left_out.mean())


def without_two_orders(value: float, left_out: np.ndarray, halves: np.ndarray) -> float:
    """Return a of the curve a + b/n + c/n² through the means at all, B - 1 and B // 2 groups.

    Of two groups, which are halves, it is that of one order.
    """
    groups = len(left_out)
    if groups == 2:
        return without_one_order(value, left_out)
    n = np.array([1, (groups - 1) / groups, (groups // 2) / groups])
    curve = np.stack([np.ones(3), 1 / n, 1 / n**2], axis=1)
    return float(np.linalg.solve(curve, [value, left_out.mean(), halves.mean()])[0])


def measure_frechet_infinity(
    generated: Features,
    reference: ReferenceGaussian,
    *,
    points: int = 15,
    smallest: int | None = None,  # images of the first point, None = N / 10 but at least 2 D
    seed: int = 0,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the Fréchet distance that infinitely many generated images would have (FID∞).

    The distance at ``points`` numbers of images, evenly spaced from ``smallest`` to all N, is
    extended along 1/N to 0 by least squares. The images of each point are the first of one seeded
    order, so that all are seen once.

    Source: Chong and Forsyth, 2020, "Effectively unbiased FID and Inception Score", with one order
    for all points instead of one for each.

    Raises:
        ValueError: if the features are not finite (N, D) or there are fewer than two points.
    """
    x, reference = _on_one_device(generated, reference)
    count, dim = x.shape
    first = max(count // 10, 2 * dim, 2) if smallest is None else smallest
    if points < 2:
        raise ValueError(f"expected at least 2 points, got {points}")
    if count < 2 * first:
        return undefined(f"needs at least {2 * first} images, twice the {first} of the first point")

    counts = np.linspace(first, count, points).round().astype(int)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    values = []
    sums = MomentSums.of(x[:0], reference.mean)
    for start, stop in zip([0, *counts[:-1]], counts, strict=True):
        keep_going()
        sums += MomentSums.of(x[order[start:stop]], reference.mean)
        values.append(_distance(sums.moments(), reference))
    return MetricResult(
        value=extrapolated(counts, np.array(values)),
        reason="no interval: the points share images, so their spread does not tell the error",
        details={"counts": counts.tolist(), "values": values},
    )


def extrapolated(counts: np.ndarray, values: np.ndarray) -> float:
    """Return a of the least-squares fit a + b / N to ``values`` at ``counts`` N, both (P,)."""
    slope_and_intercept = np.polyfit(1 / counts, values, 1)
    return float(slope_and_intercept[1])
