"""The sliced Wasserstein distance of two feature sets: exact transport along random directions."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.jackknife import jackknifed, seeded_groups
from evaluation.metrics.uncertainty import CHUNK, Features, MetricResult, as_row_pair, undefined

BLOCK = 128  # directions worked on at a time: 50 MB an array at 50,000 images
SPLITS = 5  # of the images into halves, for the bias
IMAGES_PER_GROUP = 10  # fewer generated images in a group of the jackknife: no interval


@dataclass(frozen=True)
class SlicedCost:
    """The transport cost, averaged over directions; (S,) that of each subset of the images."""

    value: float
    of_subsets: np.ndarray


def sliced_wasserstein(
    real: Features,
    generated: Features,
    *,
    directions: int = 256,
    seed: int = 0,
    order: float = 2,
    groups: int = 20,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return SW_p = (mean over directions of W_p^p)^(1/p) of real (M, D) and generated (N, D).

    The directions are uniform on the sphere and seeded: those of ``random_directions``. Sets of
    unequal size are transported exactly, by their quantile functions. ``corrected`` and interval
    of order 2 are the roots of those of SW_2², see ``squared_distance``; ``details`` holds the
    square. A root near 0 has no standard error of its own.

    Source: Bonneel et al., 2015, "Sliced and Radon Wasserstein barycenters of measures".

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D), or the order is below 1.
    """
    if order < 1:
        raise ValueError(f"expected an order of at least 1, got {order}")
    y, x = as_row_pair(real, generated)
    if min(len(x), len(y)) == 0:
        return undefined(f"needs at least 1 image on each side, got {len(x)} and {len(y)}")
    along = random_directions(directions, x.shape[1], seed=seed)
    if order != 2:
        cost = sliced_cost(y, x, along, order=order, keep_going=keep_going)
        return MetricResult(
            value=cost.value ** (1 / order), reason="no interval: it is known for order 2 alone"
        )
    return _root(squared_distance(y, x, along, groups=groups, level=level, keep_going=keep_going))


def _root(squared: MetricResult) -> MetricResult:
    """Return the result for the root of a quantity of at least 0."""
    if squared.value is None or squared.corrected is None:
        return replace(squared, value=None if squared.value is None else math.sqrt(squared.value))
    low, high = squared.interval or (0.0, 0.0)
    corrected, error = math.sqrt(max(squared.corrected, 0)), squared.standard_error or 0.0
    return MetricResult(
        value=math.sqrt(squared.value),
        corrected=corrected,
        # The delta method needs a square that is clearly above 0.
        standard_error=error / (2 * corrected) if corrected**2 > 2 * error else None,
        interval=None if squared.interval is None else (math.sqrt(low), math.sqrt(high)),
        reason=squared.reason,
        details={
            "square": squared.value,
            "square_corrected": squared.corrected,
            "square_standard_error": squared.standard_error,
        },
    )


