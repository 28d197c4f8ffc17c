"""Pixels on the principal components of the reference: the linear baseline of all extractors."""

import hashlib
import json
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError
from evaluation.imagesets.splits import choose
from evaluation.imagesets.stream import images_digest
from evaluation.protocols.extractor_specs import PIXELS
from evaluation.protocols.extractors import EXTRACTORS

SPEC = EXTRACTORS[PIXELS]
COMPONENTS = 64
MOST_IMAGES = 4096  # components are fitted on: no more of them than that are ever asked of a matrix
NEGLIGIBLE = 1e-10  # of the largest variance: pixels that never change have none
COLUMNS = 8192  # pixels at a time, so that large images need no second copy in float64


class PixelExtractor(Extractor):
    """Coordinates of an image along the reference's first 64 principal components.

    Pixels are x / 255, in float64. Fewer components where the reference varies along fewer. The
    components are determined by the reference but for rounding, so the digest is that of the recipe,
    which names the reference, and not of the numbers.
    """

    name = SPEC.name
    layer = SPEC.layer
    has_logits = False

    def __init__(self, reference: np.ndarray, *, device: str | torch.device = "cpu") -> None:
        """Fit the components on the reference, uint8 (N, C, H, W).

        Raises:
            ExtractorError: if all images of the reference are the same.
        """
        self.device = torch.device(device)
        self.recipe = _recipe(reference)
        canonical = json.dumps(self.recipe, sort_keys=True, separators=(",", ":"))
        self.weights_sha256 = hashlib.sha256(canonical.encode()).hexdigest()
        mean, components = _fit(reference)
        self.dim = len(components)
        self.batch_size = max(1, min(256, 2**22 // mean.size))
        self._shape = reference.shape[1:]
        self._mean = torch.from_numpy(mean).to(self.device)
        self._components = torch.from_numpy(components.T.copy()).to(self.device)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features (N, D) with D of at most 64."""
        if tuple(images.shape[1:]) != self._shape:
            raise ExtractorError(
                f"expected images of the reference's shape {self._shape}, "
                f"got {tuple(images.shape[1:])}"
            )
        centred = images.flatten(1).double() / 255 - self._mean
        return (centred @ self._components).float(), None


def _recipe(reference: np.ndarray) -> dict[str, Any]:
    return {
        "version": 1,
        "method": "principal components of pixels",
        "components": COMPONENTS,
        "fitted_on": {
            "reference_sha256": images_digest(reference),
            "count": len(reference),
            "at_most": MOST_IMAGES,
            "seed": 0,
        },
    }


def _fit(reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (P,) and components (K, P), rows of unit length, largest variance first.

    Through the smaller of covariance (P, P) and Gram matrix (N, N). The sign makes the entry of
    largest size positive.
    """
    chosen = choose(len(reference), min(len(reference), MOST_IMAGES), seed=0)
    flat = reference.reshape(len(reference), -1)
    count, pixels = len(chosen), flat.shape[1]
    parts = [slice(start, start + COLUMNS) for start in range(0, pixels, COLUMNS)]
    mean = np.concatenate([flat[chosen, part].mean(0, dtype=np.float64) for part in parts]) / 255

    def centred(part: slice) -> np.ndarray:
        values: np.ndarray = flat[chosen, part] / 255 - mean[part]
        return values

    if pixels <= count:
        whole = centred(slice(None))
        components = _leading(whole.T @ whole).T
    else:
        gram = np.zeros((count, count))
        for part in parts:
            gram += centred(part) @ centred(part).T
        rows = _leading(gram).T
        components = np.concatenate([rows @ centred(part) for part in parts], axis=1)
        components /= np.linalg.norm(components, axis=1, keepdims=True)
    largest = np.abs(components).argmax(1)[:, None]
    return mean, components * np.sign(np.take_along_axis(components, largest, axis=1))


def _leading(matrix: np.ndarray) -> np.ndarray:
    """Return the eigenvectors of the largest eigenvalues as columns, negligible ones left out."""
    size = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=(max(0, size - COMPONENTS), size - 1))
    kept = values > max(NEGLIGIBLE * values[-1], 0)
    if not kept.any():
        raise ExtractorError("expected a reference of different images: these have no components")
    leading: np.ndarray = vectors[:, kept][:, ::-1]
    return leading
