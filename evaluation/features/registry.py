"""Builds an extractor by its name, from local weights, a cache, or nothing but a recipe."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.features.base import Extractor, ExtractorError, ExtractorRequest
from evaluation.features.classifier import ClassifierExtractor
from evaluation.features.dinov2 import PUBLISHED as DINOV2_WEIGHTS, DinoExtractor
from evaluation.features.inception import InceptionExtractor, find_weights
from evaluation.features.pixels import PixelExtractor
from evaluation.features.random_convolution import (
    RandomConvolutionExtractor,
    random_convolution_recipe,
)
from evaluation.features.stacked import StackedExtractor
from evaluation.imagesets.opening import ImageStream
from evaluation.protocols.extractor_specs import (
    CLASSIFIER,
    DINOV2,
    INCEPTION,
    PIXELS,
    RANDOM_CONVOLUTION,
    STACKED,
    ExtractorSpec,
)
from evaluation.protocols.extractors import get_extractor
from evaluation.protocols.plugins import PluginError, implementation


def build_extractor(
    name: str,
    *,
    weights: Path | None = None,  # a local file or folder; None = the known one of that name
    cache: Path,  # where known weights are kept, and put when they can be downloaded
    device: str | torch.device = "cpu",
    reference: np.ndarray | None = None,  # uint8 (N, C, H, W): what principal components are of
    recipe: Mapping[str, Any] | None = None,  # None = the default one of a generated network
    compile_backend: str | None = None,  # of torch.compile, for Inception; None = as it is
) -> Extractor:
    """Return the extractor called ``name``, ready on ``device``.

    Raises:
        ValueError: if there is no extractor of that name.
        ExtractorError: if its weights are missing or damaged, or what it needs was not given; the
            message says which file goes where.
    """
    spec = get_extractor(name)
    given = None if recipe is None else {k: v for k, v in recipe.items() if k != "package"}
    request = ExtractorRequest(
        name, weights, cache, torch.device(device), reference, given, compile_backend
    )
    if not spec.implementation:
        return _BUILDERS[name](request)
    try:
        # Imported when asked for: torch-fidelity with torchvision takes as long as torch itself.
        extractor = implementation(spec)(request)
    except PluginError as error:
        raise ExtractorError(str(error)) from error
    return _signed(extractor, spec, request) if spec.package else extractor


def _signed(extractor: Any, spec: ExtractorSpec, request: ExtractorRequest) -> Extractor:
    """Return another package's extractor, checked, with its package as part of the recipe."""
    brought = f"{spec.name} of {spec.package['name']} {spec.package['version']}"
    if not isinstance(extractor, Extractor):
        kind = type(extractor).__name__
        raise ExtractorError(f"{brought}: expected a subclass of Extractor, got {kind}")
    extractor.name, extractor.layer = spec.name, spec.layer
    extractor.package = " ".join(spec.package.values())
    extractor.device = getattr(extractor, "device", request.device)
    extractor.recipe = {**getattr(extractor, "recipe", {}), "package": dict(spec.package)}
    if not spec.has_weights:  # the package is all that decides what it computes
        extractor.weights_sha256 = hashlib.sha256(brought.encode()).hexdigest()
    dim, digest = getattr(extractor, "dim", None), getattr(extractor, "weights_sha256", None)
    if not isinstance(dim, int) or dim < 1 or dim != (spec.dim or dim):
        raise ExtractorError(f"{brought}: expected dim {spec.dim or 'of at least 1'}, got {dim!r}")
    if re.fullmatch("[0-9a-f]{64}", str(digest)) is None:
        raise ExtractorError(f"{brought}: expected the sha256 of its weights, got {digest!r}")
    return extractor


def pixels_wanted(name: str, reference: ImageStream) -> np.ndarray:
    """Return the pixels of a reference that an extractor is built from, else one image to look at.

    They are uint8 (N, C, H, W).
    """
    if get_extractor(name).made_of == "pixels":
        return np.concatenate(list(reference.chunks()))
    return next(iter(reference.chunks(indices=np.arange(1))))


def _inception(request: ExtractorRequest) -> Extractor:
    weights = find_weights(request.cache) if request.weights is None else request.weights
    return InceptionExtractor(
        weights, device=request.device, compile_backend=request.compile_backend
    )


def _classifier(request: ExtractorRequest) -> Extractor:
    return ClassifierExtractor(_needed_weights(request), device=request.device)


def _needed_weights(request: ExtractorRequest) -> Path:
    if request.weights is None:
        raise ExtractorError(
            f"{request.name} needs weights: the folder or file of a classifier "
            "trained on the dataset's train split"
        )
    return request.weights


def _stacked(request: ExtractorRequest) -> Extractor:
    return StackedExtractor(_needed_weights(request), device=request.device)


def _dinov2(request: ExtractorRequest) -> Extractor:
    found = request.weights
    weights = DINOV2_WEIGHTS.find(request.cache) if found is None else found
    return DinoExtractor(weights, device=request.device)


def _random_convolution(request: ExtractorRequest) -> Extractor:
    recipe = request.recipe
    if recipe is None:
        shape = _needed_reference(request).shape
        recipe = random_convolution_recipe(channels=shape[1], resolution=max(shape[2:]))
    return RandomConvolutionExtractor(recipe, device=request.device)


def _pixels(request: ExtractorRequest) -> Extractor:
    return PixelExtractor(_needed_reference(request), device=request.device)


def _needed_reference(request: ExtractorRequest) -> np.ndarray:
    if request.reference is None:
        raise ExtractorError(f"{request.name} is made for a reference, and none was given")
    return request.reference


_BUILDERS: dict[str, Callable[[ExtractorRequest], Extractor]] = {
    INCEPTION: _inception,
    CLASSIFIER: _classifier,
    STACKED: _stacked,
    DINOV2: _dinov2,
    RANDOM_CONVOLUTION: _random_convolution,
    PIXELS: _pixels,
}
