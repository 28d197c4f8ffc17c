"""What every feature extractor offers, and how a whole image set is run through one."""

import hashlib
import logging
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)


class ExtractorError(RuntimeError):
    """An extractor cannot be had: weights are missing, damaged, or cannot be trained."""


class Stopped(Exception):
    """The work ended early because ``should_stop()`` turned true; no error, the caller asked."""


@dataclass(frozen=True)
class FeatureSet:
    """Features (N, D) and logits (N, K) of N images in their order, float32 on the CPU."""

    features: Tensor
    logits: Tensor


class Extractor(ABC):
    """A frozen network that turns uint8 images into features.

    ``layer`` names what is read, ``dim`` is its width, ``weights_sha256`` the digest of the weights
    file and ``recipe`` how the weights came about ({} = they were published). ``batch_size`` is
    how many images at a time are fast without much memory.
    """

    name: str
    layer: str
    dim: int
    weights_sha256: str
    recipe: Mapping[str, Any]
    device: torch.device
    batch_size: int = 256

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, D) and logits (N, K), float32, of uint8 images (N, C, H, W)."""


def extract(
    extractor: Extractor,
    images: np.ndarray,
    *,
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FeatureSet:
    """Return features and logits of ``images``, uint8 (N, C, H, W) with N of at least 1.

    The result depends on the batch size by rounding alone. ``on_progress`` receives the done share
    in 0..1 after each batch.

    Raises:
        Stopped: if ``should_stop()`` was true before a batch.
    """
    batch_size = batch_size or extractor.batch_size
    features, logits = [], []
    for start in range(0, len(images), batch_size):
        if should_stop():
            raise Stopped
        pixels = torch.tensor(images[start : start + batch_size])
        # A tensor of its own: convolutions round differently for other strides of the same images,
        # and numpy leaves the strides of a single channel as they are.
        batch = torch.empty(pixels.shape, dtype=pixels.dtype, device=extractor.device).copy_(pixels)
        with torch.inference_mode(), full_precision():
            some_features, some_logits = extractor.forward(batch)
        features.append(some_features.float().cpu())
        logits.append(some_logits.float().cpu())
        on_progress(min(start + batch_size, len(images)) / len(images))
    return FeatureSet(features=torch.cat(features), logits=torch.cat(logits))


def extract_cached(
    extractor: Extractor,
    images: np.ndarray,
    cache: Path | None,
    *,
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FeatureSet:
    """Return what ``extract`` returns, from the folder ``cache`` if it was computed before.

    The key is the content of the images with the layer and weights of the extractor, so an entry
    cannot be stale. A damaged entry is computed anew. ``None`` = no cache.
    """
    if cache is None:
        return extract(
            extractor,
            images,
            batch_size=batch_size,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    identity = f"{extractor.name} {extractor.layer} {extractor.weights_sha256}"
    key = hashlib.sha256(f"{content_sha256(images)} {identity}".encode()).hexdigest()
    path = cache / f"features-{key[:32]}.safetensors"
    found = _read_features(path)
    if found is None:
        found = extract_cached(
            extractor,
            images,
            None,
            batch_size=batch_size,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        _write_features(path, found)
    on_progress(1.0)
    return found


def _read_features(path: Path) -> FeatureSet | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = FeatureSet(
                features=file.get_tensor("features"), logits=file.get_tensor("logits")
            )
            digest = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError) as error:
        logger.warning("computing again: %s is damaged: %s", path, error)
        return None
    if digest != _features_sha256(found):
        logger.warning("computing again: %s is damaged: wrong sha256", path)
        return None
    return found


def _write_features(path: Path, found: FeatureSet) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        save_file(
            {"features": found.features, "logits": found.logits},
            part,
            metadata={"sha256": _features_sha256(found)},
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _features_sha256(found: FeatureSet) -> str:
    return content_sha256(found.features.numpy(), found.logits.numpy())


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute convolutions in float32 proper: TF32 moves FID by whole points on small batches."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(*arrays: np.ndarray) -> str:
    """Return the sha256 of types, shapes and values of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
