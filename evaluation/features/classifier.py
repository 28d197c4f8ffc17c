"""The dataset classifier as an extractor: trained once, cached by content, checked when loaded."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evaluation.features.base import (
    Extractor,
    ExtractorError,
    content_sha256,
    extract,
)
from evaluation.features.classifier_training import (
    ClassifierNetwork,
    train_network,
    training_recipe,
)
from evaluation.imagesets.atomic import move_folder, sha256_of, temporary_folder
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.extractors import EXTRACTORS

logger = logging.getLogger(__name__)

SPEC = EXTRACTORS[CLASSIFIER]
WEIGHTS = "weights.safetensors"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (N, C, H, W) and their class numbers int64 (N,), from 0."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier on disk: its folder, the digest of its weights, and how it came about.

    ``test_accuracy`` is a share in 0..1, ``None`` where no test images were given.
    """

    folder: Path
    weights_sha256: str
    recipe: dict[str, Any]
    train_digest: str
    test_digest: str
    test_accuracy: float | None

    @property
    def weights(self) -> Path:
        """Return the path of the weights file."""
        return self.folder / WEIGHTS

    @property
    def dim(self) -> int:
        """Return the width of the penultimate layer, whose activations are the features."""
        return int(self.recipe["architecture"]["hidden"])


class ClassifierExtractor(Extractor):
    """Features of the penultimate layer (N, 64), and class logits (N, K)."""

    name = SPEC.name
    layer = SPEC.layer

    def __init__(self, folder: Path, *, device: str | torch.device = "cpu") -> None:
        """Load the classifier in ``folder``, or of that folder's weights file.

        Raises:
            ExtractorError: if it is incomplete or its weights are not those of its manifest.
        """
        trained = read_classifier(folder)
        self.device = torch.device(device)
        self.weights_sha256 = trained.weights_sha256
        self.recipe: Mapping[str, Any] = trained.recipe
        self.dim = trained.dim
        self.trained = trained
        network = ClassifierNetwork(trained.recipe["architecture"])
        network.load_state_dict(load_file(trained.weights))
        self._network = network.to(self.device).eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 64) and logits (N, K) of uint8 images as they are."""
        features, logits = self._network(images)
        return features, logits


def prepare_classifier(
    cache: Path,
    train: LabelledImages,
    *,
    test: LabelledImages | None = None,
    num_classes: int | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainedClassifier:
    """Return the classifier of ``train``, from the folder ``cache`` or trained now.

    The cache key is the sha256 of recipe and train content; a damaged entry is trained anew.
    ``num_classes`` is by default one more than the largest label. ``on_progress`` receives the done
    share in 0..1, at once 1 if the classifier was found.

    Raises:
        ExtractorError: if the images cannot train a classifier.
        ExtractionStopped: if ``should_stop()`` turned true while training.
    """
    recipe = _recipe_for(train, num_classes)
    train_digest = content_sha256(train.pixels, train.labels)
    key = hashlib.sha256(f"{_canonical(recipe)}\n{train_digest}".encode()).hexdigest()
    folder = cache / f"classifier-{key[:16]}"
    trained = _read_if_whole(folder)
    if trained is None:
        network = train_network(
            recipe, train.pixels, train.labels, on_progress=on_progress, should_stop=should_stop
        )
        trained = _write_classifier(folder, network, recipe, train_digest, test)
    on_progress(1.0)
    return with_test_accuracy(trained, test)


def read_classifier(folder: Path) -> TrainedClassifier:
    """Return the classifier in ``folder``, or of its weights file, compared with its manifest.

    Raises:
        ExtractorError: if a file is missing or damaged.
    """
    folder = folder.parent if folder.name == WEIGHTS else folder
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = sha256_of(folder / WEIGHTS)
        trained = TrainedClassifier(
            folder=folder,
            weights_sha256=manifest["weights_sha256"],
            recipe=manifest["recipe"],
            train_digest=manifest["train_digest"],
            test_digest=manifest["test_digest"],
            test_accuracy=manifest["test_accuracy"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExtractorError(f"no classifier at {folder}: {error}") from error
    if found != trained.weights_sha256:
        raise ExtractorError(
            f"{folder / WEIGHTS} is damaged: expected sha256 {trained.weights_sha256}, got {found}"
        )
    return trained


def _read_if_whole(folder: Path) -> TrainedClassifier | None:
    if not folder.exists():
        return None
    try:
        return read_classifier(folder)
    except ExtractorError as error:
        logger.warning("training again: %s", error)
        shutil.rmtree(folder)
        return None


def _recipe_for(train: LabelledImages, num_classes: int | None) -> dict[str, Any]:
    pixels, labels = train.pixels, train.labels
    if len(pixels) == 0 or len(labels) != len(pixels):
        raise ExtractorError(
            f"expected as many labels as images, got {len(labels)} and {len(pixels)}"
        )
    classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.min() < 0 or labels.max() >= classes:
        raise ExtractorError(
            f"expected labels in 0..{classes - 1}, got {labels.min()}..{labels.max()}"
        )
    if len(np.unique(labels)) < 2:
        raise ExtractorError("expected at least 2 classes: a classifier of one has no features")
    return training_recipe(
        count=len(pixels),
        channels=pixels.shape[1],
        resolution=max(pixels.shape[2:]),
        num_classes=classes,
    )


def _write_classifier(
    folder: Path,
    network: ClassifierNetwork,
    recipe: dict[str, Any],
    train_digest: str,
    test: LabelledImages | None,
) -> TrainedClassifier:
    """Write weights and manifest.

    1. Write both to a new folder beside the final one. 2. Measure the test accuracy of what was
    written. 3. Rename; if somebody else was first, theirs is the same and ours is dropped.
    """
    with temporary_folder(folder) as part:
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, part / WEIGHTS)
        trained = TrainedClassifier(
            folder=part,
            weights_sha256=sha256_of(part / WEIGHTS),
            recipe=recipe,
            train_digest=train_digest,
            test_digest="",
            test_accuracy=None,
        )
        _write_manifest(trained)
        _write_manifest(with_test_accuracy(trained, test))
        try:
            move_folder(part, folder)
        except OSError:
            if not folder.exists():
                raise
    return read_classifier(folder)


def _write_manifest(trained: TrainedClassifier) -> None:
    record = {name: value for name, value in vars(trained).items() if name != "folder"}
    text = json.dumps(record, indent=2, sort_keys=True)
    (trained.folder / MANIFEST).write_text(text, encoding="utf-8")


def with_test_accuracy(
    trained: TrainedClassifier, test: LabelledImages | None
) -> TrainedClassifier:
    """Return the same with the accuracy on ``test``, measured unless it is the recorded one."""
    if test is None:
        return trained
    digest = content_sha256(test.pixels, test.labels)
    if digest == trained.test_digest:
        return trained
    logits = extract(ClassifierExtractor(trained.folder), test.pixels).logits
    assert logits is not None, "a classifier has logits"
    accuracy = float((logits.argmax(1).numpy() == test.labels).mean())
    return TrainedClassifier(**{**vars(trained), "test_digest": digest, "test_accuracy": accuracy})


def _canonical(recipe: dict[str, Any]) -> str:
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"))
