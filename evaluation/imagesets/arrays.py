"""Reads arrays in `.npy` and `.npz` files piece by piece, and tells images from other arrays.

Images are uint8 with 1 or 3 channels. An array in a file is (N, H, W, C) if its last axis has the
length 1 or 3, and else (N, C, H, W): published sets are stored so, and (N, 3, H, 3) is thus taken
for images 3 pixels high. An array in memory is (N, C, H, W) if its second axis has the length 1 or
3, and else (N, H, W, C). Floats are refused: rounding them in one of the usual ways or another
changes a score, so it is left to whoever made the images. Nothing is ever unpickled.
"""

import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from evaluation.imagesets.decoding import MAX_SIDE, Pixels
from evaluation.imagesets.sources import BROKEN, ImageError, check_zip_member, open_zip
from evaluation.imagesets.texts import check_captions

MAX_WHOLE_BYTES = 2**30  # of an array that is read whole: labels, moments
MAX_SMALL_BYTES = 64 * 2**20  # of an array that may be packed well: labels in order are
MAX_WHOLE_IMAGES = 16 * 2**30  # bytes of images that cannot be read one after the other
NAMES = ("arr_0", "images", "samples")  # of the images in an .npz file, in this order
# What says nothing more of the images: what they were drawn from, and published statistics of them.
ABOUT_THEM = frozenset({"seeds", "mu", "sigma", "mu_s", "sigma_s"})
CAPTIONS = "captions"  # the array of texts beside the images
MAX_CLASSES = 100_000
PIECE_BYTES = 64 * 2**20

Array = npt.NDArray[Any]
Axes = Literal["NHWC", "NCHW"]


@dataclass(frozen=True)
class Layout:
    """How the images lie in an array, and their (C, H, W)."""

    axes: Axes
    shape: tuple[int, int, int]

    def to_nchw(self, array: Array) -> Pixels:
        """Return the images of a part of the array as (n, C, H, W), contiguous."""
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if self.axes == "NHWC" else array)


def find_layout(
    where: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    likely: Axes,  # where the shape allows both
    pieces: Callable[[], Iterator[Array]],  # of the array, to count what is not finite
) -> Layout:
    """Return how images lie in an array.

    Raises:
        ImageError: if they are no images; what is not finite in an array of floats is counted.
    """
    order: tuple[Axes, Axes] = ("NHWC", "NCHW") if likely == "NHWC" else ("NCHW", "NHWC")
    if dtype == np.uint8 and len(shape) == 4 and 0 not in shape:
        _, *axes = shape
        for layout in order:
            channels, height, width = axes if layout == "NCHW" else (axes[2], *axes[:2])
            if channels in (1, 3):
                if max(height, width) > MAX_SIDE:
                    raise ImageError(
                        f"{where}: images of {width}x{height} pixels; "
                        f"expected at most {MAX_SIDE} a side"
                    )
                return Layout(layout, (channels, height, width))
    is_float = dtype.kind == "f"
    counted = _non_finite(pieces()) if is_float else ""
    raise ImageError(
        f"{where}: {dtype} {shape}{counted}; expected uint8 (N, H, W, 1 or 3) or "
        f"(N, 1 or 3, H, W) and at least one image"
        + ("; floats are not rounded here: how it is done changes a score" if is_float else "")
    )


def _non_finite(pieces: Iterable[Array]) -> str:
    nans = infinite = 0
    for piece in pieces:
        nans += int(np.isnan(piece).sum())
        infinite += int(np.isinf(piece).sum())
    return f" with {nans} NaN and {infinite} infinite values" if nans or infinite else ""


def check_labels(name: str, labels: Array, count: int | None) -> npt.NDArray[np.int64]:
    """Return integer labels as int64.

    Raises:
        ImageError: if there is not one of at least 0 and below MAX_CLASSES for each image.
    """
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise _no_labels(name, labels.dtype, labels.shape, count)
    if labels.max() >= MAX_CLASSES:
        raise ImageError(
            f"{name}: labels: up to {labels.max()}; expected labels below {MAX_CLASSES}"
        )
    return labels.astype(np.int64)


def _no_labels(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...], count: int | None
) -> ImageError:
    return ImageError(
        f"{name}: labels: {dtype} {shape}; expected one whole number of at least 0 for each of "
        f"{count} images"
    )


def label_array(names: Mapping[str, "StoredArray"], images: str) -> str | None:
    """Return which array of an `.npz` holds the labels of its images, None if none does.

    That is `labels`, or `arr_1` beside `arr_0` if it holds one whole number for each image, as
    `numpy.savez(file, images, labels)` writes it.
    """
    if "labels" in names:
        return "labels"
    if images != "arr_0" or (second := names.get("arr_1")) is None:
        return None
    is_labels = second.dtype.kind in "iu" and second.shape == names[images].shape[:1]
    return "arr_1" if is_labels else None


def read_labels(name: str, array: "StoredArray", count: int | None) -> npt.NDArray[np.int64]:
    """Return the labels in a file; they are not read if they are not as many as the images.

    Raises:
        ImageError: as `check_labels`.
    """
    if array.shape != (count,):
        raise _no_labels(name, array.dtype, array.shape, count)
    return check_labels(name, array.whole(), count)


