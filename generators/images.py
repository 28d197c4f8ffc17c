"""Images in the one shared format: uint8, NCHW in memory, 0..255, 1 or 3 channels.

On disk: `.npz` as `numpy.savez` writes it, `arr_0` (N, H, W, C) uint8 and, when labelled,
`labels` (N,) int64. Read as well: folders and zip archives of PNG, JPEG and WebP, one folder per
class, and folders with `train.npz` and `test.npz`, as datasets are prepared. What is read is data
from strangers: sizes are bounded before anything is decoded.
"""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from evaluation.imagesets.atomic import replacing, sha256_of

LARGEST_SIDE = 4096  # pixels
LARGEST_FILE = 64 * 2**20  # bytes of one encoded image
LARGEST_SET = 16 * 2**30  # bytes of all decoded images
MOST_IMAGES = 10_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FORMATS = ("PNG", "JPEG", "WEBP")
TRAIN, TEST = "train", "test"


class ImagesError(ValueError):
    """A file of images that cannot be read; the message names it."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with what is known of their classes."""

    pixels: np.ndarray  # (N, C, H, W) uint8
    labels: np.ndarray | None  # (N,) int64
    classes: list[str]  # name of each label; empty when unlabelled


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]; the inverse of `to_uint8`."""
    return images.to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Return float images in [-1, 1] as uint8, by the one rounding rule there is."""
    return (images.float() * 127.5 + 128).clip(0, 255).to(torch.uint8)


def read_images(path: Path, *, split: str = TRAIN) -> LabelledImages:
    """Return the images of an `.npz` file, a folder or a zip archive.

    In a folder or an archive an image's class is the folder it lies in. Where the top folders are
    `train` and `test`, or the files `train.npz` and `test.npz`, only `split` is read.

    Raises:
        ImagesError: if the path or a file in it is not what it should be.
    """
    if path.is_dir():
        if (path / f"{split}.npz").is_file():
            return _read_npz(path / f"{split}.npz")
        return _read_encoded(_files_of_folder(path), path, split)
    if not path.is_file():
        raise ImagesError(f"{path}: there is no such file or folder")
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    if not zipfile.is_zipfile(path):
        raise ImagesError(f"{path}: expected .npz, a zip archive or a folder of images")
    with zipfile.ZipFile(path) as archive:
        return _read_encoded(_files_of_archive(archive), path, split)


def write_npz(
    path: Path, pixels: np.ndarray, labels: np.ndarray | None, *, seeds: Sequence[int] | None = None
) -> str:
    """Write images to `.npz`, whole or not at all, and return the sha256 of the file in hex.

    Args:
        path: where to.
        pixels: (N, C, H, W) uint8.
        labels: (N,) whole numbers, or None.
        seeds: what each image was drawn from, as `seeds` (N,) int64; reading ignores them.
    """
    _check_pixels(pixels, path)
    arrays = {"arr_0": channels_last(pixels)}
    if labels is not None:
        arrays["labels"] = np.asarray(labels, dtype=np.int64)
    if seeds is not None:
        arrays["seeds"] = np.asarray(seeds, dtype=np.int64)
    return write_arrays(path, arrays)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays by name to `.npz`, whole or not at all, and return the sha256 of the file."""
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle there
    return sha256_of(path)


def channels_last(pixels: np.ndarray) -> np.ndarray:
    """Return images (…, C, H, W) as (…, H, W, C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(pixels, -3, -1))


def grid_png(pixels: np.ndarray, columns: int, path: Path, *, side: int = 64) -> None:
    """Write a contact sheet as PNG, row by row; small images are enlarged without smoothing.

    Args:
        pixels: (N, C, H, W) uint8, at least one image.
        columns: images in a row.
        path: where to.
        side: each image is enlarged by a whole factor to about this many pixels.
    """
    _check_pixels(pixels, path)
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


