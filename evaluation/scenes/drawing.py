"""Draws captioned scenes from a seed: claims first, then objects that follow them, then places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.scenes.claims import (
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    SIZES,
    VALUES,
    Claim,
    Claims,
    Scene,
    Thing,
    is_related,
)
from evaluation.scenes.rendering import GAP, MARGIN, Pixels, extent, render, scale
from evaluation.scenes.wording import caption_of

T = TypeVar("T")
Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")

# How many of a hundred scenes are captioned as one object, as several alike, as two in a relation,
# and as two joined by "and".
KINDS = {"one": 45, "alike": 25, "related": 20, "joined": 10}
NAMED = {"colour": 0.6, "shape": 0.6, "size": 0.4}  # how often a caption names an attribute

_PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes that were drawn: images uint8 (N, 3, side, side), and of each what is known of it."""

    pixels: Pixels
    captions: tuple[str, ...]
    claims: tuple[Claims, ...]
    scenes: tuple[Scene, ...]


def draw_scenes(count: int, side: int, seed: int, split: Part = "train") -> Scenes:
    """Return ``count`` captioned scenes; number i depends on i, side, seed and split alone.

    Those of "train" hold no pair of colour and shape of HELD_OUT, those of "test" hold every pair.

    Raises:
        ValueError: if there is no such side or split, or no scene is wanted.
    """
    if count < 1 or seed < 0:
        raise ValueError(f"expected at least 1 scene and a seed from 0, got {count} and {seed}")
    if split not in PARTS:
        raise ValueError(f"expected a split of {', '.join(PARTS)}; got {split!r}")
    scale(side)
    excluded = HELD_OUT if split == "train" else frozenset()
    claims: list[Claims] = []
    scenes: list[Scene] = []
    for index in range(count):
        rng = np.random.default_rng((seed, PARTS.index(split), side, index))
        claims.append(_draw_claims(rng, excluded))
        scenes.append(scene_of(claims[-1], side, rng, excluded))
    return Scenes(
        pixels=render(scenes, side),
        captions=tuple(caption_of(each) for each in claims),
        claims=tuple(claims),
        scenes=tuple(scenes),
    )


# --- Claims -----------------------------------------------------------------------------------


def _draw_claims(rng: np.random.Generator, excluded: frozenset[tuple[str, str]]) -> Claims:
    at = rng.integers(sum(KINDS.values()))
    kind = list(KINDS)[int(np.searchsorted(np.cumsum(list(KINDS.values())), at, side="right"))]
    if kind == "one":
        return Claims((_draw_claim(rng, excluded),))
    if kind == "alike":
        return Claims((_draw_claim(rng, excluded, count=2 + int(rng.integers(2))),))
    first, second = _draw_claim(rng, excluded), _draw_claim(rng, excluded)
    return Claims((first, second), _pick(rng, RELATIONS) if kind == "related" else None)


def _draw_claim(
    rng: np.random.Generator, excluded: frozenset[tuple[str, str]], count: int = 1
) -> Claim:
    colour, shape = _pick(rng, [pair for pair in _PAIRS if pair not in excluded])
    values = {"colour": colour, "shape": shape, "size": _pick(rng, SIZES)}
    named = {name: values[name] for name in VALUES if rng.random() < NAMED[name]}
    return Claim(**named, count=count)


# --- Scenes -----------------------------------------------------------------------------------


def scene_of(
    claims: Claims,
    side: int,
    rng: np.random.Generator,
    excluded: frozenset[tuple[str, str]] = frozenset(),
) -> Scene:
    """Return a scene that follows the claims; what they leave open is drawn evenly.

    excluded: pairs of colour and shape that are not drawn where they are open.
    """
    wanted = [
        (*_draw_pair(rng, claim, excluded), claim.size or _pick(rng, SIZES))
        for claim in claims.objects
        for _ in range(claim.least)
    ]
    while True:
        things = _placed(wanted, side, rng)
        if things and (
            claims.relation is None or is_related(things[0], claims.relation, things[1])
        ):
            return Scene(things)


def _draw_pair(
    rng: np.random.Generator, claim: Claim, excluded: frozenset[tuple[str, str]]
) -> tuple[str, str]:
    possible = [
        pair
        for pair in _PAIRS
        if claim.colour in (None, pair[0]) and claim.shape in (None, pair[1])
    ]
    return _pick(rng, [pair for pair in possible if pair not in excluded] or possible)


def _placed(
    wanted: Sequence[tuple[str, str, str]], side: int, rng: np.random.Generator
) -> tuple[Thing, ...]:
    """Return the objects at places drawn one after the other; () if the last ones found no room."""
    things: list[Thing] = []
    for colour, shape, size in wanted:
        wide = extent(size, side)
        free = np.flatnonzero(_room(things, wide, side))
        if free.size == 0:
            return ()
        top, left = divmod(_pick(rng, free.tolist()), side)
        things.append(Thing(colour, shape, size, left, top, wide))
    return tuple(things)


def _room(things: Sequence[Thing], wide: int, side: int) -> npt.NDArray[np.bool_]:
    """Return where the upper left corner of a box may be, (side, side)."""
    margin, gap = MARGIN * scale(side), GAP * scale(side)
    room = np.zeros((side, side), bool)
    room[margin : side - margin - wide + 1, margin : side - margin - wide + 1] = True
    for thing in things:
        top, left = max(0, thing.top - gap - wide + 1), max(0, thing.left - gap - wide + 1)
        end = thing.extent + gap
        room[top : thing.top + end, left : thing.left + end] = False
    return room


def _pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    return values[int(rng.integers(len(values)))]
