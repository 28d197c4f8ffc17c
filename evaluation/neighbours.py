"""Precision and recall of generated images from nearest-neighbour balls in feature space."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.specs import METRICS
from evaluation.uncertainty import (
    Features,
    MetricResult,
    as_feature_pair,
    interval_around,
    normal_quantile,
    undefined,
)

TILE = 2048  # rows and columns of a block of distances; 32 MiB in float64
LISTED = 32  # neighbours kept per image: half of them hold the k nearest of any half-sample
MIN_IMAGES = 50  # smallest set whose halves still have neighbourhoods worth the name
TIE = 1e-12  # squared distances this close, relative to the largest norm, are equal


@dataclass(frozen=True)
class NeighbourMetrics:
    """The metrics of one pair of sets, by name."""

    results: Mapping[str, MetricResult]


@dataclass(frozen=True)
class _Balls:
    """Squared radii of the balls around N images: of the whole set, and of half-samples.

    ``full``: (N,). ``halves``: (B, N), minus infinity where an image is not in the half-sample.
    """

    full: Tensor
    halves: Tensor


def neighbour_metrics(
    real: Features,
    generated: Features,
    *,
    k: int,
    draws: int = 50,
    seed: int = 0,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> NeighbourMetrics:
    """Return precision and recall of generated (N, D) against real (M, D) features.

    An image is covered by a set if its distance to some member is at most (``<=``) the distance
    from that member to its k-th nearest other member. Standard errors are the spread of the same
    numbers over ``draws`` half-samples without replacement: with replacement, duplicates would
    shrink the balls to points. Distances are float64; memory is bounded by blocks.
    ``keep_going`` is called between the parts of the work and may raise to end it.

    Source: Kynkäänniemi et al., 2019, "Improved precision and recall metric for assessing
    generative models", eq. 1-2.

    Raises:
        ValueError: if the features are no finite (N, D) and (M, D).
    """
    x, y = as_feature_pair(generated, real)
    n, m = len(x), len(y)
    if min(n, m) <= k:
        missing = undefined(f"needs more than {k} images on each side, got {n} and {m}")
        return NeighbourMetrics({"precision": missing, "recall": missing})

    centre = y.mean(0)  # distances stay, norms shrink, and with them the rounding error
    x, y = x - centre, y - centre
    draws = draws if min(n, m) >= MIN_IMAGES else 0
    rng = np.random.default_rng(seed)
    halves_x = _half_samples(n, draws, rng).to(x.device)
    halves_y = _half_samples(m, draws, rng).to(x.device)

    tie = TIE * float(max((x**2).sum(1).max(), (y**2).sum(1).max()))
    balls_x = _balls(x, k, halves_x, keep_going)
    balls_y = _balls(y, k, halves_y, keep_going)
    inside_y, inside_y_halves = _covered(x, y, balls_y, tie, keep_going)
    inside_x, inside_x_halves = _covered(y, x, balls_x, tie, keep_going)
    return NeighbourMetrics(
        {
            "precision": _result("precision", inside_y, inside_y_halves, halves_x, level),
            "recall": _result("recall", inside_x, inside_x_halves, halves_y, level),
        }
    )


def _result(
    name: str, inside: Tensor, inside_halves: Tensor, halves: Tensor, level: float
) -> MetricResult:
    """Return the share of ``inside`` (N,) and its spread over the half-samples (B, N)."""
    value = float(inside.double().mean())
    if len(halves) == 0:
        return MetricResult(
            value=value,
            reason=f"no interval: needs at least {MIN_IMAGES} images on each side",
        )
    spec = METRICS[name]
    shares = (inside_halves & halves).sum(1).double() / halves.sum(1)
    error = float(shares.std())
    half_width = normal_quantile(level) * error
    if error == 0:
        return MetricResult(
            value=value,
            reason=f"no interval: every half of the images gives {value:g}, so its spread is unknown",
        )
    return MetricResult(
        value=value,
        standard_error=error,
        interval=interval_around(value, half_width, minimum=spec.minimum, maximum=spec.maximum),
    )


def _half_samples(count: int, draws: int, rng: np.random.Generator) -> Tensor:
    """Return masks (draws, count), each true for a random half of the images."""
    masks = np.zeros((draws, count), dtype=bool)
    for mask in masks:
        mask[rng.permutation(count)[: count // 2]] = True
    return torch.from_numpy(masks)


def _balls(x: Tensor, neighbours: int, halves: Tensor, keep_going: Callable[[], None]) -> _Balls:
    """Return the squared distances to the k-th nearest other image, whole set and half-samples.

    Half-samples need no distances of their own: the k nearest members of a half are found by
    walking each image's list of nearest images.
    """
    distances, indices = _nearest(x, min(max(LISTED, 4 * neighbours), len(x) - 1), keep_going)
    full = distances[:, neighbours - 1]
    radii = []
    for half in halves:
        rank = half[indices].cumsum(1)  # (N, L), how many of the half are this near or nearer
        found = rank >= neighbours
        place = torch.where(found.any(1), found.int().argmax(1), distances.shape[1] - 1)
        radius = distances.gather(1, place[:, None])[:, 0]
        radii.append(torch.where(half, radius, -torch.inf))
    return _Balls(full=full, halves=torch.stack(radii) if radii else full.new_zeros(0, len(x)))


def _nearest(x: Tensor, count: int, keep_going: Callable[[], None]) -> tuple[Tensor, Tensor]:
    """Return squared distances and indices (N, count) of each image's nearest others, ascending."""
    all_distances, all_indices = [], []
    for i, a in _tiles(x):
        best = a.new_full((len(a), 0), torch.inf)
        best_indices = torch.zeros((len(a), 0), dtype=torch.int64, device=x.device)
        for j, b in _tiles(x):
            keep_going()
            block = squared_distances(a, b)
            if i == j:
                block.fill_diagonal_(torch.inf)  # an image is not its own neighbour
            near, places = block.topk(min(count, len(b)), dim=1, largest=False)
            candidates = torch.cat([best, near], dim=1)
            names = torch.cat([best_indices, places + j.start], dim=1)
            best, order = candidates.topk(min(count, candidates.shape[1]), dim=1, largest=False)
            best_indices = names.gather(1, order)
        all_distances.append(best)
        all_indices.append(best_indices)
    return torch.cat(all_distances), torch.cat(all_indices)