def squared_distance(
    real: Tensor,
    generated: Tensor,
    directions: np.ndarray,
    *,
    groups: int = 20,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return SW_2² along unit vectors (R, D), of real (M, D) and generated (N, D) features.

    Reference and directions are held fixed. The standard error is that of the jackknife over
    ``groups`` of generated images. ``corrected`` extrapolates from halves of the images to
    infinitely many, and not from the groups left out as well: where N equals M the steps of both
    quantile functions coincide, and the little that the cost falls there would count 20 times.
    In simulations the interval covers 90-98 % with 32 or 64 features, from 10 images per group on;
    with 6 features 82-99 %, and with the heavy tails of t with 5 degrees of freedom 77-95 %.
    """
    count = len(generated)
    needed = groups * IMAGES_PER_GROUP
    if count < needed:
        cost = sliced_cost(real, generated, directions, order=2, keep_going=keep_going)
        reason = f"no interval: {count} images are fewer than {needed}"
        return MetricResult(value=cost.value, reason=reason)
    labels, halves = _group_labels(count, groups), _halves(groups)
    cost = sliced_cost(
        real,
        generated,
        directions,
        order=2,
        labels=labels,
        subsets=np.concatenate([~np.eye(groups, dtype=bool), halves]),
        keep_going=keep_going,
    )
    sizes = halves @ np.bincount(labels)
    return jackknifed(
        cost.value,
        cost.of_subsets[:groups],
        level=level,
        corrected=_extrapolated(cost.value, count, cost.of_subsets[groups:], sizes),
        minimum=0.0,
    )


def _group_labels(count: int, groups: int) -> np.ndarray:
    """Return the seeded group of each image, int64 (count,)."""
    labels = np.zeros(count, dtype=np.int64)
    for label, group in enumerate(seeded_groups(count, groups, seed=0)):
        labels[group] = label
    return labels


def _halves(groups: int) -> np.ndarray:
    """Return which groups are in each half of SPLITS seeded splits, bool (2 SPLITS, groups)."""
    rng = np.random.default_rng(0)
    first = np.array([rng.permutation(groups) < groups // 2 for _ in range(SPLITS)])
    return np.concatenate([first, ~first])


def _extrapolated(value: float, count: int, part_values: np.ndarray, sizes: np.ndarray) -> float:
    """Return a of value = a + b / count, where parts of ``sizes`` (S,) have the part values."""
    share = float((count / sizes).mean())  # 2 for halves
    return value - (float(part_values.mean()) - value) / (share - 1)


def random_directions(count: int, dim: int, *, seed: int) -> np.ndarray:
    """Return unit vectors (count, dim), float64, uniform on the sphere, from torch's generator.

    They are the normal numbers that torch-fidelity's MIND draws for the same seed.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    normal = torch.randn(count, dim, generator=generator, dtype=torch.float32).double()
    unit: np.ndarray = (normal / normal.norm(dim=1, keepdim=True)).numpy()
    return unit


def sliced_cost(
    real: Tensor,
    generated: Tensor,
    directions: np.ndarray,
    *,
    order: float,
    labels: np.ndarray | None = None,
    subsets: np.ndarray | None = None,
    keep_going: Callable[[], None] = lambda: None,
) -> SlicedCost:
    """Return the mean over directions (R, D) of W_p^p of the projected sets, float64.

    ``labels``: the group (N,) of each generated image; ``subsets``: bool (S, B), which groups are
    in each subset whose cost, of order 2, is asked for too. None = no subsets.
    """
    value, of_subsets = 0.0, np.zeros(0 if subsets is None else len(subsets))
    for block in _blocks(directions):
        keep_going()
        a, b = _projected(generated, block), np.sort(_projected(real, block), axis=1)
        # Distances stay when both move alike, and squares keep their digits.
        centre = b.mean(1, keepdims=True)
        ranks = np.argsort(a, axis=1)
        a, b = np.take_along_axis(a, ranks, axis=1) - centre, b - centre
        value += float(transport_cost(a, b, order=order).sum())
        if labels is not None and subsets is not None:
            of_subsets += _subset_costs(a, b, labels[ranks], subsets)
    return SlicedCost(value=value / len(directions), of_subsets=of_subsets / len(directions))


def transport_cost(a: np.ndarray, b: np.ndarray, *, order: float) -> np.ndarray:
    """Return W_p^p (R,) of each row of a (R, N) and of b (R, M), whose rows ascend.

    ∫ |F⁻¹(u) - G⁻¹(u)|^p du over 0..1, where the quantile functions are steps of 1/N and 1/M:
    exact for any N and M, with the least common multiple of steps never formed.
    """
    n, m = a.shape[1], b.shape[1]
    if n == m:
        cost: np.ndarray = (np.abs(a - b) ** order).mean(1)
        return cost
    # All in units of 1 / NM, where every step of both begins at a whole number.
    begins = np.union1d(np.arange(n) * m, np.arange(m) * n)
    weights = np.diff(begins, append=n * m) / (n * m)
    gap = np.abs(a[:, begins // m] - b[:, begins // n])
    weighted: np.ndarray = gap**order @ weights
    return weighted


def _subset_costs(
    a: np.ndarray, b: np.ndarray, labels: np.ndarray, subsets: np.ndarray
) -> np.ndarray:
    """Return (S,) the sum over rows of W_2² of each subset of a, of groups (R, N), and of b.

    W_2² = ⟨a²⟩ + ⟨b²⟩ - 2 Σ a_(i) ∫ G⁻¹(u) du over the i-th step, so that only the kept part of
    each sorted row is needed, and no subset is sorted again.
    """
    within_b = float((b**2).mean(1).sum())
    steps: dict[int, np.ndarray] = {}
    costs = np.zeros(len(subsets))
    for index, subset in enumerate(subsets):
        kept = a[subset[labels]].reshape(len(a), -1)  # (R, N'), the same images in every row
        size = kept.shape[1]
        if size not in steps:
            steps[size] = _step_integrals(b, size)
        cross = np.einsum("rn,rn->", kept, steps[size])
        costs[index] = np.einsum("rn,rn->", kept, kept) / size + within_b - 2 * cross
    return costs


def _step_integrals(b: np.ndarray, count: int) -> np.ndarray:
    """Return (R, count): the integral of each row's quantile function over each step 1/count."""
    m = b.shape[1]
    integral = np.pad(b.cumsum(1) / m, ((0, 0), (1, 0)))  # (R, M+1), from 0 to j/M
    whole, rest = np.divmod(np.arange(count + 1) * m, count)
    following = np.minimum(whole + 1, m)
    share = rest / count
    at_steps = integral[:, whole] * (1 - share) + integral[:, following] * share
    return np.diff(at_steps, axis=1)


def _blocks(directions: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(directions), BLOCK):
        yield directions[start : start + BLOCK]


def _projected(features: Tensor, directions: np.ndarray) -> np.ndarray:
    """Return ⟨u, x⟩ (R, N) in float64, without a float64 copy of all features."""
    u = torch.from_numpy(directions).to(features.device)
    parts = [u @ chunk.double().T for chunk in features.split(CHUNK)]
    return torch.cat(parts, dim=1).cpu().numpy()
