"""The images that were drawn from a run."""

import hashlib
import io
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trilemma_client.errors import TrilemmaError
from trilemma_client.transport import Transport


class Samples:
    """Images of one sampler, fetched when they are first asked for; `data` is what REST says."""

    def __init__(self, transport: Transport, data: dict[str, Any]) -> None:
        self._transport, self.data = transport, data

    def __len__(self) -> int:
        return int(self.data["count"])

    @cached_property
    def _file(self) -> bytes:
        path = f"samplesets/{self.data['id']}/file/"
        found: bytes = self._transport.ask("GET", path, {}, headers={"Accept": "*/*"}).data
        digest = hashlib.sha256(found).hexdigest()
        if self.data["sha256"] not in ("", digest):
            raise TrilemmaError(f"{path}: has sha256 {digest}, expected {self.data['sha256']}")
        return found

    def to_bytes(self) -> bytes:
        """Return the file as it is kept: `.npz` with `arr_0` and, for classes, `labels`."""
        return self._file

    def to_numpy(self) -> npt.NDArray[np.uint8]:
        """Return the images, uint8 of shape (N, H, W, C)."""
        pixels: npt.NDArray[np.uint8] = self._arrays["arr_0"]
        return pixels

    def labels(self) -> npt.NDArray[np.int64] | None:
        """Return the class of each image, None where there are no classes."""
        return self._arrays.get("labels")

    def images(self) -> list[Image.Image]:
        """Return the images of Pillow, grey or in colour, in the order of their seeds."""
        pixels = self.to_numpy()
        return [Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each) for each in pixels]

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write each image as PNG, `000000.png` and on, into a folder and return the paths."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        paths = [place / f"{number:06}.png" for number in range(len(self.to_numpy()))]
        for path, image in zip(paths, self.images(), strict=True):
            image.save(path)
        return paths

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        with np.load(io.BytesIO(self._file)) as file:
            return dict(file)


def samples_of(transport: Transport, run: int | Mapping[str, Any], sampler: str | None) -> Samples:
    """Return what was drawn from a run with the sampler of this label, or with its only one.

    Raises:
        TrilemmaError: if nothing was, or several samplers did and none is named.
    """
    number = run if isinstance(run, int) else run["id"]
    drawn = list(transport.each("samplesets/", {"run": number, "status": "completed"}))
    found = [each for each in drawn if sampler in (None, each["sampler_label"])]
    if len(found) == 1:
        return Samples(transport, found[0])
    labels = ", ".join(each["sampler_label"] for each in drawn) or "none yet"
    raise TrilemmaError(
        f"expected sampler= to be one that drew from run {number}: {labels}"
        if drawn or sampler
        else f"nothing is drawn from run {number} yet"
    )
