"""The packaged prompts of scenes: one attribute, a pair, a pair never seen, relations, counts.

Only the standard library is needed here. Nothing is drawn: the prompts are the same for ever.
"""

from collections.abc import Iterator
from typing import Any

from evaluation.scenes.claims import (
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    SIZES,
    UNSEEN,
    Claim,
    Claims,
)
from evaluation.scenes.wording import caption_of

SCENES = "scenes"  # the name of the set
IMAGES_PER_PROMPT = 32  # by default: the fewest prompts of a group, two sizes, have 64 images then
_PAIRS = tuple(
    (colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT
)
_ALONE = (*((colour, None) for colour in COLOURS), *((None, shape) for shape in SHAPES))
_RELATED = 16  # prompts with a relation


def scenes_prompts() -> dict[str, Any]:
    """Return the prompts as the JSON that a prompt set is read from, each with its claims."""
    prompts = [
        {
            "id": caption_of(claims).replace(" ", "-"),
            "text": caption_of(claims),
            "group": group,
            "claims": claims.to_record(),
        }
        for group, claims in _asked()
    ]
    return {"version": 1, "prompts": prompts}


def _asked() -> Iterator[tuple[str, Claims]]:
    """Yield the group and the claims of every prompt; all but one group hold seen pairs alone."""
    for colour in COLOURS:
        yield "colour", _one(Claim(colour, count=1))
    for shape in SHAPES:
        yield "shape", _one(Claim(shape=shape, count=1))
    for size in SIZES:
        yield "size", _one(Claim(size=size, count=1))
    for count in (1, 2, 3):
        yield "number", _one(Claim(count=count))
    for pair in _PAIRS:
        yield "pair", _one(Claim(*pair, count=1))
    for pair in sorted(HELD_OUT):
        for any_size in (None, *SIZES):
            yield UNSEEN, _one(Claim(*pair, any_size, 1))
    for number in range(_RELATED):
        first, second = _PAIRS[number], _PAIRS[(number + 7) % len(_PAIRS)]
        objects = Claim(*first, count=1), Claim(*second, count=1)
        yield "relation", Claims(objects, RELATIONS[number % 2])
    for named in (*_ALONE, *_PAIRS[::3]):
        yield "count", _one(Claim(*named, count=2 if named[0] in COLOURS[::2] else 3))


def _one(claim: Claim) -> Claims:
    return Claims((claim,))
