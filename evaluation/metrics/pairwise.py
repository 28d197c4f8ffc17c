"""All that is measured on pairs of images, from one sweep over the products of their features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.pairs.authenticity import TrainingImages, authentic, authentic_in_halves
from evaluation.metrics.pairs.balls import Side, draw_balls
from evaluation.metrics.pairs.halves import Estimated, Halves, draw_halves, share
from evaluation.metrics.pairs.kernel_sums import Kernel, squared_mmd
from evaluation.metrics.pairs.points import Points, Rows, prepare, unit_rows
from evaluation.metrics.pairs.sweeps import Across, Within, sweep_across, sweep_within
from evaluation.metrics.uncertainty import (
    Features,
    MetricResult,
    as_rows,
    normal_quantile,
    undefined,
    within,
)
from evaluation.protocols.metrics import METRICS

MIN_IMAGES = 50  # smallest set whose halves still have neighbourhoods worth the name
NEAREST = 16  # training images listed per generated one: hardly any half holds none of them

KeepGoing = Callable[[], None]

__all__ = ["Kernel", "Neighbours", "measure_pairs"]


@dataclass(frozen=True)
class Neighbours:
    """How neighbours are counted.

    A ball reaches from an image to its ``k``-th nearest other one. What lies on its border is
    inside, unless ``strict``. With ``normalise`` each row of features is first divided by its
    Euclidean norm. Errors are the spread over ``draws`` random halves of both sets.
    """

    k: int
    strict: bool = False
    normalise: bool = False
    draws: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"expected k of at least 1, got {self.k}")

    @property
    def listed(self) -> int:
        """How many neighbours to list, so that a half hardly ever holds fewer than k of them."""
        return max(3 * self.k + 14, NEAREST)


def measure_pairs(
    real: Features,
    generated: Features,
    *,
    kernel: Kernel | None = None,  # None = no kernel distance
    neighbours: Neighbours | None = None,  # None = none of the metrics of neighbours
    train: Features | None = None,  # the training images, None = the real ones
    level: float = 0.95,
    keep_going: KeepGoing = lambda: None,
) -> dict[str, MetricResult]:
    """Return the metrics of pairs of real (M, D) and generated (N, D) images by name.

    "kd" if a kernel is given; "precision", "recall", "density", "coverage" and "authenticity" if
    neighbours are. All come from the same products of features, in float32 if the features are,
    else in float64. Distances whose rounding could change a count are computed anew in float64
    as sums of squared differences, so that counts are exact. Memory above the features: a centred
    copy of each set, and what is kept of neighbours, a few hundred numbers per image.
    ``keep_going`` is called between the tiles and may raise to end the work.

    Sources: Bińkowski et al., 2018, "Demystifying MMD GANs"; Kynkäänniemi et al., 2019, "Improved
    precision and recall metric for assessing generative models"; Naeem et al., 2020, "Reliable
    fidelity and diversity metrics for generative models"; Alaa et al., 2022, "How faithful is
    your synthetic data?".

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D).
    """
    sets = _of_one_type(generated, real, *(() if train is None else (train,)))
    normalise = neighbours is not None and neighbours.normalise
    if not normalise or kernel is None:
        rows = [unit_rows(features) if normalise else Rows(features) for features in sets]
        return _measure(rows, kernel, neighbours, level, keep_going)
    plain, unit = [Rows(features) for features in sets[:2]], [unit_rows(each) for each in sets]
    return _measure(plain, kernel, None, level, keep_going) | _measure(
        unit, None, neighbours, level, keep_going
    )


def _of_one_type(*sets: Features) -> list[Tensor]:
    """Return the sets (N, D) on the device of the first; in float64 if one of them is."""
    first = as_rows(sets[0])
    rows = [first, *(as_rows(features, device=first.device) for features in sets[1:])]
    widths = [features.shape[1] for features in rows]
    if len(set(widths)) > 1:
        raise ValueError(f"expected features of equal width, got {' and '.join(map(str, widths))}")
    double = any(features.dtype == torch.float64 for features in rows)
    return [features.double() for features in rows] if double else rows


def _measure(
    sets: list[Rows],
    kernel: Kernel | None,
    neighbours: Neighbours | None,
    level: float,
    keep_going: KeepGoing,
) -> dict[str, MetricResult]:
    """Return the metrics of generated, real and perhaps training rows."""
    counts = [len(rows.features) for rows in sets]
    found = _undefined(counts, kernel, neighbours)
    if min(counts[:2]) == 0:
        return found
    points = prepare(*(sets[:2] if "authenticity" in found else sets))
    task = _Task(
        generated=points[0],
        real=points[1],
        train=points[-1],
        kernel=None if "kd" in found else kernel,
        balls=None if "precision" in found else neighbours,
        authenticity=None if "authenticity" in found else neighbours,
        level=level,
    )
    return found | task.run(keep_going)


def _undefined(
    counts: list[int], kernel: Kernel | None, neighbours: Neighbours | None
) -> dict[str, MetricResult]:
    """Return the metrics that so few images do not define."""
    found: dict[str, MetricResult] = {}
    generated, real, train = counts[0], counts[1], counts[-1]
    sides = f"on each side, got {generated} generated and {real} real"
    if kernel is not None and min(generated, real) < 2:
        found["kd"] = undefined(f"needs at least 2 images {sides}")
    if neighbours is not None and min(generated, real) <= neighbours.k:
        reason = f"needs more than {neighbours.k} images {sides}"
        found |= dict.fromkeys(("precision", "recall", "density", "coverage"), undefined(reason))
    if neighbours is not None and (train < 2 or min(generated, real) < 1):
        found["authenticity"] = undefined(
            f"needs a generated image and at least 2 training images, got {generated} and {train}"
        )
    return found


@dataclass(frozen=True)
class _Task:
    """The sets, and what is to be measured on them; ``train`` may be ``real`` itself."""

    generated: Points
    real: Points
    train: Points
    kernel: Kernel | None
    balls: Neighbours | None
    authenticity: Neighbours | None
    level: float

    def run(self, keep_going: KeepGoing) -> dict[str, MetricResult]:
        """Sweep over the pairs within the sets, then over those across, and return the metrics."""
        listed = 0 if self.balls is None else self.balls.listed
        nearest = 0 if self.authenticity is None else NEAREST
        apart = self.train is not self.real
        generated = sweep_within(
            self.generated, kernel=self.kernel, listed=listed, keep_going=keep_going
        )
        real = sweep_within(
            self.real,
            kernel=self.kernel,
            listed=listed if apart else max(listed, nearest),
            keep_going=keep_going,
        )
        halves = self._halves()
        across = sweep_across(
            self.generated,
            self.real,
            kernel=self.kernel,
            sides=self._sides(generated, real, halves),
            strict=self.balls is not None and self.balls.strict,
            listed=0 if apart else nearest,
            keep_going=keep_going,
        )
        found = self._kernel_distance(generated, real, across) | self._shares(across)
        if self.authenticity is None:
            return found
        train, to_train = self._train(nearest, keep_going) if apart else (real, across)
        return found | {"authenticity": self._authentic(train, to_train, halves)}

    def _train(self, nearest: int, keep_going: KeepGoing) -> tuple[Within, Across]:
        """Sweep over the pairs within the training images, and from generated ones to them."""
        train = sweep_within(self.train, kernel=None, listed=nearest, keep_going=keep_going)
        to_train = sweep_across(
            self.generated,
            self.train,
            kernel=None,
            sides=None,
            strict=False,
            listed=nearest,
            keep_going=keep_going,
        )
        return train, to_train

    def _halves(self) -> dict[int, Halves]:
        """Draw halves of every set that is large enough, by the set's number."""
        neighbours = self.balls or self.authenticity
        if neighbours is None or neighbours.draws < 2:
            return {}
        rng = np.random.default_rng(neighbours.seed)
        sets = {points.own: points for points in (self.generated, self.real, self.train)}
        return {
            own: draw_halves(points, neighbours.draws, rng, copies=neighbours.k + 1)
            for own, points in sets.items()
            if points.count >= MIN_IMAGES
        }

    def _sides(
        self, generated: Within, real: Within, halves: dict[int, Halves]
    ) -> tuple[Side, Side] | None:
        """Return the balls of both sets, with halves if both are large enough for them."""
        if self.balls is None:
            return None
        both = self.generated.own in halves and self.real.own in halves
        drawn = halves if both else {}
        return _side(generated, drawn, self.balls.k), _side(real, drawn, self.balls.k)

    def _kernel_distance(
        self, generated: Within, real: Within, across: Across
    ) -> dict[str, MetricResult]:
        x, y, between = generated.kernel, real.kernel, across.kernel
        if x is None or y is None or between is None:
            return {}
        return {"kd": squared_mmd(x, y, between, level=self.level)}

    def _shares(self, across: Across) -> dict[str, MetricResult]:
        """Return precision, recall, density and coverage."""
        of_real, of_generated = across.of_others, across.of_generated
        if self.balls is None or of_real is None or of_generated is None:
            return {}
        balls, k = of_real.mean_count(), self.balls.k
        found = {
            "precision": of_real.covered_share(),
            "recall": of_generated.covered_share(),
            "density": Estimated(balls.value / k, balls.in_halves / k),
            "coverage": of_real.reached_share(),
        }
        return {name: _result(name, estimated, self.level) for name, estimated in found.items()}

    def _authentic(
        self, train: Within, to_train: Across, halves: dict[int, Halves]
    ) -> MetricResult:
        """Return the share of generated images that are authentic."""
        assert train.lists is not None
        assert to_train.lists is not None
        training = TrainingImages(train.distances, train.lists, halves.get(self.train.own))
        own_halves = halves.get(self.generated.own)
        words = np.zeros((0, self.generated.count), dtype=np.uint64)
        if training.halves is None or own_halves is None:
            own_halves = None
        else:
            words = authentic_in_halves(to_train.lists, training)
        found = authentic(to_train.distances, to_train.lists, training)
        estimated = share(found, self.generated.copies, words, own_halves)
        return _result("authenticity", estimated, self.level)


def _side(within: Within, halves: dict[int, Halves], k: int) -> Side:
    assert within.lists is not None
    points = within.distances.a
    drawn = halves.get(points.own)
    return Side(points.copies, draw_balls(within.distances, within.lists, drawn, k), drawn)


def _result(name: str, estimated: Estimated, level: float) -> MetricResult:
    """Return the number with the spread over halves as its error."""
    value, spec = estimated.value, METRICS[name]
    if not len(estimated.in_halves):
        return MetricResult(
            value=value,
            reason=f"no interval: needs at least {MIN_IMAGES} images on each side",
        )
    error = float(estimated.in_halves.std(ddof=1))
    if error == 0:
        return MetricResult(
            value=value,
            reason=f"no interval: every half of the images gives {value:g}, "
            "so its spread is unknown",
        )
    half_width = normal_quantile(level) * error
    found = MetricResult(
        value=value, standard_error=error, interval=(value - half_width, value + half_width)
    )
    return within(found, minimum=spec.minimum, maximum=spec.maximum)
