"""How images follow prompts and how varied they are, against what is known beforehand."""

import math
from typing import Any

import numpy as np
import pytest

from evaluation.metrics.prompts.following import Asked, following, open_entropy, unparsed
from evaluation.metrics.prompts.variety import vendi_within_prompts
from evaluation.metrics.uncertainty import MetricResult, wilson_interval
from evaluation.scenes.claims import COLOURS, SHAPES, Claim, Claims, Scene, Thing, read_claims
from tests.evaluation.factories import coverage

RED = read_claims({"objects": [{"colour": "red", "count": 1}]})
ANY = Claims((Claim(count=1),))


def scene(colour: str = "red", shape: str = "circle") -> Scene:
    return Scene((Thing(colour, shape, "small", 2, 2, 9),))


def asked(
    *scenes: Scene | None, claims: Claims = RED, group: str = "colour", prompt: int = 0
) -> Any:
    return [Asked(prompt, group, claims, each) for each in scenes]


def test_following_is_the_share_of_all_images_that_have_what_is_claimed() -> None:
    images = asked(scene(), scene(), scene("blue"), None)

    found = following(images)

    assert found.value == 0.5
    assert found.interval == wilson_interval(2, 4, level=0.95)
    assert found.details["unparsed"] == 1
    assert found.details["share_of_read"] == 2 / 3


def test_an_attribute_counts_where_it_is_claimed() -> None:
    shapes = read_claims({"objects": [{"shape": "cross", "count": 1}]})
    images = asked(scene(), scene("blue")) + asked(scene(), claims=shapes, group="shape")

    assert following(images, "colour").value == 0.5
    assert following(images, "shape").value == 0
    assert following(images, "count").value == 1
    assert following(images, "relation").reason == "no prompt here claims a relation"


def test_each_group_is_told_by_itself() -> None:
    images = asked(scene()) + asked(scene("blue"), scene(), group="pair", prompt=1)

    groups = following(images).details["groups"]

    assert [(name, each["value"], each["images"]) for name, each in groups.items()] == [
        ("colour", 1, 1),
        ("pair", 0.5, 2),
    ]
    assert tuple(groups["pair"]["interval"]) == wilson_interval(1, 2, level=0.95)


def test_images_that_cannot_be_read_are_no_zero() -> None:
    images = asked(None, None)

    assert following(images).value is None
    assert following(images).reason == "none of the 2 images could be read"
    assert unparsed(images).value == 1
    assert unparsed(asked(scene(), None)).interval == wilson_interval(1, 2, level=0.95)
    assert unparsed([]).value is None


def test_the_entropy_of_what_is_left_open_is_in_bits_of_each_attribute() -> None:
    shapes = [scene(shape=shape) for shape in SHAPES] * 2

    found = open_entropy(asked(*shapes))

    assert found.value == pytest.approx(2)  # four shapes, one size
    seven = 3 * (2 / 7) * math.log2(7 / 2) + math.log2(7) / 7  # bits without any of the images
    assert found.corrected == pytest.approx(8 * 2 - 7 * seven)
    assert found.details == {"prompts": 1, "of_prompts": 1}


def test_images_that_do_not_follow_and_prompts_that_leave_nothing_open_do_not_count() -> None:
    whole = read_claims({"objects": [{"colour": "red", "shape": "circle", "size": "small"}]})
    others = asked(scene(), scene(), claims=whole, prompt=1)

    right = asked(scene(shape="cross"), scene(shape="circle"))
    wrong = asked(scene("blue"), None)

    assert open_entropy(right + wrong + others).value == open_entropy(right).value == 1
    assert open_entropy(others + wrong).value is None
    assert open_entropy([]).value is None


@pytest.mark.parametrize(
    "shares",
    [pytest.param([1 / 6] * 6, marks=pytest.mark.slow), [0.5, 0.3, 0.1, 0.05, 0.03, 0.02]],
)
def test_intervals_of_the_entropy_cover_what_other_images_of_the_prompts_have(
    shares: list[float],
) -> None:
    """Of 120 draws of 32 images of each of 20 prompts; seed 1."""
    rng = np.random.default_rng(1)
    truth = -sum(share * math.log2(share) for share in shares)
    found: list[MetricResult] = []
    for _ in range(120):
        colour = rng.choice(len(COLOURS), (20, 32), p=shares)
        images = [
            image
            for prompt, row in enumerate(colour)
            for image in asked(*(scene(COLOURS[each]) for each in row), claims=ANY, prompt=prompt)
        ]
        found.append(open_entropy(images))

    assert np.mean([each.corrected for each in found]) == pytest.approx(truth, abs=0.02)
    assert coverage(found, truth) >= 0.88


def test_few_images_that_follow_have_no_interval_of_the_entropy() -> None:
    found = open_entropy(asked(*[scene(shape=shape) for shape in SHAPES] * 2))

    assert found.interval is None
    assert found.reason == "no interval: 8 images that follow each prompt are fewer than 24"


# --- Vendi within prompts ---


def test_one_image_over_and_over_has_one_and_orthogonal_ones_as_many_as_there_are() -> None:
    same = np.ones((12, 5), np.float32)
    different = np.repeat(np.eye(4, 5, dtype=np.float32), 3, axis=0)  # 4 images of 3 prompts

    assert vendi_within_prompts(same, 3).value == pytest.approx(1)
    found = vendi_within_prompts(different, 3)
    assert found.value == pytest.approx(4)
    assert found.details == {"prompts": 3, "images_per_prompt": 4}


def test_variety_between_prompts_is_none_within_them() -> None:
    collapsed = np.tile(np.eye(3, dtype=np.float32), (4, 1))  # each prompt its own image

    assert vendi_within_prompts(collapsed, 3).value == pytest.approx(1)


def test_an_interval_needs_two_images_of_each_prompt() -> None:
    assert vendi_within_prompts(np.ones((3, 2), np.float32), 3).value is None
    with pytest.raises(ValueError, match="as many images for each of 3 prompts, got 4"):
        vendi_within_prompts(np.ones((4, 2), np.float32), 3)


@pytest.mark.slow
def test_intervals_of_the_score_cover_other_images_of_the_prompts() -> None:
    """Of 200 draws of 16 images of each of 10 prompts; seed 2."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(10, 6))
    results = [
        vendi_within_prompts((centres + 0.7 * rng.normal(size=(16, 10, 6))).reshape(-1, 6), 10)
        for _ in range(200)
    ]

    truth = float(np.mean([found.value for found in results]))

    assert 0.88 <= coverage(results, truth) <= 0.99
