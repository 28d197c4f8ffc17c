"""NDB: how many bins of the reference the generated images fill significantly differently."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from evaluation.metrics.uncertainty import Features, MetricResult, as_row_pair, undefined

MAX_ITERATIONS = 100  # of k-means


def ndb(
    real: Features,
    generated: Features,
    *,
    bins: int = 100,
    seed: int = 0,
    significance: float = 0.05,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return NDB / K: the share of K bins whose shares of images differ significantly.

    The bins are the Voronoi cells of k-means (k-means++, one start, seeded) on the real features
    (M, D), to which generated features (N, D) are assigned. A bin differs if the two-sided z-test of
    two proportions, with their pooled standard error, gives a p-value below ``significance``.
    Sets that are alike score about ``significance``; the power of the test grows with N and M, so
    that only equal sizes compare. ``details`` holds the number of differing bins, the
    Jensen-Shannon divergence of the two histograms in nats, and both histograms.

    There is no interval: a half of the images, or a resampled set, has tests of another power,
    so its spread is not that of the score.

    Source: Richardson & Weiss, 2018, "On GANs and GMMs", section 3. Deviation: all features are
    used, where their code takes a random sixth of more than 1000, and one start of k-means.

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D), or there is no bin.
    """
    if bins < 1:
        raise ValueError(f"expected at least 1 bin, got {bins}")
    y, x = as_row_pair(real, generated)
    if (different := len(np.unique(y.cpu().numpy(), axis=0))) < bins:
        return undefined(f"needs {bins} different real images for {bins} bins, got {different}")
    if len(x) == 0:
        return undefined("needs at least 1 generated image, got 0")
    keep_going()
    in_real, in_generated = _histograms(y.cpu().numpy(), x.cpu().numpy(), bins, seed)
    differing = int((_p_values(in_real, in_generated) < significance).sum())
    return MetricResult(
        value=differing / bins,
        reason="no interval: tests on resampled images have another power",
        details={
            "differing_bins": differing,
            "jensen_shannon": _jensen_shannon(in_real, in_generated),
            "real": in_real.tolist(),
            "generated": in_generated.tolist(),
        },
    )


def _histograms(
    real: np.ndarray, generated: np.ndarray, bins: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many real and how many generated images fall into each bin, (K,) each."""
    if generated.dtype != real.dtype:
        real, generated = real.astype(np.float64), generated.astype(np.float64)
    # One thread: several would add up in another order each time, and move images at the border.
    with threadpool_limits(limits=1):
        clusters = KMeans(bins, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed).fit(real)
        nearest = clusters.predict(generated)
    return (
        np.bincount(clusters.labels_, minlength=bins),
        np.bincount(nearest, minlength=bins),
    )


def _p_values(in_real: np.ndarray, in_generated: np.ndarray) -> np.ndarray:
    """Return the p-value (K,) of each bin under equal proportions; 1 where both are all or none."""
    m, n = in_real.sum(), in_generated.sum()
    pooled = (in_real + in_generated) / (m + n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    gap = np.abs(in_real / m - in_generated / n)
    z = np.divide(gap, error, out=np.zeros_like(gap), where=error > 0)
    p_values: np.ndarray = 2 * norm.sf(z)
    return p_values


def _jensen_shannon(in_real: np.ndarray, in_generated: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two histograms, 0..log 2 nats."""
    p, q = in_real / in_real.sum(), in_generated / in_generated.sum()
    middle = (p + q) / 2
    return float((_divergence(p, middle) + _divergence(q, middle)) / 2)


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / q[filled])).sum())
