"""Scenes by their seed, the pairs that training never sees, and what captions say."""

import hashlib

import numpy as np
import pytest

from evaluation.imagesets.packaged import PACKAGED
from evaluation.scenes.claims import (
    COLOURS,
    HELD_OUT,
    SHAPES,
    SIDES,
    Claim,
    Claims,
    Scene,
    Thing,
    read_claims,
)
from evaluation.scenes.drawing import draw_scenes
from evaluation.scenes.wording import WORDS, caption_of, in_words

# Of the first 1,000 scenes: nothing may move a pixel or a word, for protocols name their digest.
DIGESTS = {
    (32, "train"): "f1fb002ad7d332d7650b0dd022b2c1ef7aa45b0e3143dcb61da9f8ab7841651e",
    (32, "test"): "0351b20e483f259eeefad8bc5d017883cc235e439bdd6a98362312e660a2379e",
    (64, "train"): "ab228bb9b787837a4e60e3879d69e7c4c9d2f4a80e4ecf8c5c43d596ba961a8a",
    (64, "test"): "50f480261a4f4b024131b0497c96c0e5238a474c47c4ca5e782ccc0481871cfa",
}


def digest(side: int, split: str) -> str:
    drawn = draw_scenes(1_000, side, 0, split)  # type: ignore[arg-type]  # a split
    return hashlib.sha256(drawn.pixels.tobytes() + "\n".join(drawn.captions).encode()).hexdigest()


@pytest.mark.parametrize(("side", "split"), DIGESTS)
def test_scenes_are_the_same_for_ever(side: int, split: str) -> None:
    assert digest(side, split) == DIGESTS[side, split]


@pytest.mark.parametrize("side", SIDES)
def test_the_packaged_scenes_are_those_of_seed_0(side: int) -> None:
    test = PACKAGED[f"scenes{side}"]("test")

    drawn = draw_scenes(200, side, 0, "test")
    assert test.pixels.shape == (4_000, 3, side, side) and test.labels is None
    assert test.captions is not None and len(test.captions) == 4_000
    assert np.array_equal(test.pixels[:200], drawn.pixels)
    assert test.captions[:200] == drawn.captions


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_no_training_scene_holds_a_held_out_pair(side: int) -> None:
    drawn = draw_scenes(20_000, side, 0, "train")

    assert not HELD_OUT & {(t.colour, t.shape) for scene in drawn.scenes for t in scene.things}


def test_training_scenes_hold_all_other_pairs_and_test_scenes_all() -> None:
    pairs = {
        split: {
            (thing.colour, thing.shape)
            for scene in draw_scenes(2_000, 32, 5, split).scenes
            for thing in scene.things
        }
        for split in ("train", "test")
    }

    assert pairs["test"] == {(colour, shape) for colour in COLOURS for shape in SHAPES}
    assert pairs["train"] == pairs["test"] - HELD_OUT


def test_captions_are_of_few_words_and_leave_things_open() -> None:
    captions = draw_scenes(5_000, 32, 0).captions

    words = {word for caption in captions for word in caption.split()}
    assert words == WORDS and 25 <= len(words) <= 30
    assert {"a red circle", "two shapes", "a large shape"} <= set(captions)


def test_other_seeds_and_sides_draw_other_scenes() -> None:
    first = draw_scenes(50, 32, 0)

    assert draw_scenes(20, 32, 0).captions == first.captions[:20]
    assert draw_scenes(50, 32, 1).captions != first.captions
    assert draw_scenes(50, 64, 0).captions != first.captions
    assert draw_scenes(50, 32, 0, "test").captions != first.captions


def test_objects_do_not_overlap() -> None:
    for scene in draw_scenes(500, 32, 2).scenes:
        taken = np.zeros((32, 32), int)
        for thing in scene.things:
            taken[thing.top :, thing.left :][: thing.extent, : thing.extent] += 1
        assert taken.max() == 1
        assert taken.sum() == sum(thing.extent**2 for thing in scene.things)


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        (Claims((Claim("red", "circle", "small", 1),)), "a small red circle"),
        (Claims((Claim("blue", "square", count=2),)), "two blue squares"),
        (Claims((Claim(shape="cross", count=3),)), "three crosses"),
        (Claims((Claim(count=1),)), "a shape"),
        (
            Claims((Claim("green", "triangle", count=1), Claim("yellow", count=1)), "left of"),
            "a green triangle left of a yellow shape",
        ),
        (
            Claims((Claim("cyan", count=1), Claim(size="large", count=1))),
            "a cyan shape and a large shape",
        ),
    ],
)
def test_claims_are_told_in_words(claims: Claims, text: str) -> None:
    assert caption_of(claims) == text
    assert read_claims(claims.to_record()) == claims


def test_a_scene_is_told_in_words() -> None:
    scene = Scene(
        (Thing("red", "cross", "large", 1, 1, 14), Thing("cyan", "square", "small", 20, 3, 9))
    )

    assert in_words(scene) == "a large red cross and a small cyan square"


@pytest.mark.parametrize("wrong", [{"count": 0}, {"side": 16}, {"seed": -1}, {"split": "val"}])
def test_other_scenes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        draw_scenes(**{"count": 1, "side": 32, "seed": 0, **wrong})  # type: ignore[arg-type]  # wrong
