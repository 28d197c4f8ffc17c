"""The parser reads every scene back, and nothing where there is none."""

import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from evaluation.imagesets.decoding import Target, fit
from evaluation.imagesets.packaged import read_digits
from evaluation.scenes.claims import SHAPES, SIDES, SIZES, Scene, Thing, follows
from evaluation.scenes.drawing import Scenes, draw_scenes
from evaluation.scenes.parsing import parse, parse_all
from evaluation.scenes.rendering import BACKGROUND, extent, render

by_side = pytest.mark.parametrize("side", SIDES)


def as_drawn(scene: Scene | None, drawn: Scene) -> bool:
    return scene is not None and set(scene.things) == set(drawn.things)


def right(images: np.ndarray, drawn: Scenes) -> float:
    found = zip(parse_all(images), drawn.scenes, strict=True)
    return float(np.mean([as_drawn(*each) for each in found]))


def read(images: np.ndarray) -> int:
    return sum(scene is not None for scene in parse_all(images))


def grained(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    smooth: np.ndarray = gaussian_filter(images.astype(float), (0, 0, sigma, sigma))
    return np.asarray(np.rint(smooth), np.uint8)


@by_side
@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.slow, id="10000")])
def test_every_scene_is_read_back_as_it_was_drawn(side: int, count: int) -> None:
    for split in ("train", "test"):
        drawn = draw_scenes(count // 2, side, 11, split)

        scenes = parse_all(drawn.pixels)

        assert all(map(as_drawn, scenes, drawn.scenes))
        for claims, scene in zip(drawn.claims, scenes, strict=True):
            assert scene is not None and all(follows(claims, scene).values())


@by_side
def test_a_scene_takes_at_most_a_millisecond(side: int) -> None:
    images = draw_scenes(512, side, 1).pixels
    parse_all(images)

    begin = time.process_time()
    parse_all(images)

    assert (time.process_time() - begin) / len(images) < 0.002  # of which busy machines need half


@by_side
def test_the_grain_and_the_softness_of_models_are_read(side: int) -> None:
    drawn = draw_scenes(1_000, side, 3, "test")

    assert right(grained(drawn.pixels, 12), drawn) >= 0.999
    assert right(grained(blurred(drawn.pixels, 0.5 * side / 32), 12), drawn) >= 0.99


@by_side
def test_what_is_no_scene_is_not_read(side: int) -> None:
    images = draw_scenes(1_000, side, 4, "test").pixels
    shape = images.shape
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    digits = fit(read_digits().pixels, Target(resolution=side, channels=3))
    plain = np.full((1, 3, side, side), BACKGROUND[0], np.uint8)

    assert read(noise) == 0
    assert read(digits) == 0
    assert read(255 - digits) == 0
    assert read(blurred(images, side / 16)) == 0  # as the control is
    assert read(plain) == 0
    assert read(255 - images) == 0


@by_side
@pytest.mark.parametrize("half", ["left", "right", "top", "bottom"])
def test_a_scene_with_half_an_object_is_not_read(side: int, half: str) -> None:
    drawn = draw_scenes(1_000, side, 5, "test")
    images = drawn.pixels.copy()
    for image, scene in zip(images, drawn.scenes, strict=True):
        thing = scene.things[0]
        box = image[:, thing.top : thing.top + thing.extent, thing.left :][:, :, : thing.extent]
        middle = thing.extent // 2
        part = {
            "left": np.s_[:, :, :middle],
            "right": np.s_[:, :, middle:],
            "top": np.s_[:, :middle],
            "bottom": np.s_[:, middle:],
        }[half]
        box[part] = BACKGROUND[0]

    assert read(images) == 0


@by_side
def test_each_object_is_read_at_each_border(side: int) -> None:
    for shape in SHAPES:
        for size in SIZES:
            wide = extent(size, side)
            for left in (0, side - wide):
                scene = Scene((Thing("red", shape, size, left, side - wide - left, wide),))

                assert parse(render([scene], side)[0]) == scene


def test_objects_that_touch_are_not_taken_for_one() -> None:
    touching = Scene(tuple(Thing("red", "square", "small", left, 5, 9) for left in (3, 12)))

    assert parse(render([touching], 32)[0]) is None


def test_four_objects_are_no_scene() -> None:
    places = [(1, 1), (1, 20), (20, 1), (20, 20)]
    four = Scene(tuple(Thing("blue", "circle", "small", *place, 9) for place in places))

    assert parse(render([four], 32)[0]) is None


@pytest.mark.parametrize(
    "images",
    [np.zeros((3, 16, 16), np.uint8), np.zeros((1, 32, 32), np.uint8), np.zeros((3, 32, 32))],
)
def test_other_images_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(images)
