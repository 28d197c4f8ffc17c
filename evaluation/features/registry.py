"""Builds an extractor by its name, from local weights, a cache, or nothing but a recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.classifier import ClassifierExtractor
from evaluation.features.dinov2 import PUBLISHED as DINOV2_WEIGHTS, DinoExtractor
from evaluation.features.inception import InceptionExtractor, find_weights
from evaluation.features.pixels import PixelExtractor
from evaluation.features.random_convolution import (
    RandomConvolutionExtractor,
    random_convolution_recipe,
)
from evaluation.features.stacked import StackedExtractor
from evaluation.protocols.extractor_specs import (
    CLASSIFIER,
    DINOV2,
    FIDELITY_PREFIX,
    INCEPTION,
    PIXELS,
    RANDOM_CONVOLUTION,
    STACKED,
)
from evaluation.protocols.extractors import get_extractor


@dataclass(frozen=True)
class _Request:
    """What an extractor may be built from."""

    name: str
    weights: Path | None
    cache: Path
    device: torch.device
    reference: np.ndarray | None
    recipe: Mapping[str, Any] | None
    compile_backend: str | None


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
    get_extractor(name)
    request = _Request(
        name, weights, cache, torch.device(device), reference, recipe, compile_backend
    )
    build = _fidelity if name.startswith(FIDELITY_PREFIX) else _BUILDERS[name]
    return build(request)


def _inception(request: _Request) -> Extractor:
    weights = find_weights(request.cache) if request.weights is None else request.weights
    return InceptionExtractor(
        weights, device=request.device, compile_backend=request.compile_backend
    )


def _classifier(request: _Request) -> Extractor:
    return ClassifierExtractor(_needed_weights(request), device=request.device)


def _needed_weights(request: _Request) -> Path:
    if request.weights is None:
        raise ExtractorError(
            f"{request.name} needs weights: the folder or file of a classifier "
            "trained on the dataset's train split"
        )
    return request.weights


def _stacked(request: _Request) -> Extractor:
    return StackedExtractor(_needed_weights(request), device=request.device)


def _dinov2(request: _Request) -> Extractor:
    found = request.weights
    weights = DINOV2_WEIGHTS.find(request.cache) if found is None else found
    return DinoExtractor(weights, device=request.device)


def _random_convolution(request: _Request) -> Extractor:
    recipe = request.recipe
    if recipe is None:
        shape = _needed_reference(request).shape
        recipe = random_convolution_recipe(channels=shape[1], resolution=max(shape[2:]))
    return RandomConvolutionExtractor(recipe, device=request.device)


def _pixels(request: _Request) -> Extractor:
    return PixelExtractor(_needed_reference(request), device=request.device)


def _fidelity(request: _Request) -> Extractor:
    # Imported when asked for: with torchvision it takes as long as torch itself.
    module = import_module("evaluation.features.fidelity")
    extractor: Extractor = module.FidelityExtractor(
        request.name, request.weights, device=request.device
    )
    return extractor


def _needed_reference(request: _Request) -> np.ndarray:
    if request.reference is None:
        raise ExtractorError(f"{request.name} is made for a reference, and none was given")
    return request.reference


_BUILDERS: dict[str, Callable[[_Request], Extractor]] = {
    INCEPTION: _inception,
    CLASSIFIER: _classifier,
    STACKED: _stacked,
    DINOV2: _dinov2,
    RANDOM_CONVOLUTION: _random_convolution,
    PIXELS: _pixels,
}
