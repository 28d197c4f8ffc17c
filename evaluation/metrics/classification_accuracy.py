"""CAS: how well a classifier trained on generated images alone knows real ones."""

import math
from collections.abc import Callable

import numpy as np
import torch

from evaluation.features.base import ExtractionStopped
from evaluation.features.classifier import LabelledImages
from evaluation.features.classifier_training import (
    ClassifierNetwork,
    train_network,
    training_recipe,
)
from evaluation.metrics.uncertainty import MetricResult, undefined, wilson_interval

BATCH = 256  # test images classified at a time


def classification_accuracy_score(
    generated: LabelledImages | None,  # None = the generated images have no labels
    test: LabelledImages | None,  # real images that no generator was trained on
    *,
    level: float = 0.95,
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> MetricResult:
    """Return the share of real test images classified right after training on generated ones alone.

    The network and its training are those of the dataset classifier, by its recipe for so many
    images: only equal numbers of generated images compare. The interval is Wilson's, over the test
    images: it holds for this one training, on these generated images, and another training moves
    the accuracy by more than it says. ``details`` holds the accuracy on the generated images too.
    ``on_progress`` receives the done share in 0..1.

    Source: Ravuri & Vinyals, 2019, "Classification accuracy score for conditional generative
    models". Deviation: the small network of the recipe in place of a ResNet-50.

    Raises:
        ValueError: if images and labels do not fit together, or the two sets' images.
        ExtractionStopped: if ``should_stop()`` turned true.
    """
    if generated is None or test is None:
        missing = "generated" if generated is None else "test"
        return undefined(f"needs labels, the {missing} images have none")
    _check(generated, test)
    if min(len(generated.labels), len(test.labels)) == 0:
        return undefined(
            f"needs images on each side, got {len(generated.labels)} generated and "
            f"{len(test.labels)} test images"
        )
    if (classes := len(np.unique(generated.labels))) < 2:
        return undefined(f"needs generated images of at least 2 classes, got {classes}")
    network = _trained(generated, test, on_progress, should_stop)
    right = int(_right(network, test, should_stop).sum())
    on_generated = float(_right(network, generated, should_stop).mean())
    on_progress(1.0)
    count = len(test.labels)
    return MetricResult(
        value=right / count,
        standard_error=math.sqrt(right * (count - right) / count**3) or None,  # 0 would be no error
        interval=wilson_interval(right, count, level=level),
        details={
            "interval": "over test images, for one training",
            "right": right,
            "test_images": count,
            "generated_images": len(generated.labels),
            "accuracy_on_generated": on_generated,
        },
    )


def _trained(
    generated: LabelledImages,
    test: LabelledImages,
    on_progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> ClassifierNetwork:
    pixels, labels = generated.pixels, generated.labels
    recipe = training_recipe(
        count=len(pixels),
        channels=pixels.shape[1],
        resolution=max(pixels.shape[2:]),
        num_classes=int(max(labels.max(), test.labels.max())) + 1,
    )
    return train_network(
        recipe,
        pixels,
        labels.astype(np.int64),
        on_progress=on_progress,
        should_stop=should_stop,
    )


def _right(
    network: ClassifierNetwork, images: LabelledImages, should_stop: Callable[[], bool]
) -> np.ndarray:
    """Return which images are classified as labelled, bool (N,)."""
    right = np.zeros(len(images.labels), dtype=bool)
    for start in range(0, len(right), BATCH):
        if should_stop():
            raise ExtractionStopped
        part = slice(start, start + BATCH)
        with torch.inference_mode():
            _, logits = network(torch.from_numpy(images.pixels[part].copy()))
        right[part] = logits.argmax(1).numpy() == images.labels[part]
    return right


def _check(generated: LabelledImages, test: LabelledImages) -> None:
    for name, images in (("generated", generated), ("test", test)):
        pixels, labels = images.pixels, images.labels
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or labels.shape != pixels.shape[:1]:
            raise ValueError(
                f"expected {name} images uint8 (N, C, H, W) and a label of each, "
                f"got {pixels.dtype} {pixels.shape} and {labels.shape}"
            )
        if labels.dtype.kind not in "iu" or (len(labels) and labels.min() < 0):
            raise ValueError(f"expected {name} labels to be whole numbers of at least 0")
    if generated.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ValueError(
            "expected generated and test images of one shape, "
            f"got {generated.pixels.shape[1:]} and {test.pixels.shape[1:]}"
        )
