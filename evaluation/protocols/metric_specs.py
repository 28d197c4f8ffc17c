"""What a metric is called, which way is better, and its default parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Corner = Literal["quality", "coverage", "memorisation"]

# What a metric needs besides the features of generated and reference images.
Need = Literal[
    "logits",  # class predictions of the extractor
    "classes",  # predictions of the dataset's own classes
    "held-out",  # real images that were not trained on
    "labels",  # labels of the generated and of the held-out images
    "pairs",  # generated image i is a reconstruction of reference image i
    "prompts",  # what generated images were asked with
    "claims",  # what can be checked of an image that follows its prompt
    "clip",  # a CLIP-like model
]


@dataclass(frozen=True)
class MetricSpec:
    """One metric: what it is called, which way is better and how it is computed.

    ``minimum`` and ``maximum`` bound the quantity that is estimated (``None`` = unbounded);
    intervals are clipped to them. ``ideal`` is the best value where neither end is. ``parameters``
    and ``uncertainty`` go into a protocol as they are; one of before may say ``earlier_uncertainty``
    instead. ``headline`` metrics stand on a board at
    first sight; ``by_default`` ones are in the presets, where their needs are met.

    A metric of another package has an ``implementation``, "module:function": see
    `evaluation.scoring.plugged`. Its ``package``, name and version, is filled in when it is found.
    """

    name: str
    label: str  # only for Inception with known weights; show metric_label() instead
    prefix: str  # the honest name of the same formula on any other features; "" = of pixels
    higher_is_better: bool
    corner: Corner
    minimum: float | None
    maximum: float | None
    parameters: Mapping[str, Any]
    uncertainty: Mapping[str, Any]
    help: str
    suffix: str = ""  # after the prefix: "PR[classifier] recall"
    ideal: float | None = None
    needs: tuple[Need, ...] = ()
    headline: bool = False
    by_default: bool = False
    counts: bool = False  # a number of things, shown whole
    earlier_uncertainty: Mapping[str, Any] | None = None
    implementation: str = ""  # "" = built in
    package: Mapping[str, str] = field(default_factory=dict)


# What boards must know of a metric: the record keeps it for those of other packages, whose boards
# stay when the package goes.
BOARD = ("corner", "higher_is_better", "ideal", "minimum", "maximum", "headline", "counts")


def of(**values: Any) -> Mapping[str, Any]:
    """Return the values as a mapping that nobody can change."""
    return MappingProxyType(values)


NO_INTERVAL = of(method="none")
HALF_SAMPLING = of(
    method="half-sampling without replacement of generated and reference images",
    draws=50,
    seed=0,
    quantile="normal",
)
JACKKNIFE = of(
    method="grouped jackknife over the generated images, reference held fixed",
    groups=20,
    quantile="Student t",
)
NEIGHBOURS = of(neighbours=3, rule="<=", self="excluded", normalisation="none")


def neighbour_metric(name: str, prefix: str, corner: Corner, help_: str, **more: Any) -> MetricSpec:
    """Return a metric that is a share of images near others, or what ``more`` makes of it."""
    values: dict[str, Any] = {"minimum": 0.0, "maximum": 1.0, "headline": True} | more
    return MetricSpec(
        name=name,
        label=name.capitalize(),
        prefix=prefix,
        suffix=name,
        higher_is_better=True,
        corner=corner,
        parameters=NEIGHBOURS,
        uncertainty=HALF_SAMPLING,
        by_default=True,
        help=help_,
        **values,
    )
