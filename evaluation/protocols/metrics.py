"""The metrics by name: what they need, and the only names under which values may be shown."""

from collections.abc import Mapping
from types import MappingProxyType

from evaluation.protocols.extractor_specs import INCEPTION
from evaluation.protocols.extractors import get_extractor, has_known_weights
from evaluation.protocols.metric_specs import BUILT_IN, MetricSpec

METRICS: Mapping[str, MetricSpec] = MappingProxyType({spec.name: spec for spec in BUILT_IN})

OF_STATISTICS = ("fd", "fd_infinity")  # need no more of the reference than mean and covariance


def get_metric(name: str) -> MetricSpec:
    """Return the metric called ``name``.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name not in METRICS:
        raise ValueError(f"expected a metric of {', '.join(METRICS)}; got {name!r}")
    return METRICS[name]


def default_metrics(extractor: str, *, held_out: bool) -> tuple[str, ...]:
    """Return the metrics that presets measure on these features, in the order of boards."""
    return tuple(
        spec.name
        for spec in METRICS.values()
        if spec.by_default and not missing_needs(spec.name, extractor, held_out=held_out)
    )


def missing_needs(metric: str, extractor: str, *, held_out: bool) -> tuple[str, ...]:
    """Return in words what a metric needs and the extractor and the dataset do not give."""
    predicts = get_extractor(extractor).predicts
    given = {
        "logits": bool(predicts),
        "classes": predicts == "dataset classes",
        "held-out": held_out,
    }
    words = {
        "logits": "an extractor that predicts classes",
        "classes": "a classifier of the dataset",
        "held-out": "held-out real images",
    }
    return tuple(words[need] for need in get_metric(metric).needs if not given.get(need, True))


def metric_label(metric: str, extractor: str, weights_sha256: str) -> str:
    """Return the only name under which a value of ``metric`` may be shown.

    "FID", "KID", "IS", "Precision" and so on are reserved for Inception with known weights. Any
    other features are named in the label: "FD[classifier]", "PR[classifier] recall".

    Raises:
        ValueError: if the metric or the extractor does not exist.
    """
    spec = get_metric(metric)
    if not spec.prefix or has_known_weights(extractor, weights_sha256):
        return spec.label
    features = get_extractor(extractor).short_name
    if extractor == INCEPTION:
        features = f"{features}@{weights_sha256[:8]}"
    return f"{spec.prefix}[{features}] {spec.suffix}".rstrip()


def arrow(metric: str) -> str:
    """Return "↑" if a higher value is better, "↓" if a lower one is, "→ 0" if the best is 0."""
    spec = get_metric(metric)
    if spec.ideal is not None:
        return f"→ {spec.ideal:g}"
    return "↑" if spec.higher_is_better else "↓"


def badness(metric: str, value: float) -> float:
    """Return a number that is smaller for the better of two values of one metric."""
    spec = get_metric(metric)
    if spec.ideal is not None:
        return abs(value - spec.ideal)
    return -value if spec.higher_is_better else value
