"""Names, directions and default parameters of metrics and feature extractors, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

INCEPTION = "inception-v3-compat"
CLASSIFIER = "dataset-classifier"

# The TensorFlow Inception graph of 2015-12-05, ported to PyTorch. pytorch-fid publishes the file as
# pt_inception-2015-12-05-6726825d.pth and torch-fidelity, byte for byte the same, as
# weights-inception-2015-12-05-6726825d.pth.
INCEPTION_2015_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@dataclass(frozen=True)
class MetricSpec:
    """One metric: what it is called, which way is better and how it is computed.

    ``minimum`` and ``maximum`` bound the quantity that is estimated (``None`` = unbounded);
    intervals are clipped to them. ``parameters`` and ``uncertainty`` go into a protocol as they are.
    """

    name: str
    label: str  # only for Inception with known weights; show metric_label() instead
    prefix: str  # the honest name of the same formula on any other features
    higher_is_better: bool
    corner: Literal["quality", "coverage"]
    minimum: float | None
    maximum: float | None
    parameters: Mapping[str, Any]
    uncertainty: Mapping[str, Any]
    help: str


@dataclass(frozen=True)
class ExtractorSpec:
    """One feature extractor: the layer that is read, its width, and weights known by digest.

    ``known_weights`` maps the sha256 of a weights file to the name it is published under.
    """

    name: str
    short_name: str
    label: str
    layer: str
    dim: int  # features per image
    logits_layer: str
    channels_rule: str
    resize: str
    help: str
    known_weights: Mapping[str, str] = field(default_factory=dict)


_NEIGHBOURS = MappingProxyType({"neighbours": 3, "rule": "<=", "self": "excluded"})
_HALF_SAMPLING = MappingProxyType(
    {
        "method": "half-sampling without replacement of generated and reference images",
        "draws": 50,
        "seed": 0,
        "quantile": "normal",
    }
)

METRICS: Mapping[str, MetricSpec] = MappingProxyType(
    {
        "fd": MetricSpec(
            name="fd",
            label="FID",
            prefix="FD",
            higher_is_better=False,
            corner="quality",
            minimum=0.0,
            maximum=None,
            parameters=MappingProxyType({"ddof": 1, "dtype": "float64", "epsilon": 0}),
            uncertainty=MappingProxyType(
                {
                    "method": "grouped jackknife over the generated images, reference held fixed",
                    "groups": 20,
                    "seed": 0,
                    "quantile": "Student t",
                    "images_per_dimension": 5,
                }
            ),
            help="Fréchet distance between two Gaussians fitted to the features.",
        ),
        "kd": MetricSpec(
            name="kd",
            label="KID",
            prefix="KD",
            higher_is_better=False,
            corner="quality",
            minimum=None,  # the unbiased estimate of a small squared distance may be negative
            maximum=None,
            parameters=MappingProxyType(
                {
                    "kernel": "polynomial",
                    "degree": 3,
                    "gamma": "1/dim",
                    "coefficient": 1,
                    "estimator": "unbiased, all pairs",
                }
            ),
            uncertainty=MappingProxyType(
                {
                    "method": "plug-in variance of the two-sample U-statistic, first and second order",
                    "quantile": "normal",
                }
            ),
            help="Squared maximum mean discrepancy of the features under a cubic kernel.",
        ),
        "is": MetricSpec(
            name="is",
            label="IS",
            prefix="CS",
            higher_is_better=True,
            corner="quality",
            minimum=1.0,
            maximum=None,
            parameters=MappingProxyType({"splits": 1, "dtype": "float64"}),
            uncertainty=MappingProxyType(
                {"method": "delta method on the logarithm", "quantile": "normal"}
            ),
            help="Exponential of the mutual information between image and predicted class.",
        ),
        "precision": MetricSpec(
            name="precision",
            label="Precision",
            prefix="PR",
            higher_is_better=True,
            corner="quality",
            minimum=0.0,
            maximum=1.0,
            parameters=_NEIGHBOURS,
            uncertainty=_HALF_SAMPLING,
            help="Share of generated images inside the nearest-neighbour balls of real images.",
        ),
        "recall": MetricSpec(
            name="recall",
            label="Recall",
            prefix="PR",
            higher_is_better=True,
            corner="coverage",
            minimum=0.0,
            maximum=1.0,
            parameters=_NEIGHBOURS,
            uncertainty=_HALF_SAMPLING,
            help="Share of real images inside the nearest-neighbour balls of generated images.",
        ),
    }
)

EXTRACTORS: Mapping[str, ExtractorSpec] = MappingProxyType(
    {
        INCEPTION: ExtractorSpec(
            name=INCEPTION,
            short_name=INCEPTION,
            label="Inception v3 (2015-12-05)",
            layer="2048",
            dim=2048,
            logits_layer="logits_unbiased",
            channels_rule="grey replicated to RGB",
            resize="299x299 inside the network: bilinear as in TensorFlow 1, no antialiasing",
            help="InceptionV3 ported from TensorFlow, third pooling layer, through torch-fidelity.",
            known_weights=MappingProxyType(
                {INCEPTION_2015_SHA256: "pt_inception-2015-12-05-6726825d.pth"}
            ),
        ),
        CLASSIFIER: ExtractorSpec(
            name=CLASSIFIER,
            short_name="classifier",
            label="Dataset classifier",
            layer="penultimate",
            dim=64,
            logits_layer="logits",
            channels_rule="as stored",
            resize="none",
            help="A small network trained to classify the dataset's own train split.",
        ),
    }
)


def get_metric(name: str) -> MetricSpec:
    """Return the metric called ``name``.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name not in METRICS:
        raise ValueError(f"expected a metric of {', '.join(METRICS)}; got {name!r}")
    return METRICS[name]


def get_extractor(name: str) -> ExtractorSpec:
    """Return the feature extractor called ``name``.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name not in EXTRACTORS:
        raise ValueError(f"expected an extractor of {', '.join(EXTRACTORS)}; got {name!r}")
    return EXTRACTORS[name]


def has_known_weights(extractor: str, weights_sha256: str) -> bool:
    """Return whether values from these weights may carry the established names (FID, KID, IS)."""
    return weights_sha256 in get_extractor(extractor).known_weights


def metric_label(metric: str, extractor: str, weights_sha256: str) -> str:
    """Return the only name under which a value of ``metric`` may be shown.

    "FID", "KID", "IS", "Precision" and "Recall" are reserved for Inception with known weights. Any
    other features are named in the label: "FD[classifier]", "PR[classifier] recall".

    Raises:
        ValueError: if the metric or the extractor does not exist.
    """
    spec = get_metric(metric)
    if has_known_weights(extractor, weights_sha256):
        return spec.label

    features = EXTRACTORS[extractor].short_name
    if extractor == INCEPTION:
        features = f"{features}@{weights_sha256[:8]}"
    label = f"{spec.prefix}[{features}]"
    return f"{label} {metric}" if metric in ("precision", "recall") else label


def arrow(metric: str) -> str:
    """Return "↑" if a higher value is better, else "↓"."""
    return "↑" if get_metric(metric).higher_is_better else "↓"
