"""What a protocol needs before its values are ranked: a classifier that is right, enough images."""

import numpy as np
import pytest
from scipy.stats import binom

from evaluation.metrics.uncertainty import undefined
from evaluation.protocols.building import build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER, RANDOM_CONVOLUTION
from evaluation.protocols.record import Protocol
from evaluation.scoring.admission import Admission
from evaluation.scoring.requirements import NO_ACCURACY, Accuracy, image_shortages, judged
from tests.evaluation.factories import make_dataset, make_protocol

PASSED = Admission(
    count=500,
    seed=0,
    floor=undefined("not measured here"),
    ladders={},
    batch_invariance=0.0,
    reasons=(),
)


def accuracy(right: int, images: int, *, classes: int = 10) -> Accuracy:
    return Accuracy.on(np.arange(images) % classes, right / images)


def test_a_classifier_that_is_right_on_25_of_40_images_is_not_fit() -> None:
    found = judged(PASSED, is_classifier=True, accuracy=accuracy(25, 40))

    assert not found.passed
    assert found.reasons == (
        "the classifier is right on 62.5% of 40 held-out images, which shows no more than 48.3% "
        "with 95% confidence; expected 55.0%, half way from the 10.0% of one answer for all to "
        "100%",
    )


@pytest.mark.parametrize(
    ("right", "images", "classes", "is_fit"),
    [
        (485, 500, 10, True),  # the packaged digits
        (6_900, 10_000, 10, True),  # ten classes of colour photographs
        (5_580, 10_000, 10, False),  # above the floor, but not beyond doubt
        (4_000, 10_000, 10, False),
        (700, 1_000, 2, False),  # of two classes three quarters are asked for
        (800, 1_000, 2, True),
        (6, 6, 10, True),
        (5, 6, 10, False),
    ],
)
def test_how_often_a_classifier_must_be_right_depends_on_its_classes_and_on_the_images(
    right: int, images: int, classes: int, is_fit: bool
) -> None:
    assert (accuracy(right, images, classes=classes).failure() == "") is is_fit


def test_one_answer_for_all_is_no_skill() -> None:
    labels = np.repeat([0, 1], [900, 100])

    always_the_first = Accuracy.on(labels, 0.9)

    assert always_the_first.floor == pytest.approx(0.95)
    assert always_the_first.failure().startswith("the classifier is right on 90.0% of 1,000")


@pytest.mark.parametrize("images", [20, 40, 160, 500, 2000])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_classifier_below_the_floor_passes_by_luck_in_a_twentieth_of_all_cases(
    images: int, classes: int
) -> None:
    floor = Accuracy(0.5, images, 1 / classes).floor
    fit = [n for n in range(images + 1) if not Accuracy(n / images, images, 1 / classes).failure()]

    by_luck = float(binom.pmf(fit, images, floor).sum())

    assert by_luck <= 0.05


def test_a_classifier_of_which_nothing_is_known_is_not_fit_and_other_extractors_need_not_be() -> (
    None
):
    assert judged(PASSED, is_classifier=True, accuracy=None).reasons == (NO_ACCURACY,)
    assert judged(PASSED, is_classifier=False, accuracy=None).passed


def test_40_images_on_64_features_give_no_ranks_by_frechet_distance() -> None:
    protocol = make_protocol(num_images=40)

    found = judged(PASSED, is_classifier=True, accuracy=accuracy(485, 500), protocol=protocol)

    assert not found.passed and found.reasons == ()
    few = "40 scored images are fewer than 5 for each of 64 features; it takes 320"
    assert found.unranked == {
        "fd": f"FD[classifier]: {few}",
        "fd_population": f"Population FD[classifier]: {few}",
    }
    record = found.to_record()
    assert (record["version"], record["passed"], record["reasons"]) == (2, False, [])
    assert record["unranked"] == found.unranked
    assert record["classifier"]["accuracy"] == 0.97


def test_320_images_on_64_features_are_enough() -> None:
    assert image_shortages(make_protocol(num_images=320)) == {}
    assert list(image_shortages(make_protocol(num_images=319))) == ["fd", "fd_population"]


def test_the_reference_needs_as_many() -> None:
    protocol = make_protocol(make_dataset(train=300), num_images=400)

    assert image_shortages(protocol)["fd"].startswith(
        "FD[classifier]: 300 reference images are fewer"
    )


def build(extractor: str, *metrics: str, dim: int, num_images: int = 500) -> Protocol:
    return build_protocol(
        make_dataset(),
        extractor=extractor,
        weights_sha256="d" * 64,
        recipe={"keys": [0, 1, 2]}
        if extractor == RANDOM_CONVOLUTION
        else {"architecture": {"classes": 10}},
        dim=dim,
        metrics=metrics,
        num_images=num_images,
    )


def test_networks_side_by_side_are_counted_one_by_one_and_classes_too() -> None:
    three = build(RANDOM_CONVOLUTION, "fd", dim=192)
    classes = build(CLASSIFIER, "class_fd", "fd_infinity", "kd", dim=64)

    assert image_shortages(three) == {}
    assert image_shortages(classes) == {
        "class_fd": "Per-class FD[classifier]: 500 scored images and 1,297 reference images are "
        "fewer than 5 for each of 64 features in each of 10 classes; it takes 3,200"
    }
    assert list(image_shortages(build(CLASSIFIER, "fd_infinity", "kd", dim=64, num_images=40))) == [
        "fd_infinity"
    ]
