"""CAS: real images teach, noise does not, and the interval is Wilson's."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binomtest

from evaluation.features import classifier_training
from evaluation.features.base import ExtractionStopped
from evaluation.features.classifier import LabelledImages
from evaluation.metrics.classification_accuracy import classification_accuracy_score
from evaluation.metrics.uncertainty import wilson_interval
from evaluation.scoring.controls import uniform_noise
from tests.evaluation.factories import make_images

Digits = tuple[LabelledImages, LabelledImages]


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_training, "MIN_IMAGES_SEEN", 2560)
    monkeypatch.setattr(classifier_training, "PASSES", 6)


def few(count: int = 40, *, classes: int = 2, seed: int = 0) -> LabelledImages:
    return LabelledImages(
        pixels=make_images(count, seed=seed), labels=np.arange(count, dtype=np.int64) % classes
    )


def test_real_images_teach_what_the_test_asks(digits: Digits) -> None:
    train, test = digits

    result = classification_accuracy_score(train, test)

    assert result.value is not None and result.value > 0.9
    assert result.interval is not None and result.interval[0] < result.value < result.interval[1]
    assert result.details["test_images"] == 500
    assert result.details["right"] == round(result.value * 500)
    assert result.details["accuracy_on_generated"] > 0.9


def test_the_fewer_modes_the_less_is_learnt(digits: Digits) -> None:
    train, test = digits
    half = train.labels < 5
    collapsed = LabelledImages(pixels=train.pixels[half], labels=train.labels[half])
    noise = LabelledImages(pixels=uniform_noise((1, 8, 8), 600, seed=0), labels=train.labels[:600])

    values = [
        classification_accuracy_score(generated, test).value or 0.0
        for generated in (train, collapsed, noise)
    ]

    assert values[0] > 0.9 > 0.6 > values[1] > values[2]
    assert values[2] < 0.3


def test_the_score_is_the_same_every_time() -> None:
    first = classification_accuracy_score(few(), few(seed=1))

    assert classification_accuracy_score(few(), few(seed=1)) == first


def test_the_order_of_the_test_images_does_not_matter() -> None:
    test = few(30, seed=1)
    turned = LabelledImages(pixels=test.pixels[::-1], labels=test.labels[::-1])

    assert classification_accuracy_score(few(), turned) == classification_accuracy_score(
        few(), test
    )


def test_a_test_class_that_was_never_generated_is_never_right() -> None:
    test = few(30, seed=1)
    other = LabelledImages(pixels=test.pixels, labels=test.labels + 5)

    result = classification_accuracy_score(few(), other)

    assert result.value == 0
    assert result.interval is not None and result.interval[0] == 0 < result.interval[1]


@given(count=st.integers(1, 2000), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_the_score_interval_of_scipy(
    count: int, share: float, level: float
) -> None:
    right = round(share * count)

    expected = binomtest(right, count).proportion_ci(level, method="wilson")

    assert wilson_interval(right, count, level=level) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_without_labels_there_is_no_score() -> None:
    generated = classification_accuracy_score(None, few())
    test = classification_accuracy_score(few(), None)

    assert (generated.value, generated.reason) == (
        None,
        "needs labels, the generated images have none",
    )
    assert (test.value, test.reason) == (None, "needs labels, the test images have none")


def test_images_of_one_class_teach_nothing() -> None:
    result = classification_accuracy_score(few(classes=1), few())

    assert result.value is None
    assert result.reason == "needs generated images of at least 2 classes, got 1"


def test_without_test_images_there_is_no_score() -> None:
    result = classification_accuracy_score(few(), few(0))

    assert result.reason == "needs images on each side, got 40 generated and 0 test images"


def test_the_training_can_be_stopped_and_tells_how_far_it_is() -> None:
    shares: list[float] = []

    classification_accuracy_score(few(), few(seed=1), on_progress=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1
    with pytest.raises(ExtractionStopped):
        classification_accuracy_score(few(), few(), should_stop=lambda: True)


def test_images_that_do_not_fit_together_are_refused() -> None:
    one, other = few(), LabelledImages(pixels=make_images(4, side=12), labels=np.arange(4) % 2)
    short = LabelledImages(pixels=make_images(4), labels=np.zeros(3, np.int64))
    negative = LabelledImages(pixels=make_images(2), labels=np.array([0, -1]))

    with pytest.raises(ValueError, match="images of one shape"):
        classification_accuracy_score(one, other)
    with pytest.raises(ValueError, match="a label of each"):
        classification_accuracy_score(short, one)
    with pytest.raises(ValueError, match="whole numbers of at least 0"):
        classification_accuracy_score(negative, one)
