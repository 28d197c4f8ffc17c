"""What people do to an image that they copy."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

Change = Callable[[np.ndarray], np.ndarray]


def shifted(images: np.ndarray, right: int, down: int) -> np.ndarray:
    """Return images (N, C, H, W) moved; what comes in is the border that was there."""
    space = 4
    padded = np.pad(images, ((0, 0), (0, 0), (space, space), (space, space)), mode="edge")
    height, width = images.shape[2:]
    return padded[:, :, space - down :, space - right :][:, :, :height, :width]


def jpeg(images: np.ndarray) -> np.ndarray:
    """Return grey images as they come back from JPEG of quality 75."""
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=75)
        found.append(np.asarray(Image.open(file))[None])
    return np.stack(found)


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-1, 2, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


def brighter(images: np.ndarray) -> np.ndarray:
    return (images * 0.7 + 40).round().astype(np.uint8)


CHANGES: Mapping[str, Change] = {
    "none": lambda images: images,
    "one pixel right": lambda images: shifted(images, 1, 0),
    "one pixel left and down": lambda images: shifted(images, -1, 1),
    "mirrored": lambda images: images[..., ::-1],
    "mirrored, one pixel up": lambda images: shifted(images[..., ::-1], 0, -1),
    "brighter, less contrast": brighter,
    "JPEG": jpeg,
    "noise": noisy,
    "mirrored, brighter, noise": lambda images: noisy(brighter(images[..., ::-1])),
}
