"""Seeded choices of images from a set."""

import numpy as np


def choose(count: int, size: int, *, seed: int) -> np.ndarray:
    """Return ``size`` of the indices 0..count-1, sorted; all of them if ``size == count``.

    The choice is without replacement and depends on the three numbers alone (PCG64).

    Raises:
        ValueError: if there are fewer than ``size``.
    """
    if size > count:
        raise ValueError(f"expected at least {size} images, got {count}")
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])
