"""Pictures, folders and archives for tests of reading images."""

import io
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from evaluation.imagesets.in_memory import ImageError

Entry = tuple[str | zipfile.ZipInfo, bytes]


def encode(
    mode: str = "RGB", size: tuple[int, int] = (4, 4), kind: str = "PNG", **options: Any
) -> bytes:
    """Return a picture whose pixels differ from each other, as a file's bytes."""
    rgb = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(rgb)
    if mode.startswith("I;16"):
        image = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_zip(path: Path, entries: Iterable[Entry], method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate names we want
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in entries:
                archive.writestr(name, data)
    return path


def make_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def message(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    return str(caught.value)


PNG = encode()
GREY = encode("L")


def png_of(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
