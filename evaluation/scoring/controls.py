"""Makes control images, whose scores are known beforehand; no torch.

Images are uint8 (N, C, H, W), 0..255, C is 1 or 3.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from evaluation.scenes.claims import HELD_OUT, Claims
from evaluation.scenes.drawing import scene_of
from evaluation.scenes.rendering import render

BLUR_SHARE = 1 / 16  # default sigma of the blur as a share of the shorter side of an image
_CHUNK = 256  # images blurred at a time, in float64

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


def training_copy(train: Pixels, count: int, *, seed: int) -> Pixels:
    """Return ``count`` different training images, bit for bit: the perfect memoriser.

    Which ones is ``copied_indices``.

    Raises:
        ValueError: if there are fewer, or they are not uint8 (N, 1 or 3, H, W).
    """
    _check(train)
    copies: Pixels = train[copied_indices(len(train), count, seed=seed)]
    return copies


def copied_indices(available: int, count: int, *, seed: int) -> Indices:
    """Return ``count`` different ones of 0..available-1, sorted, by the three numbers alone.

    Raises:
        ValueError: if there are fewer than ``count``.
    """
    if not 0 <= count <= available:
        raise ValueError(f"expected at most the {available} images there are, got {count}")
    return np.sort(np.random.default_rng(seed).permutation(available)[:count])


def uniform_noise(shape: tuple[int, int, int], count: int, *, seed: int) -> Pixels:
    """Return ``count`` images of ``shape`` (C, H, W), every value uniform in 0..255.

    The first images do not depend on ``count``.
    """
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def blurred(images: Pixels, *, sigma: float | None = None) -> Pixels:
    """Return the images after a Gaussian blur of each channel: every class there, no detail.

    ``sigma`` is in pixels, by default 1/16 of the shorter side. The kernel ends at 4 sigma, images
    go on beyond their borders mirrored; computed in float64, then rounded half up.

    Raises:
        ValueError: if sigma is negative, or the images are not uint8 (N, 1 or 3, H, W).
    """
    _check(images)
    if sigma is None:
        sigma = BLUR_SHARE * min(images.shape[2:])
    if not 0 <= sigma < np.inf:
        raise ValueError(f"expected a sigma of at least 0 pixels, got {sigma}")
    result = np.empty_like(images)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        smooth = gaussian_filter(
            images[part].astype(np.float64), (0, 0, sigma, sigma), mode="reflect", truncate=4.0
        )
        result[part] = np.floor(smooth + 0.5).clip(0, 255).astype(np.uint8)
    return result


def disjoint_halves(count: int, *, seed: int) -> tuple[Indices, Indices]:
    """Return two sorted sets of count // 2 indices of 0..count-1 that share none: real against real.

    With an odd count one index is in neither.

    Raises:
        ValueError: if there are fewer than 2.
    """
    if count < 2:
        raise ValueError(f"expected at least 2 images to halve, got {count}")
    order = np.random.default_rng(seed).permutation(count)
    half = count // 2
    return np.sort(order[:half]), np.sort(order[half : 2 * half])


def asked_scenes(
    claims: Sequence[Claims], count: int, side: int, *, seed: int, shuffled: bool = False
) -> Pixels:
    """Return real scenes for prompts of these claims, (count, 3, side, side), image i of i mod P.

    Each follows its prompt: as good as it gets. What a prompt leaves open is drawn evenly, of pairs
    that training shows where the prompt allows. ``shuffled`` = each is drawn for the prompt of
    another image, which a seeded permutation of all images names: what following is worth by chance
    to a perfect model that does not hear what it is asked.

    Raises:
        ValueError: if there are no prompts, or no such side.
    """
    if not claims:
        raise ValueError("expected the claims of at least 1 prompt, got none")
    order = np.arange(count)
    if shuffled:
        order = np.random.default_rng(seed).permutation(count)
    scenes = [
        scene_of(claims[of % len(claims)], side, np.random.default_rng((seed, index)), HELD_OUT)
        for index, of in enumerate(order.tolist())
    ]
    return render(scenes, side)


def _check(images: Pixels) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"expected uint8 images (N, 1 or 3, H, W), got {images.dtype} {images.shape}"
        )
