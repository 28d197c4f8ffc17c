"""Which function measures which metric of a protocol, with that protocol's parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evaluation.features.base import FeatureSet
from evaluation.imagesets.splits import choose
from evaluation.metrics.classes import (
    class_divergence,
    missing_classes,
    mode_count,
    per_class_frechet,
)
from evaluation.metrics.frechet import ReferenceGaussian, measure_frechet, measure_frechet_infinity
from evaluation.metrics.frechet_population import measure_population_frechet
from evaluation.metrics.inception_score import inception_score_from_logits
from evaluation.metrics.kernel_distance import subset_kernel_distance
from evaluation.metrics.memorisation import ct_score
from evaluation.metrics.mind import mind
from evaluation.metrics.ndb import ndb
from evaluation.metrics.pairwise import Kernel, Neighbours, measure_pairs
from evaluation.metrics.prompts.variety import vendi_within_prompts
from evaluation.metrics.sliced_wasserstein import sliced_wasserstein
from evaluation.metrics.uncertainty import MetricResult, undefined, within
from evaluation.metrics.vendi import vendi_score
from evaluation.protocols.metric_specs import NO_INTERVAL
from evaluation.protocols.metrics import METRICS, OF_STATISTICS
from evaluation.protocols.record import Protocol
from evaluation.scoring.plugged import MetricInputs, measure_plugged

SELECTION_SEED = 0  # as the protocol's selection rule says

KeepGoing = Callable[[], None]


@dataclass(frozen=True)
class Scored:
    """The features that a protocol's metrics are measured on.

    ``real`` is None where the reference is published statistics alone; ``held_out`` where the
    protocol has no held-out images.
    """

    protocol: Protocol
    fake: FeatureSet
    real: FeatureSet | None
    held_out: FeatureSet | None
    gaussian: Callable[[], ReferenceGaussian]
    keep_going: KeepGoing = lambda: None

    @property
    def level(self) -> float:
        """Return the confidence level of intervals."""
        return float(self.protocol.uncertainty["level"])


@dataclass(frozen=True)
class _Inputs:
    """What one metric is measured on: parameters, method of the interval, features."""

    scored: Scored
    parameters: Mapping[str, Any]
    method: Mapping[str, Any]
    fake: Tensor
    fake_logits: Tensor | None
    real: Tensor
    real_logits: Tensor | None


def measure(name: str, scored: Scored) -> dict[str, MetricResult]:
    """Return a metric with those that come with it; undefined with a reason if it cannot be."""
    scored.keep_going()
    if not all_finite(scored.fake):
        return {name: undefined("the features of the generated images are not finite")}
    if scored.real is None and name not in OF_STATISTICS:
        return {name: undefined("the reference is published statistics, which have no images")}
    found = _measured(name, scored)
    return {each: in_range(each, result) for each, result in found.items()}


def in_range(name: str, result: MetricResult) -> MetricResult:
    """Return the result with its interval moved into the metric's range; see ``within``."""
    spec = METRICS[name]
    return within(result, minimum=spec.minimum, maximum=spec.maximum)


def _measured(name: str, scored: Scored) -> dict[str, MetricResult]:
    try:
        if name in _PAIRWISE:
            return _pairwise(name, scored)
        inputs = _inputs(name, scored)
        if METRICS[name].implementation:
            return {name: measure_plugged(METRICS[name], _for_plugin(inputs))}
        return {name: _MEASURES[name](inputs)}
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # public, untyped
        return {name: undefined(f"no decomposition of the covariance: {error}")}


def all_finite(found: FeatureSet) -> bool:
    """Return whether no feature and no logit is NaN or infinite."""
    logits = found.logits is None or bool(found.logits.isfinite().all())
    return logits and bool(found.features.isfinite().all())


def _inputs(name: str, scored: Scored) -> _Inputs:
    parameters = scored.protocol.metrics[name]
    features, logits = scored.fake.features[:0], None
    if scored.real is not None:
        features, logits = chosen(scored.real.features, parameters), scored.real.logits
    return _Inputs(
        scored=scored,
        parameters=parameters,
        method=scored.protocol.uncertainty[name],
        fake=scored.fake.features,
        fake_logits=scored.fake.logits,
        real=features,
        real_logits=logits,
    )


