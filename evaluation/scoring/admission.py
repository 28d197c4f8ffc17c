"""Tests whether an extractor sees on a dataset what a comparison of generators needs it to see.

Real images are halved. The Fréchet distance of the halves is the *floor*: what no generator can be
asked to go below. Then one half is corrupted step by step, and the distance must rise:

- noise: Gaussian, its standard deviation in steps of the 256 grey values;
- blur: Gaussian, its standard deviation in pixels;
- dropped classes: the share of classes that are missing, always with as many images;
- duplicates: the share of images that are copies of others.

Which classes and which images go is drawn five times, and a rung is the mean. *Rising* is judged
beyond the floor's spread, which is the range of the floor over ten draws of the clean images (five
for dropped classes): the last rung must lie above the clean one by more than that, and from the
first rung that does, each must lie above the one before. All of it depends on how many images there
are, so a protocol is tested on as many as it scores.

Last, features must not depend on the batch size but by rounding.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError, extract
from evaluation.imagesets.splits import choose
from evaluation.metrics.frechet import frechet_distance, measure_frechet, reference_gaussian
from evaluation.metrics.moments import Moments
from evaluation.metrics.uncertainty import MetricResult, undefined
from evaluation.scoring.controls import blurred, disjoint_halves

VERSION = 2
COUNT = 1000  # images on each side
MIN_COUNT = 2  # images that have a covariance
DRAWS = 5  # of what a rung leaves out
FLOOR_DRAWS = 10  # of the floor: a range of 5 passes what is not seen in 6-13 %, of 10 in 1-7 %
NOISE = (16.0, 32.0, 64.0, 128.0)  # standard deviations in grey values
BLUR = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # standard deviations as shares of the shorter side
DROPPED = (0.2, 0.4, 0.6, 0.8)  # shares of the classes
COPIES = (1 / 2, 3 / 4, 7 / 8, 15 / 16)  # shares of the images
BATCH_LIMIT = 1e-4  # largest difference between batch sizes, relative to the largest feature
BATCH_IMAGES = 32
CHUNK = 64  # images corrupted at a time

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Rung:
    """The Fréchet distance from clean images at one level of a corruption, 0 = clean."""

    level: float
    value: float


@dataclass(frozen=True)
class Ladder:
    """All rungs of one corruption from the clean one up, and the floor's spread for its count."""

    rungs: tuple[Rung, ...]
    spread: float

    def failure(self) -> str:
        """Return why the distance does not rise with the corruption, or nothing if it does."""
        clean, last = self.rungs[0], self.rungs[-1]
        if not last.value > clean.value + self.spread:
            return (
                f"{last.value:.4g} at level {last.level:g} is no more than {clean.value:.4g} of "
                f"clean images and their spread {self.spread:.2g}"
            )
        before = clean
        for rung in self.rungs[1:]:
            if before.value > clean.value + self.spread and not rung.value > before.value:
                return (
                    f"{rung.value:.4g} at level {rung.level:g} is no more than "
                    f"{before.value:.4g} at level {before.level:g}"
                )
            before = rung
        return ""


@dataclass(frozen=True)
class Admission:
    """What the test found. ``count``: images on each side; ``reasons``: why it failed, if it did.

    ``batch_invariance`` is the largest difference of a feature between two batch sizes, relative to
    the largest feature. ``unranked`` are metrics that lack images, each with the reason: they have
    no ranks though others may. ``classifier`` is what is known of its accuracy, as plain JSON
    values. `evaluation.scoring.requirements` fills in both.
    """

    count: int
    seed: int
    floor: MetricResult
    ladders: Mapping[str, Ladder]
    batch_invariance: float
    reasons: tuple[str, ...]
    unranked: Mapping[str, str] = field(default_factory=dict)
    classifier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Return whether the extractor may be used on this dataset, for every metric."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Return all reasons, of the extractor first, then of single metrics."""
        return (*self.reasons, *self.unranked.values())

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "version": VERSION,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "unranked": dict(self.unranked),
            "classifier": dict(self.classifier),
            "count": self.count,
            "seed": self.seed,
            "floor": self.floor.to_record(),
            "ladders": {
                name: [{"level": rung.level, "value": rung.value} for rung in ladder.rungs]
                for name, ladder in self.ladders.items()
            },
            "spreads": {name: ladder.spread for name, ladder in self.ladders.items()},
            "batch_invariance": self.batch_invariance,
        }


