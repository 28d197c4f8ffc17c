"""What a protocol's features say of the first images of a set: classes, and nearest training images."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from evaluation.features.base import Extractor
from evaluation.features.cache import FeatureCache
from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.classes import predicted_classes
from evaluation.protocols.record import Protocol

ROWS = 4096  # training images that are compared at a time

Distance = Literal["features", "pixels"]


@dataclass(frozen=True)
class SheetReading:
    """Of each image looked at: the nearest training image, its distance, the predicted class.

    distance: "features", Euclidean between the protocol's; or "pixels", the root of the mean square
        of their differences, 0 to 1, where the protocol's reference is not the training split.
    nearest: indices of training images; of equally near ones the first.
    predicted: class numbers; None where the extractor predicts none.
    """

    distance: Distance
    nearest: list[int]
    distances: list[float]
    predicted: list[int] | None


def read_sheet(
    protocol: Protocol,
    extractor: Extractor,
    generated: ImageStream,
    train: ImageStream,
    *,
    count: int,  # of the generated images, the first
    cache: FeatureCache,
    should_stop: Callable[[], bool] = lambda: False,
) -> SheetReading | None:
    """Return what is seen of the first images; None where features of them are not finite.

    Features of the training images are taken from the cache, where the evaluation has left them;
    they are not computed for this alone.

    Raises:
        ExtractionStopped: if ``should_stop()`` turned true.
        ImageError: if the images cannot be read.
    """
    first = np.arange(min(count, generated.count or count), dtype=np.int64)
    found = FeatureCache(None).features(
        extractor, generated, indices=first, should_stop=should_stop
    )
    if not found.features.isfinite().all():
        return None
    predicted = None if found.logits is None else predicted_classes(found.logits).tolist()
    if protocol.reference.split == "train":
        known = cache.features(extractor, train, should_stop=should_stop).features
        places, distances = nearest_rows(found.features, torch.split(known, ROWS))
        return SheetReading("features", places, distances, predicted)
    pixels = torch.cat(list(_rows(generated.chunks(first))))
    places, distances = nearest_rows(pixels, _rows(train.chunks()))
    width = pixels.shape[1] ** 0.5
    return SheetReading("pixels", places, [each / width for each in distances], predicted)


def _rows(chunks: Iterable[object]) -> Iterator[Tensor]:
    """Yield images (n, C, H, W) uint8 as rows (n, C H W) of 0 to 1."""
    for chunk in chunks:
        yield torch.as_tensor(chunk).flatten(1).double() / 255


def nearest_rows(rows: Tensor, others: Iterable[Tensor]) -> tuple[list[int], list[float]]:
    """Return which of the others (M, D), in parts, is nearest to each row (N, D), and how far it is.

    Of equally near ones the first counts. The distance to the one that is found is computed anew
    from the differences: that of a copy is exactly 0.
    """
    rows = rows.double()
    best = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    places = torch.zeros(len(rows), dtype=torch.int64)
    begin = 0
    for part in others:
        part = part.to(rows)
        at = _squared(rows, part).argmin(1)
        exact = (rows - part[at]).square().sum(1)
        nearer = exact < best
        best, places = torch.where(nearer, exact, best), torch.where(nearer, begin + at, places)
        begin += len(part)
    return places.tolist(), best.sqrt().tolist()


def _squared(rows: Tensor, others: Tensor) -> Tensor:
    return others.square().sum(1) - 2 * rows @ others.T + rows.square().sum(1, keepdim=True)
