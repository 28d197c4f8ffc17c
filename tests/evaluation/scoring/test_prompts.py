"""Protocols with prompts: what images are asked with is checked, read back and counted."""

import re
from typing import Any

import numpy as np
import pytest

from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.stream import images_digest
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.prompt_specs import OF_PROMPTS
from evaluation.protocols.prompts import PromptSet, packaged_prompts
from evaluation.protocols.record import Protocol
from evaluation.scenes.claims import read_claims
from evaluation.scenes.drawing import draw_scenes
from evaluation.scoring.controls import asked_scenes, uniform_noise
from evaluation.scoring.evaluate import EvaluationError, EvaluationResult, evaluate_images
from tests.evaluation.factories import RandomProjection, make_images

PROMPTS = packaged_prompts("scenes")
EACH = 8
COUNT = EACH * len(PROMPTS.prompts)
CLAIMS = [read_claims(prompt.claims) for prompt in PROMPTS.prompts]
EXTRACTOR = RandomProjection(channels=3, side=32)
REAL = draw_scenes(100, 32, 9).pixels


def make_protocol(prompts: PromptSet | None = PROMPTS, **more: Any) -> Protocol:
    values: dict[str, Any] = {"metrics": OF_PROMPTS, "images_per_prompt": EACH, **more}
    splits = {"train": SplitFacts(images_digest(REAL), len(REAL))}
    return build_protocol(
        DatasetFacts("scenes", 32, 3, splits),
        extractor=CLASSIFIER,
        weights_sha256=EXTRACTOR.weights_sha256,
        recipe=EXTRACTOR.recipe,
        prompts=prompts,
        **values,
    )


def asked(pixels: np.ndarray, prompts: PromptSet = PROMPTS) -> ImageStream:
    stream = open_images(pixels, name="samples")
    stream.captions = tuple(prompts.texts_of(len(pixels)))
    return stream


def scored(images: ImageStream, protocol: Protocol | None = None, **more: Any) -> EvaluationResult:
    values = {"prompts": PROMPTS, **more}
    return evaluate_images(protocol or make_protocol(), images, REAL, extractor=EXTRACTOR, **values)


def test_real_scenes_follow_all_their_prompts() -> None:
    found = scored(asked(asked_scenes(CLAIMS, COUNT, 32, seed=0))).values

    following = [found[name].value for name in OF_PROMPTS if name.startswith("following")]
    assert following == [1.0] * 9 and found["unparsed"].value == 0
    groups = found["following"].details["groups"]
    assert groups["colour"]["images"] == 6 * EACH and "held-out" not in groups
    assert [*found["following_held_out"].details["groups"]] == ["held-out"]
    assert (found["open_entropy"].value or 0) > 1 and (found["prompt_vendi"].value or 0) > 1


def test_scenes_for_the_prompts_of_other_images_follow_by_chance() -> None:
    pixels = asked_scenes(CLAIMS, COUNT, 32, seed=0, shuffled=True)

    found = scored(asked(pixels)).values

    assert found["unparsed"].value == 0
    assert 0 < (found["following"].value or 0) < 0.1
    assert 0 < (found["following_colour"].value or 0) < 0.25
    assert 0.2 < (found["following_count"].value or 0) < 0.6


def test_what_cannot_be_read_has_no_following() -> None:
    found = scored(asked(uniform_noise((3, 32, 32), COUNT, seed=0))).values

    assert found["unparsed"].value == 1
    assert found["following"].value is None
    assert found["following"].reason.startswith("none of the ")
    assert found["open_entropy"].value is None


