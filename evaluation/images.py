"""Reads and writes images in the one shared format: uint8, NCHW, 0..255, 1 or 3 channels.

Sizes are checked before a picture is decoded; `evaluation.archives` says what else is refused and
how folders and archives are laid out. Classes are sorted by name, by number where every name is a
number; images by name within their class.

Colour: grey, RGB, palette and bilevel images are read as they are; an alpha channel is dropped
where it is opaque and refused otherwise; 16-bit, CMYK and animated images are refused. Colour
becomes grey by ITU-R 601 luma (PIL's "L"), grey becomes colour by repetition. EXIF orientation is
applied, colour profiles are not.
"""

import hashlib
import io
import os
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from evaluation.archives import (
    BROKEN,
    PARTS,
    Classes,
    ImageError,
    Member,
    Source,
    arrange,
    check_zip_member,
    open_source,
    open_zip,
)

__all__ = [
    "CHUNK",
    "RESIZE_RULE",
    "ImageError",
    "Images",
    "convert_images",
    "read_images",
    "read_parts",
    "write_npz",
]

MAX_SIDE = 8192  # pixels, of an image file as it comes
MAX_CLASSES = 100_000
MAX_ARRAY_BYTES = 16 * 2**30  # of all decoded pixels together
RESIZE_RULE = "centre crop to a square, then PIL Lanczos (antialiased) in 8 bits"

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WebP": WebPImageFile,
}
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
CHUNK = 256  # images a thread decodes, and reports, at a time

Progress = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True, eq=False)
class Images:
    """Images in memory.

    pixels: (N, C, H, W) uint8, 0..255, C is 1 or 3.
    labels: (N,) int64, indices into `classes`; None = unlabelled.
    classes: names in label order; () = unlabelled.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]


def read_images(
    path: Path | str,
    *,
    resolution: int | None = None,  # resize to this side by RESIZE_RULE; None = all as they come
    channels: int | None = None,  # 1 or 3; None = as they come, all alike
    part: str | None = None,  # "train" or "test", where the source has these parts
    on_progress: Progress | None = None,
) -> Images:
    """Return the images of an `.npz` file, a folder or a zip archive.

    An `.npz` holds `arr_0` uint8, (N, H, W, C) or else (N, C, H, W), and perhaps integer `labels`
    (N,); its classes are then "0", "1", ... up to the highest label.

    Raises:
        ImageError: if anything is damaged, hostile, mixed or laid out in another way.
    """
    path = Path(path)
    _check_wishes(path.name, resolution, channels)
    if path.suffix.lower() == ".npz" and not path.is_dir():
        if part is not None:
            raise ImageError(f"{path.name}: has no part {part!r}; an .npz file has no parts")
        images = _read_npz(path)
        return convert_images(images, name=path.name, resolution=resolution, channels=channels)
    with open_source(path) as source:
        classes = _choose(source.name, arrange(source), part)
        return _decode_all(source, classes, resolution, channels, on_progress)


def read_parts(path: Path | str) -> tuple[str, ...]:
    """Return the parts of a folder or zip: (), ("train",) or ("train", "test").

    Raises:
        ImageError: as `read_images`, but for what only decoding shows.
    """
    with open_source(Path(path)) as source:
        layout = arrange(source)
        return tuple(part for part in PARTS if part in layout)


def write_npz(
    path: Path | str, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64] | None
) -> str:
    """Write images as `arr_0` (N, H, W, C) and `labels`, uncompressed; return the file's sha256.

    pixels: (N, C, H, W) uint8. The file appears whole or not at all; equal images, equal files.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ImageError(
            f"expected uint8 pixels (N, 1 or 3, H, W), got {pixels.dtype} {pixels.shape}"
        )
    if labels is not None and labels.shape != pixels.shape[:1]:
        raise ImageError(f"expected labels of shape {pixels.shape[:1]}, got {labels.shape}")
    path = Path(path)
    arrays: dict[str, Any] = {"arr_0": np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))}
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def convert_images(
    images: Images, *, name: str, resolution: int | None, channels: int | None
) -> Images:
    """Return images with the wanted channels and size, by the rules for files.

    name: what errors call the images.
    """
    _check_wishes(name, resolution, channels)
    count, depth, height, width = images.pixels.shape
    depth, size = channels or depth, (resolution or height, resolution or width)
    if images.pixels.shape[1:] == (depth, *size):
        return images
    _check_array_bytes(name, (count, depth, *size))
    pixels = np.empty((count, depth, *size), np.uint8)
    for index, image in enumerate(images.pixels):
        hwc = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        fitted = np.asarray(_fit(Image.fromarray(hwc), resolution, channels))
        pixels[index] = fitted.reshape(*size, depth).transpose(2, 0, 1)
    return Images(pixels, images.labels, images.classes)


