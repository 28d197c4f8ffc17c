"""Fréchet distances between the populations behind two sets of features, with both sides' error.

Of sets that were drawn independently, and of pairs: images and what was made of each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics import jackknife
from evaluation.metrics.frechet import (
    frechet_distance,
    too_few,
    without_one_order,
    without_two_orders,
)
from evaluation.metrics.moments import Moments, MomentSums
from evaluation.metrics.uncertainty import (
    Features,
    MetricResult,
    as_row_pair,
    student_quantile,
    undefined,
    within,
)

LEAST_SHARE = 2 / 3  # of the jackknife's variance: at most a third is what it counts twice
LARGEST_SECOND_ORDER = 2.0  # of the bias, in standard errors; the third is about a quarter of it


@dataclass(frozen=True, eq=False)
class _Pair:
    """Sums over some generated and some reference images, which come and go together."""

    generated: MomentSums
    reference: MomentSums

    def __add__(self, other: "_Pair") -> "_Pair":
        return _Pair(self.generated + other.generated, self.reference + other.reference)

    def __sub__(self, part: "_Pair") -> "_Pair":
        return _Pair(self.generated - part.generated, self.reference - part.reference)

    def distance(self) -> float:
        return frechet_distance(self.reference.moments(), self.generated.moments())


def measure_population_frechet(
    generated: Features,
    reference: Features,
    *,
    groups: int = 20,
    halves: int = 10,
    seed: int = 0,
    images_per_dimension: int = 5,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the Fréchet distance of the populations that (N, D) and (M, D) features are drawn from.

    ``value`` is the distance of the two sets. ``corrected`` has the bias of both sides taken out to
    second order: one of ``groups`` seeded groups of generated images and one of reference images
    are left out together, and half of both, ``halves`` times with the other half, so that N and M
    fall by one share and the distance is a + b/n + c/n² in it. The interval is Student's, with the
    sampling error of both sides, which are taken to be independent. Where a side has fewer than
    ``images_per_dimension`` images for each of the D dimensions, or the bias is too large to be
    taken out, there is a reason and no number: the plain distance may be many times the truth.

    Source: the grouped jackknife of Tukey, 1958, "Bias and confidence in not-quite large samples",
    on pairs of groups. Deviation: see ``_variance``.

    Raises:
        ValueError: if the features are not finite (N, D) and (M, D).
    """
    x, y = as_row_pair(generated, reference)
    if reason := _too_few(x, y, groups=groups, images_per_dimension=images_per_dimension):
        return undefined(reason)

    def distance(pair: _Pair) -> float:
        keep_going()
        return pair.distance()

    # Two seeds: images that belong together, as by a label, fall into groups independently.
    of_x = jackknife.seeded_groups(len(x), groups, seed=seed)
    of_y = jackknife.seeded_groups(len(y), groups, seed=seed + 1)
    parts = _parts(x, y, of_x, of_y, keep_going)
    whole = _sum(parts)
    return _estimated(
        distance(whole),
        left_out=np.array([distance(whole - part) for part in parts]),
        halves=np.array([[distance(half) for half in two] for two in _halves(parts, halves, seed)]),
        level=level,
    )