def _for_plugin(inputs: _Inputs) -> MetricInputs:
    held_out = inputs.scored.held_out
    return MetricInputs(
        generated=inputs.fake,
        reference=inputs.real,
        held_out=None if held_out is None else held_out.features,
        generated_logits=inputs.fake_logits,
        reference_logits=inputs.real_logits,
        parameters=inputs.parameters,
        uncertainty=inputs.method,
        level=inputs.scored.level,
        keep_going=inputs.scored.keep_going,
    )


def chosen(features: Tensor, parameters: Mapping[str, Any]) -> Tensor:
    """Return the rows that a metric's ``reference_count`` leaves."""
    count = parameters.get("reference_count", len(features))
    if count == len(features):
        return features
    return features[torch.from_numpy(choose(len(features), count, seed=SELECTION_SEED))]


# --- Kernel distance and neighbours: one sweep where they compare the same images -------------

_BALLS = ("precision", "density", "recall", "coverage")
_PAIRWISE = ("kd", *_BALLS, "authenticity")


def _pairwise(name: str, scored: Scored) -> dict[str, MetricResult]:
    """Return all metrics of pairs that share the blocks of ``name``."""
    protocol = scored.protocol
    assert scored.real is not None, "statistics have no pairs"
    group = next(group for group in _groups(protocol) if name in group)
    first = group[0]
    real, train = chosen(scored.real.features, protocol.metrics[first]), scored.real.features
    found = measure_pairs(
        real,
        scored.fake.features,
        kernel=_kernel(protocol) if "kd" in group else None,
        neighbours=None if first == "kd" else _neighbours(protocol, first),
        train=None if "authenticity" not in group or train is real else train,
        level=scored.level,
        keep_going=scored.keep_going,
    )
    return {other: found[other] for other in group}


def _groups(protocol: Protocol) -> list[list[str]]:
    """Return the metrics of pairs in groups that compare the same images by the same rules.

    Authenticity looks at all training images and joins any group of its rules; the kernel distance
    has no rules of neighbours and joins any group of its images.
    """
    groups: list[list[str]] = []
    for name in _BALLS:
        _join(groups, name, protocol, lambda first: _rules(protocol, first, "reference_count"))
    _join(groups, "authenticity", protocol, lambda first: _rules(protocol, first))
    _join(groups, "kd", protocol, lambda first: protocol.metrics[first].get("reference_count"))
    return groups


def _rules(protocol: Protocol, name: str, *more: str) -> tuple[Any, ...]:
    """Return what decides neighbours, with further parameters of the metric."""
    parameters = protocol.metrics[name]
    names = ("neighbours", "rule", "normalisation", *more)
    return *(parameters.get(each) for each in names), protocol.uncertainty[name]


def _join(
    groups: list[list[str]], name: str, protocol: Protocol, key: Callable[[str], Any]
) -> None:
    """Add a metric of the protocol to the first group of its key, or to one of its own."""
    if name not in protocol.metrics:
        return
    group = next((group for group in groups if key(group[0]) == key(name)), None)
    if group is None:
        groups.append([name])
    else:
        group.append(name)


def _kernel(protocol: Protocol) -> Kernel:
    parameters = protocol.metrics["kd"]
    return Kernel(degree=parameters["degree"], coef0=parameters["coefficient"])


def _neighbours(protocol: Protocol, name: str) -> Neighbours:
    parameters, method = protocol.metrics[name], protocol.uncertainty[name]
    return Neighbours(
        k=parameters["neighbours"],
        strict=parameters["rule"] == "<",
        normalise=parameters["normalisation"] == "unit length",
        draws=method["draws"],
        seed=method["seed"],
    )


# --- One at a time ----------------------------------------------------------------------------


def _fd(inputs: _Inputs) -> MetricResult:
    return measure_frechet(
        inputs.fake,
        inputs.scored.gaussian(),
        groups=inputs.method["groups"],
        seed=inputs.method["seed"],
        images_per_dimension=inputs.method["images_per_dimension"],
        level=inputs.scored.level,
        keep_going=inputs.scored.keep_going,
    )


def _fd_population(inputs: _Inputs) -> MetricResult:
    return measure_population_frechet(inputs.fake, inputs.real, **_resampling(inputs))


def _fd_infinity(inputs: _Inputs) -> MetricResult:
    return measure_frechet_infinity(
        inputs.fake,
        inputs.scored.gaussian(),
        points=inputs.parameters["points"],
        seed=inputs.parameters["seed"],
        keep_going=inputs.scored.keep_going,
    )


