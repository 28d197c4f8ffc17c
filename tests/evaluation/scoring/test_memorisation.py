"""Copies and C_T of a protocol: what they need, what is kept, and protocols of before."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.features.base import ExtractionStopped
from evaluation.features.classifier import LabelledImages
from evaluation.imagesets.opening import images_digest, open_images
from evaluation.metrics.pairs.thumbnails import nearest_thumbnails
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.record import Protocol
from evaluation.scoring.evaluate import EvaluationError, evaluate_images
from evaluation.scoring.references import build_reference, load_reference
from tests.evaluation.factories import RandomProjection

Digits = tuple[LabelledImages, LabelledImages]

EXTRACTOR = RandomProjection()


def protocol_for(digits: Digits, *metrics: str) -> Protocol:
    splits = {
        name: SplitFacts(images_digest(split.pixels), len(split.pixels))
        for name, split in zip(("train", "test"), digits, strict=True)
    }
    return build_protocol(
        DatasetFacts("digits", 8, 1, splits),
        extractor=CLASSIFIER,
        weights_sha256=EXTRACTOR.weights_sha256,
        recipe=EXTRACTOR.recipe,
        metrics=metrics,
        num_images=400,
    )


def score(digits: Digits, generated: Any, **more: Any) -> MetricResult:
    train, test = digits
    options = {"reference": train.pixels, "held_out": test.pixels, **more}
    found = evaluate_images(
        protocol_for(digits, "copies"), generated, extractor=EXTRACTOR, **options
    )
    assert found.labels == {"copies": "Copies"}
    return found.values["copies"]


def test_training_images_are_copies_and_unseen_ones_are_not(digits: Digits) -> None:
    train, test = digits

    copied, unseen = score(digits, train.pixels), score(digits, test.pixels)

    assert copied.value == 1
    assert unseen.value is not None and unseen.value < 0.02
    assert copied.details["p_value"] < 1e-50 < 0.1 < unseen.details["p_value"]
    assert {name: copied.details[name] for name in ("generated", "below", "held_out", "rank")} == {
        "generated": 400,
        "below": 400,
        "held_out": 500,
        "rank": 5,
    }
    assert unseen.interval is not None and unseen.interval[1] < 0.05


def test_the_nearest_images_are_named_by_their_place_among_all(digits: Digits) -> None:
    generated = digits[1].pixels.copy()
    generated[-1] = digits[0].pixels[7]

    found = score(digits, generated[100:])  # all 400 are scored

    first = found.details["nearest"][0]
    assert (first["generated"], first["training"], first["distance"]) == (399, 7, 0.0)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"held_out": None}, "needs held-out real images"),
        (
            {"generated": "iterator"},
            "needs images that can be read again: an iterator is read once",
        ),
        (
            {"reference": "saved"},
            "needs the training images: the reference is saved without its pixels",
        ),
    ],
)
def test_without_what_it_needs_it_is_absent(
    digits: Digits, tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    options: dict[str, Any] = {"generated": digits[1].pixels, **more}
    if more.get("generated"):
        options["generated"] = chunks(digits[1].pixels)
    if more.get("reference"):
        build_reference(tmp_path, "digits", open_images(digits[0].pixels), EXTRACTOR)
        options["reference"] = load_reference(tmp_path, "digits")

    found = score(digits, **options)

    assert (found.value, found.reason) == (None, reason)


def chunks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.array_split(pixels, 4)


def test_other_held_out_images_are_refused(digits: Digits) -> None:
    with pytest.raises(EvaluationError, match="the held-out images are not the protocol's"):
        score(digits, digits[1].pixels, held_out=digits[1].pixels[::-1].copy())


def test_held_out_images_are_compared_once(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(digits, digits[1].pixels, cache=tmp_path)
    measured: list[int] = []

    def counted(small: Any, to: Any, **more: Any) -> Any:
        measured.append(len(small))
        return nearest_thumbnails(small, to, **more)

    monkeypatch.setattr("evaluation.scoring.of_images.nearest_thumbnails", counted)
    again = score(digits, digits[1].pixels, cache=tmp_path)

    assert again == first
    assert measured == [400]  # the generated ones alone


def test_it_says_how_far_it_is_and_ends_when_asked(digits: Digits) -> None:
    shares: list[float] = []

    def report(stage: str, share: float) -> None:
        if stage == "copies":
            shares.append(share)

    score(digits, digits[1].pixels, on_progress=report)

    assert shares == sorted(shares)
    assert (shares[0], shares[-1], len(shares) > 8) == (0, 1, True)
    for last in (0.0, 0.1, 0.5):
        shares.clear()
        with pytest.raises(ExtractionStopped):
            score(
                digits,
                digits[1].pixels,
                on_progress=report,
                should_stop=lambda last=last: bool(shares) and shares[-1] >= last,
            )


def test_a_protocol_of_before_is_scored_without_an_interval(digits: Digits) -> None:
    """Its record says that C_T has none, and has no copies."""
    train, test = digits
    protocol = protocol_for(digits, "ct")
    record = protocol.to_record()
    record["uncertainty"]["ct"] = {"method": "none"}
    before = Protocol.from_record(record)

    old, new = (
        evaluate_images(
            each, test.pixels[::-1], train.pixels, extractor=EXTRACTOR, held_out=test.pixels
        ).values["ct"]
        for each in (before, protocol)
    )

    assert before.to_record() == record
    assert before.fingerprint() == hashlib.sha256(before.canonical_json().encode()).hexdigest()
    assert before.fingerprint() != protocol.fingerprint()
    assert (old.value, old.details) == (new.value, new.details)
    assert (old.interval, old.reason) == (None, "no interval: the protocol asks for none")
    assert new.interval is not None and old.value is not None
    assert new.interval[0] < old.value < new.interval[1]


def test_a_protocol_with_another_method_or_parameter_is_refused(digits: Digits) -> None:
    for path, value, message in (
        (("uncertainty", "ct", "method"), "bootstrap", "ct method: this version computes"),
        (("metrics", "copies", "share"), 0.05, "copies share: this version computes 0.01"),
        (("uncertainty", "copies", "method"), "none", "copies method: this version computes"),
    ):
        record: Any = protocol_for(digits, "ct", "copies").to_record()
        record[path[0]][path[1]][path[2]] = value
        with pytest.raises(EvaluationError, match=message):
            evaluate_images(
                Protocol.from_record(record),
                digits[1].pixels,
                digits[0].pixels,
                extractor=EXTRACTOR,
                held_out=digits[1].pixels,
            )