def measure_paired_frechet(
    made: Features,
    originals: Features,
    *,
    groups: int = 20,
    seed: int = 0,
    images_per_dimension: int = 5,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the Fréchet distance of images to those that they were made from, row by row, (N, D).

    ``value`` is the distance of the two sets. Both share what chance chose, so that most of the bias
    cancels; what is left is taken out, and the interval found, by leaving out one of ``groups`` seeded
    groups of pairs at a time. Without ``images_per_dimension`` images for each of the D dimensions
    there is no interval.

    Source: the grouped jackknife of Tukey, 1958, "Bias and confidence in not-quite large samples",
    on pairs.

    Raises:
        ValueError: if the features are not finite (N, D), as many of the one as of the other.
    """
    x, y = as_row_pair(made, originals)
    if len(x) != len(y):
        raise ValueError(f"expected as many images as originals, got {len(x)} and {len(y)}")
    count, dim = x.shape
    if count < 2:
        return undefined(f"needs at least 2 images, got {count}")
    if reason := too_few(count, dim, groups=groups, images_per_dimension=images_per_dimension):
        value = frechet_distance(Moments.from_features(y), Moments.from_features(x))
        return MetricResult(value=value, reason=reason)

    def distance(pair: _Pair) -> float:
        keep_going()
        return pair.distance()

    together = jackknife.seeded_groups(count, groups, seed=seed)
    parts = _parts(x, y, together, together, keep_going)
    whole = _sum(parts)
    left_out = np.array([distance(whole - part) for part in parts])
    return jackknife.jackknifed(distance(whole), left_out, level=level, minimum=0.0)


def _too_few(x: Tensor, y: Tensor, *, groups: int, images_per_dimension: int) -> str:
    needed = max(images_per_dimension * x.shape[1], 2 * groups)
    if min(len(x), len(y)) >= needed:
        return ""
    return (
        f"needs at least {needed} images on each side, {images_per_dimension} for each of "
        f"{x.shape[1]} feature dimensions and 2 in each of {groups} groups; got {len(x)} generated "
        f"and {len(y)} reference images"
    )


def _parts(
    x: Tensor,
    y: Tensor,
    of_x: Sequence[np.ndarray],
    of_y: Sequence[np.ndarray],
    keep_going: Callable[[], None],
) -> list[_Pair]:
    """Return the sums over each group of both sides; no image is in two."""
    centre = y.mean(0, dtype=torch.float64)
    parts = []
    for first, second in zip(of_x, of_y, strict=True):
        keep_going()
        generated = MomentSums.of(x[torch.from_numpy(first)], centre)
        parts.append(_Pair(generated, MomentSums.of(y[torch.from_numpy(second)], centre)))
    return parts


def _halves(parts: Sequence[_Pair], count: int, seed: int) -> Iterator[tuple[_Pair, _Pair]]:
    """Return the sums over a seeded half of the parts and over as many others, ``count`` times."""
    rng = np.random.default_rng(seed)
    half = len(parts) // 2
    for _ in range(count):
        order = [parts[at] for at in rng.permutation(len(parts))]
        yield _sum(order[:half]), _sum(order[half : 2 * half])


def _sum(parts: Sequence[_Pair]) -> _Pair:
    return sum(parts[1:], start=parts[0])


def _estimated(
    value: float, *, left_out: np.ndarray, halves: np.ndarray, level: float
) -> MetricResult:
    """Return the value without two orders of bias, from the values (B,) and (H, 2) of its parts."""
    first_order = without_one_order(value, left_out)
    corrected = without_two_orders(value, left_out, halves)
    error = _variance(value, left_out, halves) ** 0.5
    if abs(corrected - first_order) > LARGEST_SECOND_ORDER * error:
        return undefined("so few images have more bias than can be taken out")
    half_width = error * student_quantile(level, degrees_of_freedom=len(left_out) - 1)
    interval = (corrected - half_width, corrected + half_width)
    return within(MetricResult(value, corrected, error, interval), minimum=0.0)


def _variance(value: float, left_out: np.ndarray, halves: np.ndarray) -> float:
    """Return the variance of the corrected distance.

    What two images add together beyond what each does, as where both populations are equal, the
    jackknife counts twice (Efron & Stein, 1981, "The jackknife estimate of variance"). It is the
    variance over splits of (a half + the other half) / 2 - the whole, in which the rest cancels, and
    is taken off once; no more than a third of the jackknife's is, as the difference of two
    estimates may be far too small. The halves' own part in the correction is added.
    """
    groups, splits = len(left_out), len(halves)
    jackknifed = (groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum())
    interaction = float((halves.mean(1) - value).var(ddof=1))
    return max(jackknifed - interaction, LEAST_SHARE * jackknifed) + interaction / splits