def _check_wishes(name: str, resolution: int | None, channels: int | None) -> None:
    if channels not in (None, 1, 3):
        raise ImageError(f"{name}: expected 1 or 3 channels, got {channels}")
    if resolution is not None and not 1 <= resolution <= MAX_SIDE:
        raise ImageError(
            f"{name}: expected a resolution of 1 to {MAX_SIDE} pixels, got {resolution}"
        )


def _choose(source: str, layout: dict[str, Classes], part: str | None) -> Classes:
    if part is None and len(layout) == 1:
        return next(iter(layout.values()))
    if part in layout:
        return layout[part]
    has = " and ".join(f"{name}/" for name in layout if name) or "no parts"
    asked = "no part was chosen" if part is None else f"{part!r} was asked for"
    raise ImageError(f"{source}: has {has}, but {asked}; expected one of its parts")


def _decode_all(
    source: Source,
    classes: Classes,
    resolution: int | None,
    channels: int | None,
    on_progress: Progress | None,
) -> Images:
    """Decode every file into one array, in threads; the first file decides size and colour."""
    names = tuple(name for name in classes if name)
    members = [member for files in classes.values() for member in files]
    first = _decode(source, members[0], resolution, channels)
    depth = 1 if first.mode == "L" else 3
    shape = (len(members), depth, first.height, first.width)
    _check_array_bytes(source.name, shape)
    pixels = np.empty(shape, np.uint8)

    def fill(start: int) -> int:
        for index in range(start, min(start + CHUNK, len(members))):
            image = _decode(source, members[index], resolution, channels)
            _check_like(source.name, members[index], image, members[0], first)
            pixels[index] = np.asarray(image).reshape(*shape[2:], depth).transpose(2, 0, 1)
        return min(start + CHUNK, len(members))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done in pool.map(fill, range(0, len(members), CHUNK)):
            if on_progress is not None:
                on_progress(done, len(members))
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return Images(pixels, labels.astype(np.int64) if names else None, names)


def _check_like(
    source: str, member: Member, image: Image.Image, first: Member, like: Image.Image
) -> None:
    where = f"{source}: {member.name}"
    if image.size != like.size:
        raise ImageError(
            f"{where}: {image.width}x{image.height} pixels where {first.name} has "
            f"{like.width}x{like.height}; expected one size, or a resolution to resize to"
        )
    if image.mode != like.mode:
        words = {"L": "grey", "RGB": "colour"}
        raise ImageError(
            f"{where}: {words[image.mode]} where {first.name} is {words[like.mode]}; "
            "expected all alike, or a number of channels to convert to"
        )


def _check_array_bytes(source: str, shape: tuple[int, ...]) -> None:
    count, channels, height, width = shape
    if (total := count * channels * height * width) > MAX_ARRAY_BYTES:
        raise ImageError(
            f"{source}: {count:,} images of {width}x{height}x{channels} take {total:,} bytes; "
            f"expected at most {MAX_ARRAY_BYTES:,}, or a smaller resolution"
        )


# --- One image --------------------------------------------------------------------------------


