"""A sampler from the truth scores the floor of imbalanced data where its labels follow the rule."""

import numpy as np
import pytest

from evaluation.imagesets.opening import images_digest
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.record import Protocol
from evaluation.scoring.evaluate import evaluate_images
from generators.trained.labels import balanced_labels, labels_by_share
from tests.evaluation.factories import RandomProjection

SHARES = (0.7, 0.2, 0.1)
COUNT = 1000


def draw(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Return images of these classes, each bright in its third, with noise of their own."""
    rng = np.random.default_rng(seed)
    images = rng.normal(90, 25, (len(labels), 1, 8, 8))
    for label in range(3):
        images[labels == label, :, :, 3 * label : 3 * label + 2] += 60
    return images.round().clip(0, 255).astype(np.uint8)


def truth(*, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(seed).choice(3, COUNT, p=SHARES)
    return draw(labels, seed=seed + 1000), labels


def protocol_of(images: np.ndarray, labels: np.ndarray, extractor: RandomProjection) -> Protocol:
    counts = tuple(int(count) for count in np.bincount(labels, minlength=3))
    splits = {"train": SplitFacts(images_digest(images), COUNT, class_counts=counts)}
    return build_protocol(
        DatasetFacts("imbalanced", 8, 1, splits),
        extractor=CLASSIFIER,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        metrics=["fd"],
        num_images=COUNT,
    )


def test_labels_in_the_references_shares_score_the_floor_and_labels_in_turn_do_not() -> None:
    extractor = RandomProjection(scale=0.05)
    reference, labels = truth(seed=1)
    protocol = protocol_of(reference, labels, extractor)
    assert protocol.images.labels is not None

    def distance(generated: np.ndarray) -> float:
        found = evaluate_images(protocol, generated, reference, extractor=extractor)
        value = found.values["fd"].value
        assert value is not None
        return value

    floor = [distance(truth(seed=seed)[0]) for seed in (2, 3, 4)]
    ruled = labels_by_share(COUNT, protocol.images.labels["shares"])

    assert distance(draw(ruled, seed=5)) < max(floor) * 1.1
    assert distance(draw(balanced_labels(COUNT, 3), seed=5)) > 2 * max(floor)
    assert np.bincount(ruled).tolist() == pytest.approx([1000 * s for s in SHARES], abs=60)