def admit(
    extractor: Extractor,
    reference: np.ndarray,
    *,
    labels: np.ndarray | None = None,  # (N,), for the ladder of dropped classes
    count: int = COUNT,  # images on each side, or half of the reference if that is less
    seed: int = 0,
    keep_going: Callable[[], None] = lambda: None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Admission:
    """Return how the extractor does on real images, uint8 (N, C, H, W).

    Ten times ``count`` images pass the extractor. ``keep_going`` is called between batches and may
    raise to end the work; ``on_progress`` receives the done share in 0..1.

    Raises:
        ValueError: if there are fewer than 4 images, or not as many labels.
        ExtractorError: if features of clean images are not finite.
    """
    if len(reference) < 4 or (labels is not None and len(labels) != len(reference)):
        raise ValueError(
            f"expected at least 4 images and as many labels as there are any, got {len(reference)} "
            f"and {'none' if labels is None else len(labels)}"
        )
    chosen = choose(len(reference), min(2 * count, len(reference) // 2 * 2), seed=seed)
    first, second = (chosen[half] for half in disjoint_halves(len(chosen), seed=seed))
    work = _Work(extractor, 2 + len(NOISE) + len(BLUR), keep_going, on_progress)
    test = _Test(
        clean=torch.cat([work.features(reference[first]), work.features(reference[second])]),
        images=reference[second],
        labels=None if labels is None else labels[second],
        seed=seed,
        work=work,
    )
    return test.result(_batch_difference(extractor, reference[second[:BATCH_IMAGES]]))


class _Work:
    """Passes sets of images through the extractor and tells how far all of them are."""

    def __init__(
        self,
        extractor: Extractor,
        sets: int,
        keep_going: Callable[[], None],
        on_progress: Callable[[float], None],
    ) -> None:
        self._extractor, self._sets, self._done = extractor, sets, 0
        self._keep_going, self._on_progress = keep_going, on_progress

    def features(
        self, images: np.ndarray, corruption: Corruption | None = None, *, seed: int = 0
    ) -> Tensor:
        """Return features of the images, each chunk corrupted on its way."""

        def report(share: float) -> None:
            self._keep_going()
            self._on_progress((self._done + share) / self._sets)

        found = extract(
            self._extractor,
            _corrupted(images, corruption, seed=seed),
            count=len(images),
            on_progress=report,
        ).features
        self._done += 1
        return found

    def keep_going(self) -> None:
        self._keep_going()


def _corrupted(
    images: np.ndarray, corruption: Corruption | None, *, seed: int
) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        yield chunk if corruption is None else corruption(chunk, rng)


@dataclass(frozen=True)
class _Test:
    """The clean halves' features, first and second half, and what the ladders are made from."""

    clean: Tensor  # (2 n, D)
    images: np.ndarray  # the second half
    labels: np.ndarray | None  # of the second half
    seed: int
    work: _Work

    def result(self, batches: float) -> Admission:
        if not bool(self.clean.isfinite().all()):
            raise ExtractorError("expected finite features of real images, got NaN or infinity")
        if not bool((self.clean != self.clean[0]).any()):
            return self._blind("features are the same for all images", batches)
        real, held_out = self.clean[: self._count], self.clean[self._count :]
        floor = measure_frechet(held_out, reference_gaussian(real), keep_going=self.work.keep_going)
        ladders = self._ladders(Moments.from_features(real), held_out)
        reasons = [f"{name}: {why}" for name, one in ladders.items() if (why := one.failure())]
        return Admission(
            count=self._count,
            seed=self.seed,
            floor=floor,
            ladders=ladders,
            batch_invariance=batches,
            reasons=(*reasons, *self._class_failure(), *_batch_failure(batches)),
        )

    @property
    def _count(self) -> int:
        return len(self.images)

    def _blind(self, reason: str, batches: float) -> Admission:
        return Admission(
            count=self._count,
            seed=self.seed,
            floor=undefined(reason),
            ladders={},
            batch_invariance=batches,
            reasons=(reason, *_batch_failure(batches)),
        )

    def _ladders(self, real: Moments, held_out: Tensor) -> dict[str, Ladder]:
        spread = self._spread_of_halves()
        clean = Rung(0.0, _distance(real, held_out))

        def climb(levels: tuple[float, ...], at: Callable[[float], float]) -> Ladder:
            return Ladder(
                rungs=(clean, *(Rung(level, at(level)) for level in levels)), spread=spread
            )

        shorter = min(self.images.shape[2:])
        ladders = {
            "noise": climb(NOISE, lambda std: self._corrupted(real, _noisy(std))),
            "blur": climb(
                tuple(share * shorter for share in BLUR),
                lambda sigma: self._corrupted(real, lambda chunk, _: blurred(chunk, sigma=sigma)),
            ),
        }
        if self.labels is not None and self._fewest_left(self.labels) >= MIN_COUNT:
            ladders["dropped_classes"] = self._dropped_classes(real, held_out, self.labels)
        ladders["duplicates"] = climb(COPIES, lambda share: self._copies(real, held_out, share))
        return ladders

    def _corrupted(self, real: Moments, corruption: Corruption) -> float:
        return _distance(real, self.work.features(self.images, corruption, seed=self.seed))

    def _spread_of_halves(self) -> float:
        values = []
        for draw in range(FLOOR_DRAWS):
            self.work.keep_going()
            first, second = disjoint_halves(len(self.clean), seed=self.seed + draw)
            real = Moments.from_features(self.clean[torch.from_numpy(first)])
            values.append(_distance(real, self.clean[torch.from_numpy(second)]))
        return max(values) - min(values)

    def _copies(self, real: Moments, held_out: Tensor, share: float) -> float:
        """Return the mean distance when that share of the images are copies of the others."""
        distinct = max(1, round(self._count * (1 - share)))
        values = []
        for draw in range(DRAWS):
            self.work.keep_going()
            order = np.random.default_rng((self.seed, draw)).permutation(self._count)
            chosen = np.resize(order[:distinct], self._count)
            values.append(_distance(real, held_out[torch.from_numpy(chosen)]))
        return float(np.mean(values))

    def _dropped_classes(self, real: Moments, held_out: Tensor, labels: np.ndarray) -> Ladder:
        """Return the ladder of missing classes, each rung with as many images as the last has."""
        classes = np.unique(labels)
        numbers = _numbers_dropped(len(classes))
        values = np.array(
            [self._without_classes(real, held_out, labels, numbers, draw) for draw in range(DRAWS)]
        )  # (draws, rungs)
        shares = [number / len(classes) for number in numbers]
        return Ladder(
            rungs=tuple(Rung(*rung) for rung in zip(shares, values.mean(0).tolist(), strict=True)),
            spread=float(np.ptp(values[:, 0])),
        )

    def _fewest_left(self, labels: np.ndarray) -> int:
        """Return how many images the last rung of dropped classes has at least; 0 = no rung."""
        sizes = np.unique(labels, return_counts=True)[1]
        dropped = _numbers_dropped(len(sizes))[-1]
        return int(np.sort(sizes)[: len(sizes) - dropped].sum()) if dropped else 0

    def _class_failure(self) -> list[str]:
        if self.labels is None or len(np.unique(self.labels)) < 2:
            return []
        if self._fewest_left(self.labels) >= MIN_COUNT:
            return []
        return [f"dropped_classes: {self._count} images on each side are too few of each class"]

    def _without_classes(
        self, real: Moments, held_out: Tensor, labels: np.ndarray, numbers: list[int], draw: int
    ) -> list[float]:
        rng = np.random.default_rng((self.seed, draw))
        classes, order = rng.permutation(np.unique(labels)), rng.permutation(self._count)
        kept = [order[~np.isin(labels[order], classes[:number])] for number in numbers]
        size = min(map(len, kept))
        values = []
        for indices in kept:
            self.work.keep_going()
            values.append(_distance(real, held_out[torch.from_numpy(indices[:size])]))
        return values


def _numbers_dropped(classes: int) -> list[int]:
    """Return how many of the classes each rung goes without, from the clean one up."""
    return [0, *sorted({round(share * classes) for share in DROPPED} - {0, classes})]


def _distance(real: Moments, features: Tensor) -> float:
    return frechet_distance(real, Moments.from_features(features))


def _noisy(std: float) -> Corruption:
    def corrupt(chunk: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values = chunk + std * rng.standard_normal(chunk.shape)
        return np.floor(values + 0.5).clip(0, 255).astype(np.uint8)

    return corrupt


def _batch_difference(extractor: Extractor, images: np.ndarray) -> float:
    whole = extract(extractor, images).features
    sizes = sorted({1, max(1, len(images) // 4 - 1)})
    differences = [
        float((extract(extractor, images, batch_size=size).features - whole).abs().max())
        for size in sizes
    ]
    largest = float(whole.abs().max())
    return max(differences) / largest if largest > 0 else max(differences)


def _batch_failure(difference: float) -> list[str]:
    if difference <= BATCH_LIMIT:
        return []
    return [
        f"features change with the batch size by {difference:.2g} of the largest, "
        f"expected at most {BATCH_LIMIT:g}"
    ]