def _covered(
    queries: Tensor, centres: Tensor, balls: _Balls, tie: float, keep_going: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """Return which queries lie in some ball: (N,) for the whole set, (B, N) for half-samples."""
    draws = len(balls.halves)
    inside = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
    inside_halves = torch.zeros((draws, len(queries)), dtype=torch.bool, device=queries.device)
    radii = torch.cat([balls.full[None], balls.halves])
    widest = radii.amax(0)  # (M,), only pairs within it matter to anything below
    for i, a in _tiles(queries):
        for j, b in _tiles(centres):
            keep_going()
            block = squared_distances(a, b) - tie
            inside[i] |= (block <= balls.full[j]).any(1)
            if draws:
                rows, columns = torch.nonzero(block <= widest[j], as_tuple=True)
                near = block[rows, columns]
                for draw in range(draws):
                    hit = rows[near <= balls.halves[draw, j][columns]]
                    inside_halves[draw, hit + i.start] = True
    return inside, inside_halves


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared Euclidean distances (N, M) of rows of ``a`` and ``b``, float64."""
    norms = (a**2).sum(1)[:, None] + (b**2).sum(1)
    return (norms - 2 * a @ b.T).clamp_(min=0)


def _tiles(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    for start in range(0, len(x), TILE):
        part = slice(start, min(start + TILE, len(x)))
        yield part, x[part]
