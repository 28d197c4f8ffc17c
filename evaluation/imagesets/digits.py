"""Handwritten digits that come with the installation: 1,797 images of 8x8 in scikit-learn.

Alpaydin and Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository. 0..16 is scaled to 0..255 and rounded.
"""

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
