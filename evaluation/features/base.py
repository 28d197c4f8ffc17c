"""What every feature extractor offers, and how a whole image set is run through one."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.imagesets.stream import rechunked


class ExtractorError(RuntimeError):
    """An extractor cannot be had: weights are missing, damaged, or cannot be trained."""


class ExtractionStopped(Exception):
    """The work ended early because ``should_stop()`` turned true; no error, the caller asked."""


@dataclass(frozen=True)
class FeatureSet:
    """Features (N, D) and logits (N, K) of N images in their order, float32 on the CPU.

    ``logits`` is ``None`` where the extractor has no classes.
    """

    features: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class ExtractorRequest:
    """What an extractor may be built from."""

    name: str
    weights: Path | None  # a local file or folder; None = the known one of that name
    cache: Path  # where known weights are kept, and put when they can be downloaded
    device: torch.device
    reference: np.ndarray | None  # uint8 (N, C, H, W): the pixels that its spec asks for
    recipe: Mapping[str, Any] | None  # None = the default one of a generated network
    compile_backend: str | None  # of torch.compile; None = as it is


class Extractor(ABC):
    """A frozen network that turns uint8 images into features.

    ``layer`` names what is read, ``dim`` is its width, ``weights_sha256`` the digest of the weights
    file and ``recipe`` how the weights came about ({} = they were published). ``has_logits`` says
    whether it classifies as well. ``batch_size`` is how many images at a time are fast without much
    memory.
    """

    name: str
    layer: str
    dim: int
    weights_sha256: str
    recipe: Mapping[str, Any]
    device: torch.device
    batch_size: int = 256
    has_logits: bool = True
    package: str = ""  # name and version of the one that brings it; "" = built in

    @property
    def identity(self) -> tuple[str, ...]:
        """Return what features of the same images are known by."""
        known = (self.name, self.layer, self.weights_sha256)
        return (*known, self.package) if self.package else known

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features (N, D) and logits (N, K) or ``None``, of uint8 images (N, C, H, W)."""


def extract(
    extractor: Extractor,
    images: np.ndarray | Iterable[np.ndarray],
    *,
    count: int | None = None,  # images in the chunks; None = unknown, or that of an array
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FeatureSet:
    """Return features and logits of ``images``: uint8 (N, C, H, W), or an iterable of such chunks.

    Chunks are cut into batches anew, and no more than one chunk and one batch is held at a time.
    The result depends on the batch size by rounding alone. ``on_progress`` receives the done share
    in 0..1 after each batch; while the count is unknown it receives the last one only.

    Raises:
        ExtractionStopped: if ``should_stop()`` was true before a batch.
        ValueError: if there is no image, they are not uint8, or not ``count`` of them.
    """
    if isinstance(images, np.ndarray):
        images, count = [images], len(images)
    features, logits = _Rows(count), _Rows(count)
    for batch in rechunked(_checked(images), batch_size or extractor.batch_size):
        if should_stop():
            raise ExtractionStopped
        some_features, some_logits = _forward(extractor, batch)
        features.append(some_features)
        if some_logits is not None:
            logits.append(some_logits)
        if count is not None:
            on_progress(features.seen / count)
    found = FeatureSet(features=features.all(), logits=logits.all() if logits.seen else None)
    if count is None:
        on_progress(1.0)
    return found


def _forward(extractor: Extractor, batch: np.ndarray) -> tuple[Tensor, Tensor | None]:
    pixels = torch.tensor(batch)
    # A tensor of its own: convolutions round differently for other strides of the same images,
    # and numpy leaves the strides of a single channel as they are.
    own = torch.empty(pixels.shape, dtype=pixels.dtype, device=extractor.device).copy_(pixels)
    with torch.inference_mode(), full_precision():
        features, logits = extractor.forward(own)
    return features.float().cpu(), None if logits is None else logits.float().cpu()


def _checked(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if chunk.dtype != np.uint8 or chunk.ndim != 4:
            raise ValueError(f"expected uint8 (N, C, H, W), got {chunk.dtype} {chunk.shape}")
        yield chunk


class _Rows:
    """Rows that arrive in batches, as one tensor; without a second copy if the count is known."""

    def __init__(self, count: int | None) -> None:
        self.seen = 0
        self._count = count
        self._whole: Tensor | None = None
        self._parts: list[Tensor] = []

    def append(self, rows: Tensor) -> None:
        start, self.seen = self.seen, self.seen + len(rows)
        if self._count is None:
            self._parts.append(rows)
            return
        if self.seen > self._count:
            raise ValueError(f"expected {self._count} images, got more")
        if self._whole is None:
            self._whole = rows.new_empty(self._count, *rows.shape[1:])
        self._whole[start : self.seen] = rows

    def all(self) -> Tensor:
        if self.seen == 0 or (self._count is not None and self.seen != self._count):
            expected = "at least 1 image" if not self._count else f"{self._count} images"
            raise ValueError(f"expected {expected}, got {self.seen}")
        return torch.cat(self._parts) if self._whole is None else self._whole


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in float32 proper: TF32 moves FID by whole points on small batches."""
    products = torch.get_float32_matmul_precision()
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(products)


def content_sha256(*arrays: np.ndarray) -> str:
    """Return the sha256 of types, shapes and values of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