def test_captions_that_are_not_the_plan_are_refused() -> None:
    pixels = make_images(COUNT, channels=3, side=32)
    plain, turned = asked(pixels), asked(pixels)
    plain.captions = None
    assert turned.captions is not None
    turned.captions = (*turned.captions[:2], "a cat", *turned.captions[3:])

    for images, message in (
        (plain, "samples: no captions; expected the prompt that each image was asked with"),
        (
            turned,
            "samples: image 2 was asked with 'a cat'; the protocol's prompts in turn ask it with "
            "'a blue shape'",
        ),
        (
            asked(pixels[:-1]),
            f"expected at least {COUNT} generated images, got {COUNT - 1}",
        ),
        (
            asked(np.concatenate([pixels, pixels[:1]])),
            f"samples: expected {COUNT} images, {EACH} of each prompt, got {COUNT + 1}",
        ),
        (
            open_images(iter([pixels]), name="samples"),
            f"samples: expected {COUNT} images, {EACH} of each prompt, got an iterator",
        ),
    ):
        with pytest.raises(EvaluationError, match=f"^{re.escape(message)}$"):
            scored(images)


def test_other_prompts_are_refused() -> None:
    images = asked(make_images(COUNT, channels=3, side=32))
    other = PromptSet(tuple(reversed(PROMPTS.prompts)))
    without = make_protocol(None, metrics=["fd"], images_per_prompt=None, num_images=COUNT)

    with pytest.raises(EvaluationError, match=r"^the prompts are not the protocol's: expected"):
        scored(images, prompts=other)
    with pytest.raises(EvaluationError, match=r"^expected the prompts of digest .*, got none$"):
        scored(images, prompts=None)
    with pytest.raises(EvaluationError, match=r"^prompts: the protocol has none$"):
        scored(images, without)


def test_another_judge_is_not_taken_for_this_one() -> None:
    record = make_protocol().to_record()
    record["prompts"]["judge"] = "scenes-9"

    with pytest.raises(EvaluationError, match=r"^prompts judge: this version has scenes-1, not"):
        scored(asked(make_images(COUNT, channels=3, side=32)), Protocol.from_record(record))


def test_metrics_of_prompts_need_prompts_and_claims() -> None:
    record = make_protocol().to_record()
    del record["prompts"]
    bare = PromptSet.from_record(
        {"version": 1, "prompts": [{"id": "1", "text": "a cat", "group": "animals"}]}
    )

    with pytest.raises(ProtocolError, match=r"^metrics\.following: needs prompts with claims$"):
        Protocol.from_record(record)
    with pytest.raises(ProtocolError, match=r"^metrics\.following: needs prompts with claims$"):
        make_protocol(bare, metrics=["following"])
    assert list(make_protocol(bare, metrics=["prompt_vendi"]).metrics) == ["prompt_vendi"]
    assert "following" not in make_protocol(bare, metrics=None).metrics
    assert "following" in make_protocol(metrics=None).metrics


def test_images_of_another_size_are_not_judged() -> None:
    grey = RandomProjection(channels=3, side=8)
    real = make_images(50, channels=3)
    protocol = build_protocol(
        DatasetFacts("noise", 8, 3, {"train": SplitFacts(images_digest(real), 50)}),
        extractor=CLASSIFIER,
        weights_sha256=grey.weights_sha256,
        recipe=grey.recipe,
        prompts=PROMPTS,
        images_per_prompt=2,
        metrics=["following", "unparsed"],
    )

    found = evaluate_images(
        protocol,
        asked(make_images(2 * len(PROMPTS.prompts), channels=3)),
        real,
        extractor=grey,
        prompts=PROMPTS,
    )

    reason = "images of 8x8x3: scenes are 32x32x3 or 64x64x3"
    assert [each.reason for each in found.values.values()] == [reason, reason]


def test_shuffled_scenes_are_those_of_a_permutation_of_the_prompts() -> None:
    plain = asked_scenes(CLAIMS, COUNT, 32, seed=4)

    assert np.array_equal(plain, asked_scenes(CLAIMS, COUNT, 32, seed=4))
    assert not np.array_equal(plain, asked_scenes(CLAIMS, COUNT, 32, seed=4, shuffled=True))
    assert not np.array_equal(plain, asked_scenes(CLAIMS, COUNT, 32, seed=5))
    with pytest.raises(ValueError, match="expected the claims of at least 1 prompt"):
        asked_scenes([], 3, 32, seed=0)
