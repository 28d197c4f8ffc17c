"""The dataset classifier: good enough, the same every time, and never a damaged one."""

import hashlib
import json
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.features import classifier_training
from evaluation.features.base import ExtractionStopped, ExtractorError, extract
from evaluation.features.classifier import (
    ClassifierExtractor,
    LabelledImages,
    TrainedClassifier,
    prepare_classifier,
    read_classifier,
)
from evaluation.features.classifier_training import ClassifierNetwork, training_recipe
from evaluation.imagesets.atomic import sha256_of
from tests.evaluation.factories import make_images

Digits = tuple[LabelledImages, LabelledImages]


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_training, "MIN_IMAGES_SEEN", 1280)
    monkeypatch.setattr(classifier_training, "PASSES", 1)


@pytest.fixture
def few() -> LabelledImages:
    return LabelledImages(pixels=make_images(60), labels=np.arange(60) % 3)


def test_the_classifier_knows_the_digits(trained: TrainedClassifier) -> None:
    assert trained.test_accuracy is not None and trained.test_accuracy >= 0.97
    assert trained.dim == 64
    assert trained.weights_sha256 == sha256_of(trained.weights)


def test_a_second_request_finds_the_first_one_in_the_cache(
    trained: TrainedClassifier, digits: Digits
) -> None:
    shares: list[float] = []

    again = prepare_classifier(
        trained.folder.parent, digits[0], test=digits[1], on_progress=shares.append
    )

    assert again == trained
    assert shares == [1.0]


@pytest.mark.usefixtures("short_training")
def test_the_weights_do_not_depend_on_threads_or_on_other_random_numbers(
    tmp_path: Path, few: LabelledImages
) -> None:
    digests = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        before = torch.get_rng_state()
        digests.append(prepare_classifier(tmp_path / str(threads), few).weights_sha256)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)

    assert digests[0] == digests[1]


@pytest.mark.usefixtures("short_training")
def test_other_images_or_labels_are_another_classifier(tmp_path: Path, few: LabelledImages) -> None:
    pixels = few.pixels.copy()
    pixels[0, 0, 0, 0] ^= 1
    labels = few.labels.copy()
    labels[0] = 1

    folders = {
        prepare_classifier(tmp_path, images).folder
        for images in (few, LabelledImages(pixels, few.labels), LabelledImages(few.pixels, labels))
    }

    assert len(folders) == 3


@pytest.mark.usefixtures("short_training")
def test_a_damaged_classifier_is_refused_and_trained_again(
    tmp_path: Path, few: LabelledImages
) -> None:
    first = prepare_classifier(tmp_path, few)
    data = bytearray(first.weights.read_bytes())
    data[-1] ^= 1
    first.weights.write_bytes(data)

    with pytest.raises(ExtractorError) as caught:
        ClassifierExtractor(first.folder)
    again = prepare_classifier(tmp_path, few)

    assert str(caught.value) == (
        f"{first.weights} is damaged: expected sha256 {first.weights_sha256}, "
        f"got {hashlib.sha256(data).hexdigest()}"
    )
    assert again == first
    assert read_classifier(first.folder) == first


@pytest.mark.usefixtures("short_training")
def test_a_stopped_training_leaves_nothing_behind(tmp_path: Path, few: LabelledImages) -> None:
    asked = count()

    with pytest.raises(ExtractionStopped):
        prepare_classifier(tmp_path / "cache", few, should_stop=lambda: next(asked) >= 3)

    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("short_training")
def test_progress_rises_to_one(tmp_path: Path, few: LabelledImages) -> None:
    shares: list[float] = []

    prepare_classifier(tmp_path, few, on_progress=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) == 11


def test_a_missing_classifier_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=f"no classifier at {tmp_path}: "):
        ClassifierExtractor(tmp_path)


def test_a_manifest_without_its_fields_is_no_classifier(
    tmp_path: Path, trained: TrainedClassifier
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained.folder, folder)
    (folder / "manifest.json").write_text(json.dumps({"recipe": {}}))

    with pytest.raises(ExtractorError, match=r"no classifier at .*: 'weights_sha256'"):
        read_classifier(folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(59), "expected as many labels as images, got 59 and 60"),
        (
            np.zeros(60, np.int64),
            "expected at least 2 classes: a classifier of one has no features",
        ),
        (np.arange(60), "expected labels in 0..9, got 0..59"),
        (np.arange(60) - 1, "expected labels in 0..9, got -1..58"),
    ],
)
def test_labels_that_cannot_train_a_classifier_are_refused(
    tmp_path: Path, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ExtractorError) as caught:
        prepare_classifier(
            tmp_path, LabelledImages(pixels=make_images(60), labels=labels), num_classes=10
        )

    assert str(caught.value) == message


def test_features_do_not_depend_on_the_batch_size(
    trained: TrainedClassifier, digits: Digits
) -> None:
    extractor = ClassifierExtractor(trained.weights)

    whole = extract(extractor, digits[1].pixels, batch_size=500)
    pieces = extract(extractor, digits[1].pixels, batch_size=7)

    assert whole.features.shape == (500, 64)
    assert whole.features.dtype == torch.float32
    assert bool((whole.features >= 0).all())
    torch.testing.assert_close(whole.features, pieces.features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.logits, pieces.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resolution", [8, 12, 16, 28, 32, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_resolution_has_a_network_of_moderate_size(resolution: int, channels: int) -> None:
    recipe = training_recipe(count=100, channels=channels, resolution=resolution, num_classes=10)

    network = ClassifierNetwork(recipe["architecture"]).eval()
    features, logits = network(torch.zeros(2, channels, resolution, resolution, dtype=torch.uint8))

    assert features.shape == (2, 64)
    assert logits.shape == (2, 10)
    assert sum(p.numel() for p in network.parameters()) < 150_000


def test_the_recipe_sees_more_of_small_datasets_but_never_too_much() -> None:
    seen = [
        training_recipe(count=count, channels=1, resolution=8, num_classes=2)["images_seen"]
        for count in (10, 1297, 60_000)
    ]

    assert seen == [20_000, 62_256, 150_000]


@pytest.mark.usefixtures("short_training")
def test_the_memory_layout_of_the_images_does_not_matter(
    tmp_path: Path, few: LabelledImages
) -> None:
    other = few.pixels.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)

    first = prepare_classifier(tmp_path / "a", few)
    second = prepare_classifier(tmp_path / "b", LabelledImages(other, few.labels))

    extractor = ClassifierExtractor(first.folder)
    assert other.strides != few.pixels.strides
    assert first.weights_sha256 == second.weights_sha256
    assert torch.equal(extract(extractor, other).features, extract(extractor, few.pixels).features)
