"""Scores one set of generated images against the reference, exactly as a protocol says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.cache import FeatureCache
from evaluation.extractors.base import Extractor, FeatureSet, Stopped, extract
from evaluation.frechet import measure_frechet, reference_gaussian
from evaluation.inception_score import inception_score_from_logits
from evaluation.kid import kernel_distance
from evaluation.neighbours import neighbour_metrics
from evaluation.protocol import Protocol
from evaluation.specs import METRICS
from evaluation.uncertainty import MetricResult, choose, undefined

__all__ = ["EvaluationError", "EvaluationResult", "MetricResult", "Stopped", "evaluate"]

SELECTION_SEED = 0  # as the protocol's selection rule says


class EvaluationError(ValueError):
    """The images or the extractor are not those that the protocol speaks of."""


@dataclass(frozen=True)
class EvaluationResult:
    """The value of every metric of the protocol, in the protocol's order, and its fingerprint."""

    values: Mapping[str, MetricResult]
    fingerprint: str
    labels: Mapping[str, str]  # the only names under which the values may be shown


def evaluate(
    protocol: Protocol,
    generated: np.ndarray,
    reference: np.ndarray,
    *,
    extractor: Extractor,
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[str, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    cache: Path | None = None,
) -> EvaluationResult:
    """Return all metrics of ``generated`` against ``reference``, both uint8 (N, C, H, W).

    Exactly ``protocol.num_images`` generated images are scored: all, or a seeded choice of them.
    ``on_progress`` receives the stage ("reference", "generated", then metric names) and its done
    share in 0..1. ``cache`` is a folder where the reference's features are kept, by content.

    Raises:
        EvaluationError: if images or extractor are not as the protocol says.
        Stopped: if ``should_stop()`` turned true; nothing is left behind.
    """
    report = on_progress or (lambda _stage, _share: None)
    stop = should_stop or (lambda: False)
    _check_extractor(protocol, extractor)
    _check_images(protocol, "generated", generated)
    _check_images(protocol, "reference", reference)
    _check_counts(protocol, len(generated), len(reference))
    _check_parameters(protocol)

    real = FeatureCache(cache).features(
        extractor,
        reference,
        batch_size=batch_size,
        on_progress=lambda share: report("reference", share),
        should_stop=stop,
    )
    chosen = choose(len(generated), protocol.num_images, seed=SELECTION_SEED)
    fake = extract(
        extractor,
        generated if len(chosen) == len(generated) else generated[chosen],
        batch_size=batch_size,
        on_progress=lambda share: report("generated", share),
        should_stop=stop,
    )
    values = _measure(protocol, fake, real, extractor.device, report, stop)
    return EvaluationResult(
        values=values,
        fingerprint=protocol.fingerprint(),
        labels={name: protocol.label(name) for name in values},
    )


def _measure(
    protocol: Protocol,
    fake: FeatureSet,
    real: FeatureSet,
    device: torch.device,
    report: Callable[[str, float], None],
    stop: Callable[[], bool],
) -> dict[str, MetricResult]:
    if device.type == "cuda":  # other accelerators have no float64
        fake = FeatureSet(features=fake.features.to(device), logits=fake.logits.to(device))
    measured: dict[str, MetricResult] = {}
    for name in protocol.metrics:
        if name not in measured:  # precision and recall come together
            report(name, 0.0)
            measured |= _measure_one(name, protocol, fake, real, stop)
        report(name, 1.0)
    return {name: measured[name] for name in protocol.metrics}


def _measure_one(
    name: str, protocol: Protocol, fake: FeatureSet, real: FeatureSet, stop: Callable[[], bool]
) -> dict[str, MetricResult]:
    """Return the metric, with its twin if it has one; undefined with a reason if it cannot be."""

    def keep_going() -> None:
        if stop():
            raise Stopped

    keep_going()
    if not (bool(fake.features.isfinite().all()) and bool(fake.logits.isfinite().all())):
        return {name: undefined("the features of the generated images are not finite")}
    try:
        return _METRICS[name](protocol, fake, real, keep_going)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # public, untyped
        return {name: undefined(f"no decomposition of the covariance: {error}")}


KeepGoing = Callable[[], None]


def _fd(
    protocol: Protocol, fake: FeatureSet, real: FeatureSet, keep_going: KeepGoing
) -> dict[str, MetricResult]:
    method = protocol.uncertainty["fd"]
    result = measure_frechet(
        fake.features,
        reference_gaussian(real.features),
        groups=method["groups"],
        seed=method["seed"],
        images_per_dimension=method["images_per_dimension"],
        level=protocol.uncertainty["level"],
        keep_going=keep_going,
    )
    return {"fd": result}


def _kd(
    protocol: Protocol, fake: FeatureSet, real: FeatureSet, keep_going: KeepGoing
) -> dict[str, MetricResult]:
    parameters = protocol.metrics["kd"]
    result = kernel_distance(
        _chosen(real, parameters),
        fake.features,
        degree=parameters["degree"],
        coef0=parameters["coefficient"],
        level=protocol.uncertainty["level"],
        keep_going=keep_going,
    )
    return {"kd": result}


def _is(
    protocol: Protocol, fake: FeatureSet, _real: FeatureSet, _keep_going: KeepGoing
) -> dict[str, MetricResult]:
    return {"is": inception_score_from_logits(fake.logits, level=protocol.uncertainty["level"])}


def _precision_recall(name: str) -> "Measure":
    def measure(
        protocol: Protocol, fake: FeatureSet, real: FeatureSet, keep_going: KeepGoing
    ) -> dict[str, MetricResult]:
        parameters, method = protocol.metrics[name], protocol.uncertainty[name]
        both = neighbour_metrics(
            _chosen(real, parameters),
            fake.features,
            k=parameters["neighbours"],
            draws=method["draws"],
            seed=method["seed"],
            level=protocol.uncertainty["level"],
            keep_going=keep_going,
        )
        twin = "recall" if name == "precision" else "precision"
        if protocol.metrics.get(twin) != parameters or protocol.uncertainty[twin] != method:
            return {name: both.results[name]}
        return {pair: both.results[pair] for pair in ("precision", "recall")}

    return measure


Measure = Callable[
    [Protocol, FeatureSet, FeatureSet, KeepGoing],
    dict[str, MetricResult],
]

_METRICS: dict[str, Measure] = {
    "fd": _fd,
    "kd": _kd,
    "is": _is,
    "precision": _precision_recall("precision"),
    "recall": _precision_recall("recall"),
}
assert _METRICS.keys() <= METRICS.keys(), "every measured metric has a name"


def _chosen(real: FeatureSet, parameters: Mapping[str, Any]) -> torch.Tensor:
    indices = choose(len(real.features), parameters["reference_count"], seed=SELECTION_SEED)
    return real.features[torch.from_numpy(indices)]


def _check_extractor(protocol: Protocol, extractor: Extractor) -> None:
    for name in ("name", "layer", "dim", "weights_sha256"):
        expected, found = getattr(protocol.extractor, name), getattr(extractor, name)
        if expected != found:
            raise EvaluationError(
                f"extractor {name.replace('_', ' ')}: the protocol says {expected}, got {found}"
            )


def _check_images(protocol: Protocol, which: str, images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise EvaluationError(
            f"{which} images: expected uint8 (N, C, H, W), got {images.dtype} {images.shape}"
        )
    rules = protocol.images
    expected = (rules.channels, rules.resolution, rules.resolution)
    if images.shape[1:] != expected:
        raise EvaluationError(
            f"{which} images: expected channels, height and width {expected}, "
            f"got {images.shape[1:]}"
        )


# What a protocol may set to another whole number of at least the given one; all else is fixed.
_SETTINGS = {
    "degree": 1,
    "coefficient": 0,
    "neighbours": 1,
    "reference_count": 2,
    "groups": 2,
    "images_per_dimension": 1,
    "draws": 2,
    "seed": 0,
}


def _check_parameters(protocol: Protocol) -> None:
    for name, parameters in protocol.metrics.items():
        spec = METRICS[name]
        expected = dict(spec.parameters)
        if name in ("kd", "precision", "recall"):
            expected["reference_count"] = protocol.reference.count
            if parameters.get("reference_count", 0) > protocol.reference.count:
                raise EvaluationError(
                    f"{name} reference_count: expected at most the {protocol.reference.count} "
                    f"reference images, got {parameters['reference_count']}"
                )
        _check_settings(name, expected, parameters)
        _check_settings(name, spec.uncertainty, protocol.uncertainty[name])


def _check_settings(metric: str, expected: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what would not be computed as written, rather than compute something else."""
    for name in expected.keys() | given.keys():
        value = given.get(name)
        if name in expected and name in _SETTINGS:
            minimum = _SETTINGS[name]
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise EvaluationError(
                    f"{metric} {name}: expected a whole number of at least {minimum}, got {value!r}"
                )
        elif value != expected.get(name):
            raise EvaluationError(
                f"{metric} {name}: this version computes {expected.get(name)!r}, "
                f"the protocol says {value!r}"
            )


def _check_counts(protocol: Protocol, generated: int, reference: int) -> None:
    if generated < protocol.num_images:
        raise EvaluationError(
            f"expected at least {protocol.num_images} generated images, got {generated}"
        )
    if reference != protocol.reference.count:
        raise EvaluationError(
            f"expected the {protocol.reference.count} images of the reference split "
            f"{protocol.reference.split!r}, got {reference}"
        )
