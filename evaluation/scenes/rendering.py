"""What the objects of a scene look like: their colours, and their shapes as masks of pixels."""

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

from evaluation.scenes.claims import COLOURS, SIDES, Scene

BACKGROUND = (32, 32, 32)  # dark grey
PALETTE = np.array(  # as COLOURS; in one plane each is 200 lighter than the background
    [(232, 40, 40), (40, 232, 70), (50, 90, 232), (232, 220, 50), (40, 220, 232), (232, 60, 232)],
    np.uint8,
)
EXTENTS = {"small": 9, "large": 14}  # pixels at a side of 32
ARMS = {"small": 3, "large": 4}  # of a cross
MARGIN, GAP = 1, 2  # pixels at a side of 32: to the border, and between the boxes of objects

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


def extent(size: str, side: int) -> int:
    """Return the pixels of the box around an object."""
    return EXTENTS[size] * scale(side)


def scale(side: int) -> int:
    """Return how many pixels are one at a side of 32.

    Raises:
        ValueError: if scenes have no such side.
    """
    if side not in SIDES:
        raise ValueError(f"expected scenes of a side of 32 or 64 pixels, got {side}")
    return side // 32


@cache
def mask(shape: str, size: str, side: int) -> Mask:
    """Return which pixels of its box an object fills, (extent, extent)."""
    wide = extent(size, side)
    down, across = np.indices((wide, wide)) + 0.5  # centres of pixels
    if shape == "square":
        return np.ones((wide, wide), bool)
    if shape == "circle":
        return np.asarray(np.hypot(down - wide / 2, across - wide / 2) <= wide / 2)
    if shape == "triangle":  # its point is up
        return np.asarray(np.abs(across - wide / 2) <= np.ceil(down) / 2)
    arm = ARMS[size] * scale(side)
    start = (wide - arm) // 2
    band = np.zeros(wide, bool)
    band[start : start + arm] = True
    return band[:, None] | band[None, :]


def render(scenes: Iterable[Scene], side: int) -> Pixels:
    """Return scenes as images, (N, 3, side, side), with crisp edges."""
    scenes = list(scenes)
    pixels = np.empty((len(scenes), 3, side, side), np.uint8)
    pixels[:] = np.array(BACKGROUND, np.uint8)[:, None, None]
    for image, scene in zip(pixels, scenes, strict=True):
        for thing in scene.things:
            rows = slice(thing.top, thing.top + thing.extent)
            columns = slice(thing.left, thing.left + thing.extent)
            filled = mask(thing.shape, thing.size, side)
            colour = PALETTE[COLOURS.index(thing.colour)]
            image[:, rows, columns][:, filled] = colour[:, None]
    return pixels
