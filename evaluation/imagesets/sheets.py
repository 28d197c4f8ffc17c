"""Contact sheets: many small images on one picture."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evaluation.imagesets.atomic import replacing
from evaluation.imagesets.writing import check_pixels


def grid_png(pixels: npt.NDArray[np.uint8], columns: int, path: Path, *, side: int = 64) -> None:
    """Write a contact sheet as PNG, row by row; small images are enlarged without smoothing.

    Args:
        pixels: (N, C, H, W) uint8, at least one image.
        columns: images in a row.
        path: where to.
        side: each image is enlarged by a whole factor to about this many pixels.

    Raises:
        ImageError: if these are no images.
    """
    check_pixels(pixels)
    count, channels, height, width = pixels.shape
    rows = math.ceil(count / columns)
    scale = max(1, side // max(height, width))
    gap = max(1, scale // 2)
    cell_height, cell_width = height * scale + gap, width * scale + gap
    sheet = np.full((rows * cell_height + gap, columns * cell_width + gap, channels), 128, np.uint8)
    for index, image in enumerate(pixels):
        top = gap + (index // columns) * cell_height
        left = gap + (index % columns) * cell_width
        large = image.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + height * scale, left : left + width * scale] = large
    with replacing(path) as file:
        to_pil(sheet).save(file, format="PNG")


def to_pil(image: npt.NDArray[Any]) -> Image.Image:
    """Return an (H, W, C) uint8 image as a Pillow image."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
