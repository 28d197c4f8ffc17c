"""The metrics that are measured on images themselves, not on their features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.features.base import ExtractionStopped, Extractor
from evaluation.features.cache import FeatureCache
from evaluation.features.classifier import LabelledImages
from evaluation.features.clip import ClipModel
from evaluation.imagesets.splits import choose
from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.classification_accuracy import classification_accuracy_score
from evaluation.metrics.copies import copied_share
from evaluation.metrics.pairs.thumbnails import (
    NearestThumbnails,
    nearest_thumbnails,
    shift_of,
    thumbnails,
)
from evaluation.metrics.reconstruction import psnr, ssim
from evaluation.metrics.uncertainty import MetricResult, undefined
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import Protocol
from evaluation.scoring.checks import check_digest
from evaluation.scoring.references import SavedReference

SELECTION_SEED = 0  # as the protocol's selection rule says

Real = ImageStream | SavedReference


@dataclass(frozen=True)
class Work:
    """What all steps of one evaluation need."""

    protocol: Protocol
    extractor: Extractor
    batch_size: int | None
    report: Callable[[str, float], None]
    stop: Callable[[], bool]
    cache: FeatureCache
    fake: ImageStream
    real: Real
    held_out: ImageStream | None
    prompts: PromptSet | None = None  # what the generated images were asked with, in turn
    clip: ClipModel | None = None  # judges how well they agree with these

    @property
    def level(self) -> float:
        """The confidence level of intervals."""
        return float(self.protocol.uncertainty["level"])

    def keep_going(self) -> None:
        """Raise ExtractionStopped if the evaluation shall end."""
        if self.stop():
            raise ExtractionStopped


def _check_held_out(work: Work, held_out: ImageStream) -> None:
    assert work.protocol.held_out is not None, "others were refused"
    check_digest("held-out", work.protocol.held_out, held_out.digest())


# --- Reconstructions --------------------------------------------------------------------------


def _pairs(work: Work) -> tuple[np.ndarray, np.ndarray] | MetricResult:
    """Return originals and reconstructions, or why there are none."""
    count = work.protocol.reference.count
    if isinstance(work.real, SavedReference) or not (
        work.fake.count == work.protocol.num_images == count
    ):
        return undefined(
            f"needs a reconstruction of every reference image: {count} originals, "
            f"{work.protocol.num_images} of {work.fake.count} images scored"
        )
    return _pixels(work.real), _pixels(work.fake)


def _pixels(images: ImageStream, chosen: np.ndarray | None = None) -> np.ndarray:
    return np.concatenate(list(images.chunks(chosen)))


def _of_pairs(measure_pairs: Callable[..., MetricResult]) -> Callable[[Work], MetricResult]:
    def measured(work: Work) -> MetricResult:
        pairs = _pairs(work)
        if isinstance(pairs, MetricResult):
            return pairs
        return measure_pairs(*pairs, level=work.level, keep_going=work.keep_going)

    return measured


# --- Classification accuracy score ------------------------------------------------------------


def _cas(work: Work) -> MetricResult:
    """Return the classification accuracy score of the images that are scored."""
    fake, held_out = work.fake, work.held_out
    if held_out is None or held_out.labels is None or fake.labels is None:
        return undefined("needs labels of the generated and of the held-out images")
    _check_held_out(work, held_out)
    names = _class_numbers(fake, held_out)
    if isinstance(names, MetricResult):
        return names
    chosen = choose(len(fake.labels), work.protocol.num_images, seed=SELECTION_SEED)
    return classification_accuracy_score(
        LabelledImages(_pixels(fake, chosen), names[fake.labels[chosen]]),
        LabelledImages(_pixels(held_out), held_out.labels),
        should_stop=work.stop,
    )


def _class_numbers(fake: ImageStream, held_out: ImageStream) -> np.ndarray | MetricResult:
    """Return the held-out images' number of each class of the generated ones.

    Classes are the same by name; names that are numbers, as arrays have, are the numbers.
    """
    assert fake.labels is not None, "the caller looked"
    if not fake.classes:
        return np.arange(int(fake.labels.max()) + 1)
    if all(name.isdecimal() for name in fake.classes):
        return np.array([int(name) for name in fake.classes])
    if unknown := sorted(set(fake.classes) - set(held_out.classes)):
        return undefined(f"the held-out images have no class {', '.join(unknown)}")
    return np.array([held_out.classes.index(name) for name in fake.classes])


# --- Copies -----------------------------------------------------------------------------------


def _copies(work: Work) -> MetricResult:
    """Return the share of generated images nearer to a training image than unseen real ones are."""
    train, held_out, fake = work.real, work.held_out, work.fake
    if held_out is None:
        return undefined("needs held-out real images")
    if not isinstance(train, ImageStream):
        return undefined("needs the training images: the reference is saved without its pixels")
    if not all(images.is_repeatable for images in (train, held_out, fake)):
        return undefined("needs images that can be read again: an iterator is read once")
    _check_held_out(work, held_out)
    small = _thumbnails(work, train, 0.0)
    real = _nearest_held_out(work, train, held_out, small)
    chosen = choose(fake.count or 0, work.protocol.num_images, seed=SELECTION_SEED)
    found = _nearest(work, _thumbnails(work, fake, 0.4, chosen), small, 0.5)
    return copied_share(
        found,
        real,
        share=work.protocol.metrics["copies"]["share"],
        shift=shift_of(*small.shape[1:]),
        level=work.level,
        positions=chosen,
    )


def _nearest_held_out(
    work: Work, train: ImageStream, held_out: ImageStream, small: Tensor
) -> NearestThumbnails:
    """Return the held-out images' nearest training images, which are the same for every model."""

    def make() -> dict[str, Tensor]:
        found = _nearest(work, _thumbnails(work, held_out, 0.1), small, 0.2)
        return {name: torch.from_numpy(array) for name, array in vars(found).items()}

    rules = sorted(work.protocol.metrics["copies"].items())
    kept = work.cache.tensors(f"copies {train.digest()} {held_out.digest()} {rules}", make)
    return NearestThumbnails(**{name: tensor.numpy() for name, tensor in kept.items()})


def _thumbnails(
    work: Work, images: ImageStream, begun: float, chosen: np.ndarray | None = None
) -> Tensor:
    """Return the thumbnails of images, or of a choice of them, and report the next tenth."""
    total = images.count if chosen is None else len(chosen)
    return thumbnails(images.chunks(chosen), keep_going=_reporting(work, begun, 0.1, total or 1))


def _nearest(work: Work, small: Tensor, to: Tensor, begun: float) -> NearestThumbnails:
    return nearest_thumbnails(small, to, keep_going=_reporting(work, begun, 0.2, len(small)))


def _reporting(work: Work, begun: float, part: float, total: int) -> Callable[[int], None]:
    """Return what reports how much of a part of the work is done, and ends it when asked."""

    def report(done: int) -> None:
        work.keep_going()
        work.report("copies", begun + part * done / total)

    return report


OF_IMAGES: dict[str, Callable[[Work], MetricResult]] = {
    "psnr": _of_pairs(psnr),
    "ssim": _of_pairs(ssim),
    "cas": _cas,
    "copies": _copies,
}