def to_pil(image: np.ndarray) -> Image.Image:
    """Return an (H, W, C) uint8 image as a Pillow image."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


# --- .npz ---------------------------------------------------------------------------------------


def _read_npz(path: Path) -> LabelledImages:
    try:
        _check_npz_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            if "arr_0" not in file:
                raise ImagesError(f"{path}: has no array 'arr_0'")
            images = file["arr_0"]
            labels = file.get("labels", None)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ImagesError):
            raise
        raise ImagesError(f"{path}: cannot be read as .npz ({error})") from error
    if images.ndim != 4:
        raise ImagesError(f"{path}: expected arr_0 (N, H, W, C), got shape {images.shape}")
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # NHWC -> NCHW
    _check_pixels(pixels, path)
    if labels is None:
        return LabelledImages(pixels, None, [])
    return LabelledImages(pixels, *_check_labels(labels, len(pixels), path))


def _check_npz_sizes(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST_SET:
        raise ImagesError(f"{path}: unpacks to {size} bytes, more than {LARGEST_SET}")


def _check_pixels(pixels: np.ndarray, path: Path) -> None:
    if pixels.dtype != np.uint8:
        raise ImagesError(f"{path}: expected uint8 images, got {pixels.dtype}")
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise ImagesError(
            f"{path}: expected images (N, C, H, W) with 1 or 3 channels, got shape {pixels.shape}"
        )


def _check_labels(labels: np.ndarray, count: int, path: Path) -> tuple[np.ndarray, list[str]]:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ImagesError(
            f"{path}: expected {count} whole-number labels, "
            f"got shape {labels.shape} of {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= MOST_IMAGES:
        raise ImagesError(f"{path}: expected labels from 0, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64), [str(label) for label in range(int(labels.max()) + 1)]


# --- folders and archives -----------------------------------------------------------------------

Files = dict[PurePosixPath, Callable[[], bytes]]


def _files_of_folder(folder: Path) -> Files:
    files: Files = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink():
            if path.stat().st_size > LARGEST_FILE:
                raise ImagesError(f"{path}: larger than {LARGEST_FILE} bytes")
            files[PurePosixPath(path.relative_to(folder).as_posix())] = path.read_bytes
    return files


def _files_of_archive(archive: zipfile.ZipFile) -> Files:
    files: Files = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename)
        if info.is_dir() or name.suffix.lower() not in SUFFIXES or "__MACOSX" in name.parts:
            continue
        if info.file_size > LARGEST_FILE:
            raise ImagesError(f"{info.filename}: larger than {LARGEST_FILE} bytes")
        files[name] = lambda info=info: _read_member(archive, info)  # type: ignore[misc]  # bound now
    return dict(sorted(files.items()))


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as file:
            return file.read(LARGEST_FILE)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError) as error:
        raise ImagesError(f"{info.filename}: cannot be unpacked ({error})") from error


def _read_encoded(files: Files, path: Path, split: str) -> LabelledImages:
    if files and all(name.parts[0] in (TRAIN, TEST) and len(name.parts) > 1 for name in files):
        files = {n.relative_to(n.parts[0]): f for n, f in files.items() if n.parts[0] == split}
    if not files or len(files) > MOST_IMAGES:
        raise ImagesError(f"{path}: expected 1..{MOST_IMAGES} images, found {len(files)}")
    pixels = _stack(_decode_all(files, path))
    folders = [name.parent.name for name in files]
    if "" in folders:
        return LabelledImages(pixels, None, [])
    classes = sorted(set(folders), key=_natural)
    index = {name: label for label, name in enumerate(classes)}
    return LabelledImages(pixels, np.array([index[f] for f in folders], dtype=np.int64), classes)


def _decode(name: PurePosixPath, data: bytes) -> np.ndarray:
    """Return an image as (H, W, C) uint8, grey ones with one channel."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise ImagesError(f"{name}: larger than {LARGEST_SIDE} pixels")
                grey = image.mode in ("1", "L", "LA", "I", "I;16")
                return np.atleast_3d(np.asarray(image.convert("L" if grey else "RGB")))
    except ImagesError:
        raise
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Warning) as error:
        raise ImagesError(f"{name}: not a readable image ({error})") from error


def _decode_all(files: Files, path: Path) -> list[np.ndarray]:
    """Return every image as (H, W, C) uint8, all of one height and width."""
    images: list[np.ndarray] = []
    size = 0
    for name, read in files.items():
        image = _decode(name, read())
        size += image.size
        if size > LARGEST_SET:
            raise ImagesError(f"{path}: more than {LARGEST_SET} bytes of images")
        if images and image.shape[:2] != images[0].shape[:2]:
            raise ImagesError(
                f"{name}: expected {_size(images[0])} pixels like the others, got {_size(image)}"
            )
        images.append(image)
    return images


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _stack(images: list[np.ndarray]) -> np.ndarray:
    """Return images (H, W, C) as one array (N, C, H, W), grey ones in colour if any is."""
    channels = max(image.shape[2] for image in images)
    equal = [np.broadcast_to(image, (*image.shape[:2], channels)) for image in images]
    return np.ascontiguousarray(np.stack(equal).transpose(0, 3, 1, 2))  # NHWC -> NCHW


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts class 2 before class 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
