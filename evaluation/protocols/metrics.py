"""The metrics by name: what they need, and the only names under which values may be shown.

Another package names a `MetricSpec` by an entry point in the group `trilemma.metrics`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evaluation.protocols.agreement import AGREEMENT, with_model
from evaluation.protocols.coverage_specs import COVERAGE
from evaluation.protocols.extractor_specs import FIDELITY_PREFIX, INCEPTION
from evaluation.protocols.extractors import EXTRACTORS, get_extractor, has_known_weights
from evaluation.protocols.memorisation_specs import MEMORISATION
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.plugins import check_metric, with_installed
from evaluation.protocols.prompt_specs import PROMPTS
from evaluation.protocols.quality_specs import QUALITY

METRICS, LEFT_OUT = with_installed(
    (*QUALITY, *COVERAGE, *MEMORISATION, *PROMPTS, AGREEMENT), "trilemma.metrics", check_metric
)

OF_STATISTICS = ("fd", "fd_infinity")  # need no more of the reference than mean and covariance


def get_metric(name: str) -> MetricSpec:
    """Return the metric called ``name``.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name not in METRICS:
        raise ValueError(f"expected a metric of {', '.join(METRICS)}; got {name!r}")
    return METRICS[name]


def default_metrics(
    extractor: str,
    *,
    held_out: bool,
    prompts: bool = False,
    claims: bool = False,
    clip: bool = False,
) -> tuple[str, ...]:
    """Return the metrics that presets measure on these features, in the order of boards."""
    return tuple(
        spec.name
        for spec in METRICS.values()
        if spec.by_default
        and not missing_needs(
            spec.name, extractor, held_out=held_out, prompts=prompts, claims=claims, clip=clip
        )
    )


def missing_needs(
    metric: str,
    extractor: str,
    *,
    held_out: bool,
    prompts: bool = False,
    claims: bool = False,
    clip: bool = False,
) -> tuple[str, ...]:
    """Return in words what a metric needs and extractor, dataset and prompts do not give.

    prompts: images are asked with some. claims: of those something can be checked. clip: a CLIP-like
    model is supplied.
    """
    predicts = get_extractor(extractor).predicts
    given = {
        "logits": bool(predicts),
        "classes": predicts == "dataset classes",
        "held-out": held_out,
        "prompts": prompts,
        "claims": claims,
        "clip": clip,
    }
    words = {
        "logits": "an extractor that predicts classes",
        "classes": "a classifier of the dataset",
        "held-out": "held-out real images",
        "prompts": "prompts",
        "claims": "prompts with claims",
        "clip": "a CLIP-like model",
    }
    return tuple(words[need] for need in get_metric(metric).needs if not given.get(need, True))


def recorded_metric(name: str, parameters: Mapping[str, Any]) -> MetricSpec:
    """Return what is known of a metric by its parameters in a protocol's record.

    Of a metric whose package is not installed, or that another package brings now, that is its
    name and what boards must know, which is in the record.
    """
    package = parameters.get("package", {})
    spec = METRICS.get(name)
    if spec is None or spec.package.get("name") != package.get("name"):
        spec = MetricSpec(
            name=name,
            label=name,
            prefix=name,
            higher_is_better=False,
            corner="quality",
            minimum=None,
            maximum=None,
            parameters=parameters,
            uncertainty={},
            help=f"A metric of the package {package.get('name', '?')}, which is not installed.",
            package=package,
        )
    return replace(with_model(spec, parameters), **parameters.get("board", {}))


def metric_label(spec: MetricSpec, extractor: str, weights_sha256: str) -> str:
    """Return the only name under which a value of a metric may be shown.

    "FID", "KID", "IS", "Precision" and so on are reserved for Inception with known weights. Any
    other features are named in the label: "FD[classifier]", "PR[classifier] recall". Extractors
    whose package is not installed are called by their name.
    """
    if not spec.prefix or has_known_weights(extractor, weights_sha256):
        return spec.label
    is_known = extractor in EXTRACTORS or extractor.startswith(FIDELITY_PREFIX)
    features = get_extractor(extractor).short_name if is_known else extractor
    if extractor == INCEPTION:
        features = f"{features}@{weights_sha256[:8]}"
    return f"{spec.prefix}[{features}] {spec.suffix}".rstrip()


def is_of_prompts(name: str) -> bool:
    """Return whether a metric is of what images were asked for in words."""
    return name in METRICS and not {"prompts", "claims"}.isdisjoint(METRICS[name].needs)


def arrow(spec: MetricSpec) -> str:
    """Return "↑" if a higher value is better, "↓" if a lower one is, "→ 0" if the best is 0."""
    if spec.ideal is not None:
        return f"→ {spec.ideal:g}"
    return "↑" if spec.higher_is_better else "↓"


def badness(spec: MetricSpec, value: float) -> float:
    """Return a number that is smaller for the better of two values of one metric."""
    if spec.ideal is not None:
        return abs(value - spec.ideal)
    return -value if spec.higher_is_better else value
