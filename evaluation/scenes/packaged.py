"""The scenes that are known by name, `scenes32` and `scenes64`: the same on every machine."""

from typing import cast

from evaluation.imagesets.in_memory import Images
from evaluation.scenes.drawing import Part, draw_scenes

SIZES = {"train": 20_000, "test": 4_000}
SEED = 0


def packaged_scenes(side: int, part: str) -> Images:
    """Return a part of the packaged scenes with their captions; they have no classes.

    Raises:
        ValueError: if there is no such side or part.
    """
    if part not in SIZES:
        raise ValueError(f"expected a part of {', '.join(SIZES)}; got {part!r}")
    drawn = draw_scenes(SIZES[part], side, SEED, cast(Part, part))
    return Images(drawn.pixels, None, (), captions=drawn.captions)
