"""Reads scenes back from images, the same on every machine; None for what it cannot read.

1. A pixel is of a colour if its difference to the background points the way of that colour's and
   is at least half as long. 2. Pixels of one colour that touch make an object. 3. An object is the
   shape and size whose pixels share most with its own. 4. What was read is drawn again: if pixels
   differ much from the image, it holds something else, and nothing was read.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from evaluation.scenes.claims import COLOURS, MOST_OBJECTS, SHAPES, SIZES, Scene, Thing
from evaluation.scenes.rendering import BACKGROUND, PALETTE, Pixels, extent, mask, render, scale

LEAST_PIXELS = 6  # of an object at a side of 32; fewer are grain
LEAST_COSINE = 0.9  # between a pixel's difference to the background and a colour's
LEAST_OVERLAP = 0.8  # intersection over union of an object and the shape it is taken for
FAR_OFF = 64  # of 255: a pixel that differs more in a plane is not explained
MOST_UNEXPLAINED = 0.9  # pixels for each around the boxes of objects: a blur of 1 has 0.87 at most
CHUNK = 256  # images at a time

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def parse(image: npt.NDArray[np.uint8]) -> Scene | None:
    """Return the scene in an image (3, side, side), None if it shows none that can be read.

    Raises:
        ValueError: if the image is not uint8, in colour, and 32 or 64 pixels a side.
    """
    return parse_all(image[None])[0]


def parse_all(images: npt.NDArray[np.uint8]) -> list[Scene | None]:
    """Return the scene in each of the images (N, 3, side, side), as ``parse`` does.

    Raises:
        ValueError: as ``parse``.
    """
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ValueError(f"expected uint8 images (N, 3, side, side), got {images.dtype} {shape}")
    scale(shape[2])
    starts = range(0, len(images), CHUNK)
    return [scene for start in starts for scene in _parse_chunk(images[start : start + CHUNK])]


def _parse_chunk(images: Pixels) -> list[Scene | None]:
    side = images.shape[2]
    found: list[list[Thing | None]] = [[] for _ in images]
    for number, thing in _things(_colours(images)):
        found[number].append(thing)
    scenes = [_scene(things) for things in found]
    drawn = render([scene or Scene(()) for scene in scenes], side)
    return [
        scene if scene and _explains(scene, again, image) else None
        for scene, again, image in zip(scenes, drawn, images, strict=True)
    ]


def _scene(things: list[Thing | None]) -> Scene | None:
    """Return a scene of 1 to 3 objects, all of which could be read."""
    whole = tuple(thing for thing in things if thing is not None)
    return Scene(whole) if 1 <= len(whole) == len(things) <= MOST_OBJECTS else None


def _explains(scene: Scene, drawn: Pixels, image: Pixels) -> bool:
    """Return whether few pixels of an image differ from the scene that was read, drawn again."""
    off = np.abs(drawn.astype(np.int16) - image).max(0) > FAR_OFF
    around = sum(4 * thing.extent for thing in scene.things) * scale(image.shape[1])
    return bool(off.sum() <= MOST_UNEXPLAINED * around)


# --- Colours ----------------------------------------------------------------------------------


def _colours(images: Pixels) -> Numbers:
    """Return each pixel's number in COLOURS, -1 = of none, (N, side, side)."""
    background = np.array(BACKGROUND, np.float32)
    lines = PALETTE.astype(np.float32) - background  # (colours, 3), from the background
    lengths = np.linalg.norm(lines, axis=1)
    pixels = images.transpose(0, 2, 3, 1).astype(np.float32) - background  # (N, side, side, 3)
    along = pixels @ (lines / lengths[:, None]).T  # (N, side, side, colours)
    best = along.argmax(3)
    reach = np.take_along_axis(along, best[..., None], 3)[..., 0]
    is_on = (reach >= lengths[best] / 2) & (reach >= LEAST_COSINE * np.linalg.norm(pixels, axis=3))
    return np.where(is_on, best, -1)


# --- Objects ----------------------------------------------------------------------------------


def _things(colours: Numbers) -> Iterator[tuple[int, Thing | None]]:
    """Yield the number of an image and an object in it, None for one of no known shape."""
    side = colours.shape[1]
    pixels, part = _objects(colours)
    sizes = np.bincount(part)
    rows, columns = pixels // side % side, pixels % side
    centres = np.stack([_rounded(np.bincount(part, at) / sizes) for at in (rows, columns)])
    overlaps = _overlaps(rows, columns, part, centres, sizes, side)
    firsts = pixels[np.unique(part, return_index=True)[1]]
    for number, first in enumerate(firsts.tolist()):
        best, thing = int(overlaps[number].argmax()), None
        if overlaps[number, best] >= LEAST_OVERLAP:
            thing = _thing(best, int(colours.flat[first]), centres[:, number], side)
        yield first // side**2, thing