def read_captions(name: str, array: "StoredArray", count: int | None) -> tuple[str, ...]:
    """Return the captions in a file; they are not read if they are not as many as the images.

    Raises:
        ImageError: if there is not a plain text of at most 1,000 characters for each image.
    """
    if array.shape != (count,) or array.dtype.kind != "U":
        raise ImageError(
            f"{name}: {CAPTIONS}: {array.dtype} {array.shape}; expected text of fixed width for "
            f"each of {count} images"
        )
    found = array.whole()
    codes = np.frombuffer(found.tobytes(), np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if codes.max(initial=0) > sys.maxunicode:  # Python fails on these with no word of what is wrong
        raise ImageError(f"{name}: {CAPTIONS}: damaged (no characters); expected text")
    return check_captions(f"{name}: {CAPTIONS}", found.tolist(), _titles(len(found)))


def caption_array(name: str, captions: Sequence[str], count: int) -> npt.NDArray[np.str_]:
    """Return captions as an array that `read_captions` reads.

    Raises:
        ImageError: as `read_captions`, or if they take too many bytes.
    """
    checked = check_captions(f"{name}: {CAPTIONS}", captions, _titles(count))
    longest = max(map(len, checked), default=0)
    if (size := 4 * longest * count) > MAX_WHOLE_BYTES:
        raise ImageError(
            f"{name}: {CAPTIONS}: {size:,} bytes, as the longest has {longest} characters; "
            f"expected at most {MAX_WHOLE_BYTES:,}"
        )
    return np.array(checked, np.str_)


def _titles(count: int) -> list[str]:
    return [f"image {index}" for index in range(count)]


# --- Files ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredArray:
    """An array in a file that is of the size which its header promises.

    where: what errors call it.
    opened: opens the file at the first value.
    """

    where: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    opened: Callable[[], AbstractContextManager[IO[bytes]]]

    def whole(self, *, max_bytes: int = MAX_WHOLE_BYTES) -> Array:
        """Return the array.

        Raises:
            ImageError: if it is damaged or takes more bytes.
        """
        count = int(np.prod(self.shape, dtype=object))
        if (size := count * self.dtype.itemsize) > max_bytes:
            raise ImageError(f"{self.where}: {size:,} bytes; expected at most {max_bytes:,}")
        with self._damage_told(), self.opened() as file:
            flat = np.frombuffer(_read_exactly(file, size), self.dtype)
        return flat.reshape(self.shape, order="F" if self.fortran_order else "C")

    def runs(self, runs: Iterable[tuple[int, int]]) -> Iterator[Array]:
        """Yield rows start..stop-1 of every run; runs ascend; not in Fortran's order.

        Raises:
            ImageError: if the file is damaged.
        """
        row_bytes = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        with self._damage_told(), self.opened() as file:
            at = 0
            for start, stop in runs:
                if start > at:
                    file.seek((start - at) * row_bytes, os.SEEK_CUR)
                data = _read_exactly(file, (stop - start) * row_bytes)
                yield np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])
                at = stop

    def pieces(self) -> Iterator[Array]:
        """Yield all values, some at a time and in no shape."""
        with self._damage_told(), self.opened() as file:
            step = PIECE_BYTES - PIECE_BYTES % self.dtype.itemsize
            while data := file.read(step):
                yield np.frombuffer(data, self.dtype)

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except ImageError:
            raise
        except BROKEN as error:
            raise ImageError(f"{self.where}: damaged ({error}); expected a whole array") from error


def open_npy(path: Path) -> StoredArray:
    """Return the array of an `.npy` file.

    Raises:
        ImageError: if it is none, or is not as long as its header says.
    """
    if not path.is_file():
        raise ImageError(f"{path.name}: does not exist; expected an .npy file")

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with path.open("rb") as file:
            yield file

    return _stored(path.name, opened, path.stat().st_size)


def open_npz(path: Path) -> dict[str, StoredArray]:
    """Return the arrays of an `.npz` file by their names, without `.npy`.

    Raises:
        ImageError: if it is none, or an array is packed too well or not as long as its header says.
    """
    with open_zip(path) as archive:
        infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    arrays: dict[str, StoredArray] = {}
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name in arrays:
            raise ImageError(f"{path.name}: {name}: stored twice; expected each name once")
        arrays[name] = _open_member(path, info)
    return arrays


def _open_member(path: Path, info: zipfile.ZipInfo) -> StoredArray:
    check_zip_member(path.name, info, may_shrink=info.file_size <= MAX_SMALL_BYTES)

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_zip(path) as archive, archive.open(info) as file:
            yield file

    where = f"{path.name}: {info.filename.removesuffix('.npy')}"
    return _stored(where, opened, info.file_size)


def _stored(
    where: str, opened: Callable[[], AbstractContextManager[IO[bytes]]], size: int
) -> StoredArray:
    """Return an array of ``size`` bytes with its header, which must promise as many."""
    try:
        with opened() as file:
            shape, fortran_order, dtype = _read_header(file)
            start = file.tell()
    except BROKEN as error:
        raise ImageError(f"{where}: damaged ({error}); expected a whole array") from error
    count = int(np.prod(shape, dtype=object))
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize != size - start:
        raise ImageError(f"{where}: {dtype} {shape} does not fit its size; expected a plain array")

    @contextmanager
    def opened_at_values() -> Iterator[IO[bytes]]:
        with opened() as file:
            file.read(start)
            yield file

    return StoredArray(where, dtype, shape, fortran_order, opened_at_values)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    return npy.read_array_header_2_0(file)


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("ends early")
    return data
