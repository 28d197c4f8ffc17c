"""The kernel distance: squared MMD of features under a polynomial kernel (KD; KID on Inception)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.pairwise import Kernel, measure_pairs
from evaluation.metrics.uncertainty import Features, MetricResult, as_row_pair, undefined


def kernel_distance(
    real: Features,
    generated: Features,
    *,
    degree: int = 3,
    gamma: float | None = None,  # None = 1 / D
    coef0: float = 1.0,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the unbiased MMD² of real (M, D) and generated (N, D) features over all pairs.

    The kernel is (gamma ⟨x, y⟩ + coef0)^degree. The estimate may be negative. It is already
    unbiased, so ``corrected`` equals ``value``. The interval counts the sampling error of
    both sets and includes the second-order term, which dominates when the sets are alike.
    ``keep_going`` is called between the parts of the work and may raise to end it.

    Source: Bińkowski et al., 2018, "Demystifying MMD GANs"; all pairs instead of 100 subsets.

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D).
    """
    kernel = Kernel(degree=degree, gamma=gamma, coef0=coef0)
    return measure_pairs(real, generated, kernel=kernel, level=level, keep_going=keep_going)["kd"]


def subset_kernel_distance(
    real: Features,
    generated: Features,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    degree: int = 3,
    gamma: float | None = None,  # None = 1 / D
    coef0: float = 1.0,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the mean unbiased MMD² of random subsets, as published KID is computed.

    The subsets are those that torch-fidelity draws with generated images as its first input and
    the same seed. ``details["subset_sd"]`` is the spread over subsets (ddof 0). It is the error
    of neither this mean nor the distance: subsets are smaller than the sets and overlap.

    Source: Bińkowski et al., 2018, "Demystifying MMD GANs", section 4.

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D).
    """
    x, y = as_row_pair(generated, real)
    if min(len(x), len(y)) < max(subset_size, 2):
        return undefined(
            f"needs at least {max(subset_size, 2)} images on each side, "
            f"got {len(x)} generated and {len(y)} real"
        )
    kernel = Kernel(degree=degree, gamma=gamma, coef0=coef0)
    rng = np.random.RandomState(seed)  # the generator of published numbers
    values = np.empty(subsets)
    for subset in range(subsets):
        keep_going()
        chosen_x = rng.choice(len(x), subset_size, replace=False)
        chosen_y = rng.choice(len(y), subset_size, replace=False)
        values[subset] = _squared_mmd(_rows(x, chosen_x), _rows(y, chosen_y), kernel)
    return MetricResult(
        value=float(values.mean()),
        reason="no interval: the spread over subsets is not a standard error",
        details={"subset_sd": float(values.std())},
    )


def _rows(features: Tensor, chosen: np.ndarray) -> Tensor:
    return features[torch.from_numpy(chosen).to(features.device)]


def _squared_mmd(x: Tensor, y: Tensor, kernel: Kernel) -> float:
    """Return the unbiased MMD² of two sets (n, D) of one size."""
    n = len(x)
    within = sum(float(_values(rows, rows, kernel).fill_diagonal_(0).sum()) for rows in (x, y))
    return within / (n * (n - 1)) - 2 * float(_values(x, y, kernel).sum()) / n**2


def _values(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """Return the kernel (n, n) of all rows of both, its products in the features' precision."""
    products = (x @ y.T).double()
    return products.mul_(kernel.scale(x.shape[1])).add_(kernel.coef0).pow_(kernel.degree)
