"""Reads and writes whole sets of images in the one shared format, in memory.

Pixels are uint8, NCHW, 0..255, 1 or 3 channels. `evaluation.imagesets.opening` reads sets of any size, and
says what is read and what is refused.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.imagesets.decoding import Lossy, Target, fit
from evaluation.imagesets.opening import open_images, read_parts
from evaluation.imagesets.sources import RESIZE_RULE, ImageError
from evaluation.imagesets.stream import CHUNK, Progress
from evaluation.imagesets.writing import write_npz

__all__ = [
    "CHUNK",
    "RESIZE_RULE",
    "ImageError",
    "Images",
    "content_digest",
    "convert_images",
    "read_images",
    "read_parts",
    "write_npz",
]

MAX_ARRAY_BYTES = 16 * 2**30  # of all decoded pixels together


@dataclass(frozen=True, eq=False)
class Images:
    """Images in memory.

    pixels: (N, C, H, W) uint8, 0..255, C is 1 or 3.
    labels: (N,) int64, indices into `classes`; None = unlabelled.
    classes: names in label order; () = unlabelled.
    left_out: what the source holds beside the images, how much of it and why: "3 hidden files (…)".
    is_lossy: (N,) bool, which images come from lossy files; None = none that is known.
    captions: a text for each image; None = without.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    is_lossy: npt.NDArray[np.bool_] | None = None
    captions: tuple[str, ...] | None = None

    @property
    def lossy(self) -> int:
        """Return how many of the images come from lossy files."""
        return 0 if self.is_lossy is None else int(self.is_lossy.sum())


def read_images(
    path: Path | str,
    *,
    resolution: int | None = None,  # resize to this side by RESIZE_RULE; None = all as they come
    channels: int | None = None,  # 1 or 3; None = as they come, all alike
    part: str | None = None,  # "train" or "test", where the source has these parts
    lossy: Lossy = "accept",  # JPEG and lossy WebP files: accept them or refuse the first
    on_progress: Progress | None = None,
) -> Images:
    """Return the images of any file or folder that `open_images` opens.

    Raises:
        ImageError: if anything is damaged, hostile, mixed or laid out in another way, or all of it
            does not fit in memory.
    """
    stream = open_images(
        path,
        resolution=resolution,
        channels=channels,
        part=part,
        lossy=lossy,
        on_progress=on_progress,
    )
    assert stream.count is not None, "files are counted when they are opened"
    shape = (stream.count, *stream.shape)
    check_array_bytes(stream.name, shape)
    pixels = np.empty(shape, np.uint8)
    done = 0
    for chunk in stream.chunks():
        pixels[done : done + len(chunk)] = chunk
        done += len(chunk)
    is_lossy = np.zeros(stream.count, bool)
    is_lossy[stream.lossy_indices] = True
    return Images(pixels, stream.labels, stream.classes, stream.left_out, is_lossy, stream.captions)


def convert_images(
    images: Images, *, name: str, resolution: int | None, channels: int | None
) -> Images:
    """Return images with the wanted channels and size, by the rules for files.

    name: what errors call the images.
    """
    target = Target(resolution=resolution, channels=channels)
    target.check(name)
    count, depth, height, width = images.pixels.shape
    shape = target.shape((depth, height, width))
    if shape == (depth, height, width):
        return images
    check_array_bytes(name, (count, *shape))
    return replace(images, pixels=fit(images.pixels, target))


def check_array_bytes(source: str, shape: tuple[int, ...]) -> None:
    """Raise ImageError if images (N, C, H, W) do not fit in memory."""
    count, channels, height, width = shape
    if (total := count * channels * height * width) > MAX_ARRAY_BYTES:
        raise ImageError(
            f"{source}: {count:,} images of {width}x{height}x{channels} take {total:,} bytes; "
            f"expected at most {MAX_ARRAY_BYTES:,}, or a smaller resolution"
        )


def content_digest(splits: dict[str, Images]) -> str:
    """Return the sha256 of what all splits hold, whatever the file format.

    That is pixels, labels, classes, and captions where there are some.
    """
    content = {
        name: {
            "shape": list(images.pixels.shape),  # (N, C, H, W)
            "pixels": _sha256(images.pixels),
            "labels": None if images.labels is None else _sha256(images.labels.astype("<i8")),
            "classes": list(images.classes),
            **({} if images.captions is None else {"captions": images.captions}),
        }
        for name, images in splits.items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