def _kd_subsets(inputs: _Inputs) -> MetricResult:
    return subset_kernel_distance(
        inputs.real,
        inputs.fake,
        subsets=inputs.parameters["subsets"],
        subset_size=inputs.parameters["subset_size"],
        seed=inputs.parameters["seed"],
        degree=inputs.parameters["degree"],
        coef0=inputs.parameters["coefficient"],
        keep_going=inputs.scored.keep_going,
    )


def _is(inputs: _Inputs) -> MetricResult:
    assert inputs.fake_logits is not None, "the protocol's extractor predicts classes"
    return inception_score_from_logits(
        inputs.fake_logits,
        splits=inputs.parameters["splits"],
        seed=inputs.parameters.get("seed"),
        level=inputs.scored.level,
    )


def _logits(inputs: _Inputs) -> tuple[Tensor, Tensor]:
    assert inputs.fake_logits is not None, "the protocol's extractor predicts classes"
    assert inputs.real_logits is not None, "the protocol's extractor predicts classes"
    return inputs.fake_logits, inputs.real_logits


def _class_kl(inputs: _Inputs) -> MetricResult:
    return class_divergence(*_logits(inputs), level=inputs.scored.level)


def _class_fd(inputs: _Inputs) -> MetricResult:
    fake_logits, real_logits = _logits(inputs)
    return per_class_frechet(
        inputs.fake, fake_logits, inputs.real, real_logits, **_resampling(inputs)
    )


def _modes(inputs: _Inputs) -> MetricResult:
    return mode_count(_logits(inputs)[0])


def _mind(inputs: _Inputs) -> MetricResult:
    return mind(inputs.real, inputs.fake, **_settings(inputs), **_resampling(inputs))


def _sliced_wasserstein(inputs: _Inputs) -> MetricResult:
    return sliced_wasserstein(inputs.real, inputs.fake, **_settings(inputs), **_resampling(inputs))


def _ndb(inputs: _Inputs) -> MetricResult:
    keep_going = inputs.scored.keep_going
    return ndb(inputs.real, inputs.fake, keep_going=keep_going, **_settings(inputs))


def _ct(inputs: _Inputs) -> MetricResult:
    if inputs.scored.held_out is None:
        return undefined("needs held-out real images")
    return ct_score(
        inputs.real,
        inputs.scored.held_out.features,
        inputs.fake,
        level=None if inputs.method == NO_INTERVAL else inputs.scored.level,
        keep_going=inputs.scored.keep_going,
        **_settings(inputs),
    )


def _prompt_vendi(inputs: _Inputs) -> MetricResult:
    protocol = inputs.scored.protocol
    assert protocol.prompts is not None, "the metric needs prompts"
    return vendi_within_prompts(
        inputs.fake,
        protocol.num_images // protocol.prompts["images_per_prompt"],
        level=inputs.scored.level,
        keep_going=inputs.scored.keep_going,
    )


def _settings(inputs: _Inputs) -> dict[str, Any]:
    """Return the parameters that are numbers: those that the function takes by these names."""
    return {
        name: value
        for name, value in inputs.parameters.items()
        if name != "reference_count" and isinstance(value, int | float)
    }


def _resampling(inputs: _Inputs) -> dict[str, Any]:
    """Return how the interval is made, with the level and what ends the work early."""
    return {
        **{name: value for name, value in inputs.method.items() if isinstance(value, int)},
        "level": inputs.scored.level,
        "keep_going": inputs.scored.keep_going,
    }


_MEASURES: dict[str, Callable[[_Inputs], MetricResult]] = {
    "fd": _fd,
    "fd_population": _fd_population,
    "fd_infinity": _fd_infinity,
    "kd_subsets": _kd_subsets,
    "is": _is,
    "is_splits": _is,
    "class_fd": _class_fd,
    "mind": _mind,
    "sliced_wasserstein": _sliced_wasserstein,
    "class_kl": _class_kl,
    "missing_classes": lambda inputs: missing_classes(*_logits(inputs)),
    "modes": _modes,
    "ndb": _ndb,
    "ct": _ct,
    "prompt_vendi": _prompt_vendi,
    "vendi": lambda inputs: vendi_score(inputs.fake, **_resampling(inputs)),
}

assert {*_PAIRWISE, *_MEASURES} <= METRICS.keys(), "every measured metric has a name"
