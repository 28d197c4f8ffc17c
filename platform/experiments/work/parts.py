"""Batches of images on disk while a set is drawn, so that a worker goes on where another was killed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from evaluation.imagesets.atomic import replacing


@dataclass(frozen=True)
class Part:
    """Some images in a row, and the places among them of those that were blackened."""

    pixels: np.ndarray  # (n, C, H, W) uint8
    blackened: list[int]


class Parts:
    """The parts of one set: those of another pipeline, or of another way to draw, are not seen."""

    def __init__(self, folder: Path, drawn_by: Mapping[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(drawn_by, sort_keys=True).encode()).hexdigest()
        self._folder, self._key = folder, key[:16]

    def read(self, most: int) -> Iterator[Part]:
        """Yield the parts from the first image on, without a gap, of less than `most` images."""
        start = 0
        while (part := self._at(start)) is not None and start + len(part.pixels) < most:
            start += len(part.pixels)
            yield part

    def write(self, start: int, part: Part) -> None:
        """Write the part that begins at an image, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(start)) as file:
            np.savez(file, pixels=part.pixels, blackened=np.array(part.blackened, np.int64))

    def _at(self, start: int) -> Part | None:
        try:
            with np.load(self._path(start), allow_pickle=False) as arrays:
                return Part(arrays["pixels"], arrays["blackened"].tolist())
        except (FileNotFoundError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def _path(self, start: int) -> Path:
        return self._folder / f"{self._key}-{start:012d}.npz"