def _decode(
    source: Source, member: Member, resolution: int | None, channels: int | None
) -> Image.Image:
    """Return a file as an "L" or "RGB" image of the wanted size and channels."""
    where = f"{source.name}: {member.name}"
    data = source.read(member)
    kind = _check_kind(where, member, data)
    try:
        with _PLUGINS[kind](io.BytesIO(data)) as image:
            _check_header(where, kind, data, image)
            image.load()
            upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
            return _fit(_flatten(where, upright), resolution, channels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # of WebP, whose header PIL checks itself
        raise ImageError(f"{where}: {error}; expected at most {MAX_SIDE} a side") from error
    except BROKEN as error:
        raise ImageError(
            f"{where}: truncated or damaged ({error}); expected a whole {kind} file"
        ) from error


def _check_kind(where: str, member: Member, data: bytes) -> str:
    """Return the file's format by its content, which its name must agree with."""
    named = _SUFFIXES.get(Path(member.name).suffix.lower())
    kind = None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "PNG"
    elif data.startswith(b"\xff\xd8\xff"):
        kind = "JPEG"
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "WebP"
    if kind is None:
        raise ImageError(f"{where}: not an image; expected only PNG, JPEG and WebP files")
    if kind != named:
        raise ImageError(f"{where}: a {kind} image by content but not by name; expected both alike")
    if kind == "PNG" and b"IEND\xaeB`\x82" not in data:  # PIL forgives a missing end
        raise ImageError(f"{where}: truncated or damaged (no end mark); expected a whole PNG file")
    return kind


def _check_header(where: str, kind: str, data: bytes, image: ImageFile.ImageFile) -> None:
    if max(image.size) > MAX_SIDE:
        raise ImageError(
            f"{where}: {image.width}x{image.height} pixels; expected at most {MAX_SIDE} a side"
        )
    if getattr(image, "n_frames", 1) != 1:
        raise ImageError(f"{where}: animated; expected a still image")
    bits_16 = kind == "PNG" and data[24] == 16  # PIL would silently drop the low bytes of RGB
    if bits_16 or image.mode not in ("1", "L", "P", "RGB", "LA", "RGBA"):
        found = "16 bits a channel" if bits_16 else f"colour mode {image.mode}"
        raise ImageError(f"{where}: {found}; expected 8-bit grey, RGB or palette")


def _flatten(where: str, image: Image.Image) -> Image.Image:
    """Return the image as "L" or "RGB", without its alpha channel if that is opaque."""
    has_alpha = "A" in image.mode or "transparency" in image.info
    if has_alpha and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ImageError(f"{where}: partly transparent; expected no alpha or an opaque one")
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def _fit(image: Image.Image, resolution: int | None, channels: int | None) -> Image.Image:
    """Apply the rules for channels and size, in this order."""
    mode = {None: image.mode, 1: "L", 3: "RGB"}[channels]
    if image.mode != mode:
        image = image.convert(mode)
    if resolution is None or image.size == (resolution, resolution):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: with resize(box=...) the filter would reach beyond the box.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((resolution, resolution), Image.Resampling.LANCZOS)


# --- .npz -------------------------------------------------------------------------------------


def _read_npz(path: Path) -> Images:
    with open_zip(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if "arr_0.npy" not in infos:
            raise ImageError(f"{path.name}: holds no arr_0; expected images as arr_0")
        arrays = {
            name: _read_array(path.name, archive, infos[f"{name}.npy"])
            for name in ("arr_0", "labels")
            if f"{name}.npy" in infos
        }
    pixels = _to_nchw(path.name, arrays["arr_0"])
    if "labels" not in arrays:
        return Images(pixels, None, ())
    labels = arrays["labels"]
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ImageError(
            f"{path.name}: labels: {labels.dtype} {labels.shape}; expected one whole number of "
            f"at least 0 for each of {len(pixels)} images"
        )
    if labels.max() >= MAX_CLASSES:
        raise ImageError(
            f"{path.name}: labels: up to {labels.max()}; expected labels below {MAX_CLASSES}"
        )
    return Images(
        pixels, labels.astype(np.int64), tuple(str(label) for label in range(labels.max() + 1))
    )


def _read_array(
    source: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> npt.NDArray[np.generic]:
    """Return a member's array; its announced shape must fit its size before memory is taken."""
    check_zip_member(source, info)
    where = f"{source}: {info.filename.removesuffix('.npy')}"
    if info.file_size > MAX_ARRAY_BYTES:
        raise ImageError(f"{where}: {info.file_size:,} bytes; expected at most {MAX_ARRAY_BYTES:,}")
    try:
        with archive.open(info) as file:
            version = npy.read_magic(file)
            read_header = (
                npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(file)
            count = int(np.prod(shape, dtype=object))
            if dtype.hasobject or count * dtype.itemsize != info.file_size - file.tell():
                raise ImageError(
                    f"{where}: {dtype} {shape} does not fit its size; expected a plain array"
                )
            flat = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        return flat.reshape(shape, order="F" if fortran_order else "C")
    except ImageError:
        raise
    except BROKEN as error:
        raise ImageError(f"{where}: damaged ({error}); expected a whole array") from error


def _to_nchw(source: str, array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8 and array.ndim == 4 and 0 not in array.shape:
        if array.shape[3] in (1, 3):
            return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
        if array.shape[1] in (1, 3):
            return array
    raise ImageError(
        f"{source}: arr_0: {array.dtype} {array.shape}; "
        "expected uint8 (N, H, W, 1 or 3) or (N, 1 or 3, H, W) and at least one image"
    )
