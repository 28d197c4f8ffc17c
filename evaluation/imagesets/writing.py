"""Writes sets of images, arrays beside them, and contact sheets: whole or not at all.

Equal arrays make equal `.npz` files, so that the sha256 of a file stands for what is in it.
"""

import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evaluation.imagesets.arrays import CAPTIONS, caption_array
from evaluation.imagesets.atomic import replacing, sha256_of
from evaluation.imagesets.sources import ImageError

ZIP64 = 45  # the version of the format that a reader must know
VERSION_AT, SIZES_AT = 4, 18  # in a member's header, in bytes: two of each
IN_EXTRA = 0xFFFFFFFF  # a size is in the extra field


def write_npz(
    path: Path | str,
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer[Any]] | None,
    *,
    seeds: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
) -> str:
    """Write images as `arr_0` (N, H, W, C) and `labels`, uncompressed; return the file's sha256.

    pixels: (N, C, H, W) uint8. seeds: what each image was drawn from, as `seeds` (N,) int64;
    reading ignores them. captions: a text for each image, or what a drawn one was asked with, as
    `captions` (N,) of fixed width.

    Raises:
        ImageError: if these are no images, or there is not one label and one plain caption of at
            most 1,000 characters for each.
    """
    check_pixels(pixels)
    if labels is not None and labels.shape != pixels.shape[:1]:
        raise ImageError(f"expected labels of shape {pixels.shape[:1]}, got {labels.shape}")
    arrays: dict[str, npt.NDArray[Any]] = {"arr_0": channels_last(pixels)}
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    if seeds is not None:
        arrays["seeds"] = np.asarray(seeds, np.int64)
    if captions is not None:
        arrays[CAPTIONS] = caption_array(Path(path).name, captions, len(pixels))
    return write_arrays(path, arrays)


def write_arrays(path: Path | str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Write arrays by name to `.npz`, uncompressed; return the file's sha256 in hex."""
    path = Path(path)
    with replacing(path) as file:
        write_zip(file, arrays)
    return sha256_of(path)


def write_zip(file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name, uncompressed, as `numpy.savez` does on Python 3.11.4 and later.

    Raises:
        ValueError: if an array holds Python objects.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(LongMember(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


class LongMember(zipfile.ZipInfo):
    """A member with long sizes in its header, whatever they are.

    Python before 3.11.4 makes room for them, but writes the header of a short one: equal arrays
    made files with other digests there.
    """

    __slots__ = ()

    def FileHeader(self, zip64: bool | None = None) -> bytes:  # noqa: N802  # zipfile calls it
        """Return the header in front of the member."""
        header = bytearray(super().FileHeader(zip64=True))
        self.extract_version = max(self.extract_version, ZIP64)  # the list at the end has these
        self.create_version = max(self.create_version, ZIP64)
        header[VERSION_AT] = self.extract_version
        struct.pack_into("<LL", header, SIZES_AT, IN_EXTRA, IN_EXTRA)
        return bytes(header)


def check_pixels(pixels: npt.NDArray[Any]) -> None:
    """Raise ImageError unless these are images (N, 1 or 3, H, W) uint8."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ImageError(
            f"expected uint8 pixels (N, 1 or 3, H, W), got {pixels.dtype} {pixels.shape}"
        )


def channels_last(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images (…, C, H, W) as (…, H, W, C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(pixels, -3, -1))


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


def read_grid(
    path: Path, count: int, columns: int, shape: tuple[int, int, int], *, side: int = 64
) -> npt.NDArray[np.uint8]:
    """Return the images of a contact sheet that `grid_png` wrote, (count, C, H, W) uint8.

    Args:
        path: of the sheet.
        count: images on it, or fewer: its first.
        columns: images in a row, as it was written.
        shape: (C, H, W) of each image.
        side: as it was written.

    Raises:
        ImageError: if it is no such sheet.
    """
    channels, height, width = shape
    scale = max(1, side // max(height, width))
    gap = max(1, scale // 2)
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    sheet = sheet.reshape(*sheet.shape[:2], channels)
    found = np.empty((count, *shape), np.uint8)
    for index in range(count):
        top = gap + (index // columns) * (height * scale + gap)
        left = gap + (index % columns) * (width * scale + gap)
        cell = sheet[top : top + height * scale : scale, left : left + width * scale : scale]
        if cell.shape != (height, width, channels):
            raise ImageError(f"{path.name}: no sheet of {count} images of {height}x{width} pixels")
        found[index] = cell.transpose(2, 0, 1)
    return found


def to_pil(image: npt.NDArray[Any]) -> Image.Image:
    """Return an (H, W, C) uint8 image as a Pillow image."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
