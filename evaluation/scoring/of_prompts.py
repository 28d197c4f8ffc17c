"""The metrics of prompts: what images were asked with, what the judge reads, what follows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.prompts.following import Asked, following, open_entropy, unparsed
from evaluation.metrics.uncertainty import MetricResult, undefined
from evaluation.protocols.prompt_specs import PROMPTS, following_claim
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import Protocol
from evaluation.scenes.claims import ALL, JUDGE, SIDES, UNSEEN, Scene, read_claims
from evaluation.scenes.parsing import parse_all
from evaluation.scenes.wording import in_words
from evaluation.scoring.checks import EvaluationError
from evaluation.scoring.of_images import Work

JUDGED = tuple(spec.name for spec in PROMPTS if "claims" in spec.needs)


def check_prompts(protocol: Protocol, prompts: PromptSet | None, images: ImageStream) -> None:
    """Raise EvaluationError unless each image was asked with the prompt that the protocol plans."""
    rule = protocol.prompts
    if rule is None:
        if prompts is not None:
            raise EvaluationError("prompts: the protocol has none")
        return
    if prompts is None:
        raise EvaluationError(f"expected the prompts of digest {rule['digest']}, got none")
    if (found := prompts.digest()) != rule["digest"]:
        raise EvaluationError(
            f"the prompts are not the protocol's: expected digest {rule['digest']}, got {found}"
        )
    if rule["judge"] not in (None, JUDGE):
        raise EvaluationError(f"prompts judge: this version has {JUDGE}, not {rule['judge']}")
    if images.count != protocol.num_images:
        raise EvaluationError(
            f"{images.name}: expected {protocol.num_images:,} images, "
            f"{rule['images_per_prompt']} of each prompt, got {images.count or 'an iterator'}"
        )
    _check_plan(images, prompts.texts_of(protocol.num_images))


def _check_plan(images: ImageStream, planned: list[str]) -> None:
    if images.captions is None:
        raise EvaluationError(
            f"{images.name}: no captions; expected the prompt that each image was asked with"
        )
    for index, (found, text) in enumerate(zip(images.captions, planned, strict=True)):
        if found != text:
            raise EvaluationError(
                f"{images.name}: image {index} was asked with {found!r}; the protocol's prompts in "
                f"turn ask it with {text!r}"
            )


def measure_judged(work: Work) -> dict[str, MetricResult]:
    """Return all metrics of the protocol that need to know what the images show."""
    names = [name for name in JUDGED if name in work.protocol.metrics]
    _, height, width = shape = work.fake.shape
    if shape[0] != 3 or height not in SIDES:
        reason = f"images of {width}x{height}x{shape[0]}: scenes are 32x32x3 or 64x64x3"
        return {name: undefined(reason) for name in names}
    images = _asked(work)
    found = {
        name: _measured(name, work.protocol.metrics[name], images, work.level) for name in names
    }
    if "unparsed" in found:
        found["unparsed"] = replace(found["unparsed"], details={"first": _first_of_each(images)})
    return found


def _first_of_each(images: list[Asked]) -> list[dict[str, Any]]:
    """Return what is read in the first image of each prompt, for people to look at."""
    firsts: dict[int, Asked] = {}
    for image in images:
        firsts.setdefault(image.prompt, image)
    return [
        {
            "prompt": number,
            "read": None if image.scene is None else in_words(image.scene),
            "follows": image.found[ALL],
        }
        for number, image in firsts.items()
    ]


def _measured(name: str, parameters: Any, images: list[Asked], level: float) -> MetricResult:
    if measure := _OF_ALL.get(name):
        return measure(images, level=level)
    claim, held_out = following_claim(parameters)
    chosen = [image for image in images if (image.group == UNSEEN) == held_out]
    return following(chosen, claim, level=level)


_OF_ALL: dict[str, Callable[..., MetricResult]] = {
    "unparsed": unparsed,
    "open_entropy": open_entropy,
}


def _asked(work: Work) -> list[Asked]:
    """Return the images whose prompts have claims, with what is read in them."""
    assert work.prompts is not None, "checked with the sets"
    prompts = work.prompts.prompts
    claims = [None if each.claims is None else read_claims(each.claims) for each in prompts]
    asked: list[Asked] = []
    for index, scene in enumerate(_scenes(work)):
        number = index % len(prompts)
        if (claimed := claims[number]) is not None:
            asked.append(Asked(number, prompts[number].group, claimed, scene))
    return asked


def _scenes(work: Work) -> list[Scene | None]:
    scenes: list[Scene | None] = []
    for chunk in work.fake.chunks():
        work.keep_going()
        scenes += parse_all(chunk)
    return scenes