def _objects(colours: Numbers) -> tuple[Numbers, Numbers]:
    """Return the pixels of objects that are more than grain, flat, and of each its object from 0."""
    pixels = np.flatnonzero(colours >= 0)
    part = np.unique(_parts(colours, pixels), return_inverse=True)[1]
    is_large = np.bincount(part) >= LEAST_PIXELS * scale(colours.shape[1]) ** 2
    kept = is_large[part]
    return pixels[kept], (np.cumsum(is_large) - 1)[part[kept]]


def _parts(colours: Numbers, pixels: Numbers) -> Numbers:
    """Return of each pixel, by its place in ``pixels``, the first one of its object.

    Those that touch and are of one colour are an object. A pixel takes the least name among its
    neighbours, then that of the pixel so named, until none changes.
    """
    at = np.zeros(colours.shape, np.int64)
    at.flat[pixels] = np.arange(len(pixels))
    down = (colours[:, 1:] == colours[:, :-1]) & (colours[:, 1:] >= 0)
    across = (colours[:, :, 1:] == colours[:, :, :-1]) & (colours[:, :, 1:] >= 0)
    touching = (at[:, :-1][down], at[:, 1:][down]), (at[:, :, :-1][across], at[:, :, 1:][across])
    names = np.arange(len(pixels))
    while True:
        before = names.copy()
        for one, other in touching:  # each pixel is at most once in either
            names[one] = np.minimum(names[one], names[other])
            names[other] = np.minimum(names[one], names[other])
        names = names[names]
        if (names == before).all():
            return names


def _overlaps(
    rows: Numbers, columns: Numbers, part: Numbers, centres: Numbers, sizes: Numbers, side: int
) -> Floats:
    """Return the intersection over union of each object with each template, (objects, templates).

    rows, columns, part: of the pixels. centres: of objects, (2, objects).
    """
    reach = _reach(side)
    rows, columns = rows - centres[0, part] + reach, columns - centres[1, part] + reach
    near = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) <= 2 * reach)
    windows = np.zeros((len(sizes), (2 * reach + 1) ** 2), np.float32)
    windows[part[near], (rows * (2 * reach + 1) + columns)[near]] = 1
    bank = _bank(side)
    shared = windows @ bank.T
    overlaps: Floats = shared / (sizes[:, None] + bank.sum(1) - shared)
    return overlaps


# --- Templates: each shape in each size, up to one pixel away from where its centre says --------

_TEMPLATES = [
    (shape, size, down, across)
    for shape in SHAPES
    for size in SIZES
    for down in (0, -1, 1)  # the centre first: it is taken where several fit alike
    for across in (0, -1, 1)
]


def _reach(side: int) -> int:
    """Return how far from its centre an object is looked at."""
    return extent("large", side)


@cache
def _bank(side: int) -> Floats:
    """Return the templates as rows of windows around their centres, (templates, pixels)."""
    wide = 2 * _reach(side) + 1
    bank = np.zeros((len(_TEMPLATES), wide, wide), np.float32)
    for window, (shape, size, down, across) in zip(bank, _TEMPLATES, strict=True):
        top, left = _corner(shape, size, side) + _reach(side) + (down, across)
        box = extent(size, side)
        window[top : top + box, left : left + box] = mask(shape, size, side)
    return bank.reshape(len(bank), -1)


@cache
def _corner(shape: str, size: str, side: int) -> Numbers:
    """Return where the upper left corner of an object lies from its centre, (2,)."""
    return np.asarray(-_rounded(np.argwhere(mask(shape, size, side)).mean(0)), np.int64)


def _thing(template: int, colour: int, centre: Numbers, side: int) -> Thing | None:
    """Return the object that a template says, None where it would reach over the border."""
    shape, size, down, across = _TEMPLATES[template]
    top, left = (_corner(shape, size, side) + centre + (down, across)).tolist()
    box = extent(size, side)
    if min(top, left) < 0 or max(top, left) + box > side:
        return None
    return Thing(COLOURS[colour], shape, size, left, top, box)


def _rounded(values: npt.NDArray[np.floating]) -> Numbers:
    return np.asarray(np.floor(values + 0.5), np.int64)
