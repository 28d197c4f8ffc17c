"""Whether images and extractor are those that a protocol speaks of, and what it may set."""

import json
from collections.abc import Mapping
from typing import Any

from evaluation.features.base import Extractor
from evaluation.imagesets.opening import ImageStream
from evaluation.protocols.extractors import get_extractor
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.record import (
    ALPHA,
    LOSSLESS,
    LOSSY_ACCEPTED,
    NUMERICS,
    QUANTISATION,
    SELECTION,
    Protocol,
    Split,
)
from evaluation.scoring.references import SavedReference

# What a protocol may set to another whole number of at least the given one.
_NUMBERS = {
    "bins": 2,
    "cells": 1,
    "coefficient": 0,
    "components": 1,
    "degree": 1,
    "directions": 1,
    "draws": 2,
    "groups": 2,
    "halves": 2,
    "images_per_dimension": 1,
    "neighbours": 1,
    "points": 2,
    "reference_count": 2,
    "seed": 0,
    "splits": 1,
    "subset_size": 2,
    "subsets": 1,
}
_ALTERNATIVES = {"rule": ("<=", "<"), "normalisation": ("none", "unit length")}
# All else is fixed: another value would not be computed as written.


class EvaluationError(ValueError):
    """The images or the extractor are not those that the protocol speaks of."""


def check_extractor(protocol: Protocol, extractor: Extractor) -> None:
    """Raise EvaluationError unless the extractor is the protocol's."""
    recipe = json.loads(json.dumps(dict(extractor.recipe)))
    if protocol.extractor.recipe != recipe:
        raise EvaluationError(
            f"extractor recipe: the protocol says {protocol.extractor.recipe}, got {recipe}"
        )
    for name in ("name", "layer", "dim", "weights_sha256"):
        expected, found = getattr(protocol.extractor, name), getattr(extractor, name)
        if expected != found:
            raise EvaluationError(
                f"extractor {name.replace('_', ' ')}: the protocol says {expected}, got {found}"
            )


def check_shape(protocol: Protocol, which: str, images: ImageStream) -> None:
    """Raise EvaluationError unless the images have the protocol's size and channels."""
    rules = protocol.images
    expected = (rules.channels, rules.resolution, rules.resolution)
    if images.shape != expected:
        raise EvaluationError(
            f"{which}: expected channels, height and width {expected}, got {images.shape}"
        )


def check_split(which: str, split: Split, images: ImageStream) -> None:
    """Raise EvaluationError unless these are the images of a split that the protocol names."""
    if images.count != split.count:
        raise EvaluationError(
            f"expected the {split.count} images of the {which} split {split.split!r}, "
            f"got {images.count}"
        )


def check_digest(which: str, split: Split, found: str) -> None:
    """Raise EvaluationError unless the images have the digest that the protocol names."""
    if found != split.digest:
        raise EvaluationError(
            f"the {which} images are not the protocol's: expected digest {split.digest}, got {found}"
        )


def check_saved(protocol: Protocol, reference: SavedReference) -> None:
    """Raise EvaluationError unless a saved reference's features are of the protocol's extractor."""
    identity, facts = protocol.extractor, reference.facts
    expected = (identity.name, identity.weights_sha256)
    # Nobody says which weights published statistics are of.
    found = (facts.extractor, facts.weights_sha256 or identity.weights_sha256)
    if found != expected:
        raise EvaluationError(
            f"reference {facts.name}: features of {found[0]} with weights {found[1][:12]}; "
            f"expected {expected[0]} with weights {expected[1][:12]}"
        )

    brought = " ".join(identity.recipe.get("package", {}).values())
    if facts.package != brought:
        raise EvaluationError(
            f"reference {facts.name}: features by {facts.package or 'no package'}; "
            f"expected {brought or 'no package'}"
        )


def check_enough(protocol: Protocol, count: int) -> None:
    """Raise EvaluationError if there are fewer generated images than the protocol scores."""
    if count < protocol.num_images:
        raise EvaluationError(
            f"expected at least {protocol.num_images} generated images, got {count}"
        )


def check_settings(protocol: Protocol) -> None:
    """Raise EvaluationError if a parameter has a value that would not be computed as written."""
    _check("numerics", NUMERICS, protocol.numerics)
    network = get_extractor(protocol.extractor.name)
    fixed = {
        "channels_rule": network.channels_rule,
        "quantisation": QUANTISATION,
        "resize": network.resize,
        "selection": SELECTION,
        "alpha": ALPHA,
    }
    _check("images", fixed, {name: getattr(protocol.images, name) for name in fixed})
    if protocol.images.lossy not in (LOSSLESS, LOSSY_ACCEPTED):
        raise EvaluationError(
            f"images lossy: expected {LOSSLESS!r} or {LOSSY_ACCEPTED!r}, "
            f"got {protocol.images.lossy!r}"
        )
    for name, parameters in protocol.metrics.items():
        spec = METRICS[name]
        expected = dict(spec.parameters)
        if "reference_count" in parameters and protocol.reference.kind == "images":
            expected["reference_count"] = protocol.reference.count
            if parameters["reference_count"] > protocol.reference.count:
                raise EvaluationError(
                    f"{name} reference_count: expected at most the {protocol.reference.count} "
                    f"reference images, got {parameters['reference_count']}"
                )
        if "model" in parameters and "clip" in spec.needs:
            expected["model"] = parameters["model"]  # compared with the one that is given
        _check(name, expected, parameters)
        if protocol.uncertainty[name] != spec.earlier_uncertainty:
            _check(name, spec.uncertainty, protocol.uncertainty[name])


def _check(metric: str, expected: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name in expected.keys() | given.keys():
        value = given.get(name)
        if name in expected and name in _NUMBERS:
            minimum = _NUMBERS[name]
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise EvaluationError(
                    f"{metric} {name}: expected a whole number of at least {minimum}, got {value!r}"
                )
        elif name in expected and value in _ALTERNATIVES.get(name, ()):
            continue
        elif value != expected.get(name):
            raise EvaluationError(
                f"{metric} {name}: this version computes {expected.get(name)!r}, "
                f"the protocol says {value!r}"
            )
