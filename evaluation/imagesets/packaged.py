"""Sets of images that come with the installation: handwritten digits, and scenes with captions.

Digits are 1,797 images of 8x8 in scikit-learn: Alpaydin and Kaynak, 1998, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository. 0..16 is scaled to 0..255 and rounded. Scenes
are drawn from seeds; what is in them is said in `evaluation.scenes.claims`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

import numpy as np

from evaluation.imagesets.in_memory import Images
from evaluation.imagesets.splits import split_images

DIGITS = "digits"
DIGITS_TEST_SIZE = 500  # of 1,797 images


def read_digits() -> Images:
    """Return all digits, (1797, 1, 8, 8), in scikit-learn's order; ten classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # slow; only this function needs it

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    return Images(pixels, digits.target.astype(np.int64), tuple("0123456789"))


def split_digits(digits: Images | None = None) -> dict[str, Images]:
    """Return the train (1,297) and test (500) part of the digits, stratified by class.

    digits: all of them, perhaps in another size; None = as they come.
    """
    return split_images(digits or read_digits(), DIGITS_TEST_SIZE)


def read_scenes(side: int, part: str) -> Images:
    """Return the train (20,000) or test (4,000) part of the captioned scenes, (N, 3, side, side)."""
    # By name: the room of scenes lies above this one.
    drawn: Images = import_module("evaluation.scenes.packaged").packaged_scenes(side, part)
    return drawn


# Of each packaged set what returns one of its parts, "train" or "test".
PACKAGED: Mapping[str, Callable[[str], Images]] = MappingProxyType(
    {
        DIGITS: lambda part: split_digits()[part],
        "scenes32": lambda part: read_scenes(32, part),
        "scenes64": lambda part: read_scenes(64, part),
    }
)
