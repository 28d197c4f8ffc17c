"""What a metric is called, which way is better, its default parameters: those that are built in."""

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
]


@dataclass(frozen=True)
class MetricSpec:
    """One metric: what it is called, which way is better and how it is computed.

    ``minimum`` and ``maximum`` bound the quantity that is estimated (``None`` = unbounded);
    intervals are clipped to them. ``ideal`` is the best value where neither end is. ``parameters``
    and ``uncertainty`` go into a protocol as they are. ``headline`` metrics stand on a board at
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
    implementation: str = ""  # "" = built in
    package: Mapping[str, str] = field(default_factory=dict)


# What boards must know of a metric: the record keeps it for those of other packages, whose boards
# stay when the package goes.
BOARD = ("corner", "higher_is_better", "ideal", "minimum", "maximum", "headline", "counts")


def _of(**values: Any) -> Mapping[str, Any]:
    return MappingProxyType(values)


_NO_INTERVAL = _of(method="none")
_HALF_SAMPLING = _of(
    method="half-sampling without replacement of generated and reference images",
    draws=50,
    seed=0,
    quantile="normal",
)
_JACKKNIFE = _of(
    method="grouped jackknife over the generated images, reference held fixed",
    groups=20,
    quantile="Student t",
)
_NEIGHBOURS = _of(neighbours=3, rule="<=", self="excluded", normalisation="none")
_KERNEL = _of(kernel="polynomial", degree=3, gamma="1/dim", coefficient=1)


def _neighbour_metric(
    name: str, prefix: str, corner: Corner, help_: str, **more: Any
) -> MetricSpec:
    values: dict[str, Any] = {"minimum": 0.0, "maximum": 1.0, "headline": True} | more
    return MetricSpec(
        name=name,
        label=name.capitalize(),
        prefix=prefix,
        suffix=name,
        higher_is_better=True,
        corner=corner,
        parameters=_NEIGHBOURS,
        uncertainty=_HALF_SAMPLING,
        by_default=True,
        help=help_,
        **values,
    )


_QUALITY = (
    MetricSpec(
        name="fd",
        label="FID",
        prefix="FD",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(ddof=1, dtype="float64", epsilon=0),
        uncertainty=_of(
            method="grouped jackknife over the generated images, bias corrected to second order, "
            "reference held fixed",
            groups=20,
            seed=0,
            quantile="Student t",
            images_per_dimension=5,
        ),
        headline=True,
        by_default=True,
        help="Fréchet distance between two Gaussians fitted to the features.",
    ),
    MetricSpec(
        name="fd_infinity",
        label="FID∞",
        prefix="FD∞",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(ddof=1, dtype="float64", points=15, seed=0, regression="on 1/N"),
        uncertainty=_NO_INTERVAL,
        help="Fréchet distance extrapolated to infinitely many generated images.",
    ),
    MetricSpec(
        name="kd",
        label="KID",
        prefix="KD",
        higher_is_better=False,
        corner="quality",
        minimum=None,  # the unbiased estimate of a small squared distance may be negative
        maximum=None,
        parameters=_of(**_KERNEL, estimator="unbiased, all pairs"),
        uncertainty=_of(
            method="plug-in variance of the two-sample U-statistic, first and second order",
            quantile="normal",
        ),
        headline=True,
        by_default=True,
        help="Squared maximum mean discrepancy of the features under a cubic kernel.",
    ),
    MetricSpec(
        name="kd_subsets",
        label="KID (100 subsets of 1000)",
        prefix="KD",
        suffix="(100 subsets of 1000)",
        higher_is_better=False,
        corner="quality",
        minimum=None,
        maximum=None,
        parameters=_of(
            **_KERNEL,
            estimator="unbiased, mean of subsets",
            subsets=100,
            subset_size=1000,
            seed=2020,
        ),
        uncertainty=_NO_INTERVAL,
        help="The kernel distance as published KID is computed; its spread is no standard error.",
    ),
    MetricSpec(
        name="is",
        label="IS",
        prefix="CS",
        higher_is_better=True,
        corner="quality",
        minimum=1.0,
        maximum=None,
        parameters=_of(splits=1, dtype="float64"),
        uncertainty=_of(method="delta method on the logarithm", quantile="normal"),
        needs=("logits",),
        headline=True,
        by_default=True,
        help="Exponential of the mutual information between image and predicted class.",
    ),
    MetricSpec(
        name="is_splits",
        label="IS (10 splits)",
        prefix="CS",
        suffix="(10 splits)",
        higher_is_better=True,
        corner="quality",
        minimum=1.0,
        maximum=None,
        parameters=_of(splits=10, seed=2020, dtype="float64"),
        uncertainty=_NO_INTERVAL,
        needs=("logits",),
        help="The score as published IS is computed: the mean of ten splits, which is biased down.",
    ),
    _neighbour_metric(
        "precision",
        "PR",
        "quality",
        "Share of generated images inside the nearest-neighbour balls of real images.",
    ),
    _neighbour_metric(
        "density",
        "DC",
        "quality",
        "Mean number of nearest-neighbour balls of real images around a generated one, over k.",
        maximum=None,
        headline=False,
    ),
    MetricSpec(
        name="class_fd",
        label="Per-class FD",
        prefix="Per-class FD",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(ddof=1, dtype="float64", classes="predicted", average="mean"),
        uncertainty=_of(**_JACKKNIFE, images_per_dimension=5),
        needs=("classes",),
        help="Mean over the predicted classes of the Fréchet distance within each.",
    ),
    MetricSpec(
        name="mind",
        label="MIND",
        prefix="MIND",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(projections=1000, seed=2020),
        uncertainty=_of(**_JACKKNIFE, correction="five splits into halves"),
        help="Monge Inception distance: squared sliced Wasserstein-2 distance, times 3 D.",
    ),
    MetricSpec(
        name="sliced_wasserstein",
        label="Sliced Wasserstein",
        prefix="SW2",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(order=2, directions=256, seed=0),
        uncertainty=_of(**_JACKKNIFE, correction="five splits into halves"),
        help="Wasserstein-2 distance of the features along random directions.",
    ),
    MetricSpec(
        name="psnr",
        label="PSNR",
        prefix="",
        higher_is_better=True,
        corner="quality",
        minimum=0.0,
        maximum=None,
        parameters=_of(data_range=255, average="over images"),
        uncertainty=_of(method="standard error of the mean over images", quantile="normal"),
        needs=("pairs",),
        help="Peak signal-to-noise ratio of reconstructions, in decibels.",
    ),
    MetricSpec(
        name="ssim",
        label="SSIM",
        prefix="",
        higher_is_better=True,
        corner="quality",
        minimum=-1.0,
        maximum=1.0,
        parameters=_of(window="Gaussian, 11 pixels, sigma 1.5", k1=0.01, k2=0.03, data_range=255),
        uncertainty=_of(method="standard error of the mean over images", quantile="normal"),
        needs=("pairs",),
        help="Structural similarity of reconstructions to their originals.",
    ),
)

_COVERAGE = (
    _neighbour_metric(
        "recall",
        "PR",
        "coverage",
        "Share of real images inside the nearest-neighbour balls of generated images.",
    ),
    _neighbour_metric(
        "coverage",
        "DC",
        "coverage",
        "Share of real images whose nearest-neighbour ball holds a generated one.",
    ),
    MetricSpec(
        name="class_kl",
        label="Class KL",
        prefix="Class KL",
        higher_is_better=False,
        corner="coverage",
        minimum=0.0,
        maximum=None,
        parameters=_of(unit="nats", direction="generated from reference"),
        uncertainty=_of(method="delta method", quantile="normal"),
        needs=("classes",),
        by_default=True,
        help="Divergence of the predicted classes' histogram from the reference's.",
    ),
    MetricSpec(
        name="missing_classes",
        label="Missing classes",
        prefix="Missing classes",
        higher_is_better=False,
        corner="coverage",
        minimum=0.0,
        maximum=None,
        parameters=_of(present="predicted for at least one reference image"),
        uncertainty=_NO_INTERVAL,
        counts=True,
        needs=("classes",),
        by_default=True,
        help="How many classes of the reference no generated image is predicted to be of.",
    ),
    MetricSpec(
        name="modes",
        label="Modes",
        prefix="Modes",
        higher_is_better=True,
        corner="coverage",
        minimum=0.0,
        maximum=None,
        parameters=_of(hit="predicted for at least one generated image"),
        uncertainty=_NO_INTERVAL,
        counts=True,
        needs=("classes",),
        help="How many classes generated images are predicted to be of; for stacked datasets.",
    ),
    MetricSpec(
        name="ndb",
        label="NDB/K",
        prefix="NDB/K",
        higher_is_better=False,
        corner="coverage",
        minimum=0.0,
        maximum=1.0,
        parameters=_of(bins=100, seed=0, significance=0.05),
        uncertainty=_NO_INTERVAL,
        help="Share of the reference's k-means bins that generated images fill differently.",
    ),
    MetricSpec(
        name="vendi",
        label="Vendi score",
        prefix="Vendi",
        higher_is_better=True,
        corner="coverage",
        minimum=1.0,
        maximum=None,
        parameters=_of(kernel="cosine", order=1),
        uncertainty=_of(**_JACKKNIFE, images_per_dimension=5),
        help="Effective number of different images among the generated ones.",
    ),
    MetricSpec(
        name="cas",
        label="CAS",
        prefix="",
        higher_is_better=True,
        corner="coverage",
        minimum=0.0,
        maximum=1.0,
        parameters=_of(classifier="dataset classifier's recipe", trained_on="generated images"),
        uncertainty=_of(method="Wilson score over the held-out images, one training"),
        needs=("labels", "held-out"),
        help="Accuracy on real held-out images of a classifier trained on generated ones alone.",
    ),
)

_MEMORISATION = (
    _neighbour_metric(
        "authenticity",
        "NN",
        "memorisation",
        "Share of generated images not nearer to a training image than its own nearest other is.",
    ),
    MetricSpec(
        name="ct",
        label="C_T",
        prefix="C_T",
        higher_is_better=True,
        corner="memorisation",
        minimum=None,
        maximum=None,
        parameters=_of(cells=3, components=64, seed=0),
        uncertainty=_NO_INTERVAL,
        ideal=0.0,
        needs=("held-out",),
        by_default=True,
        help="Whether generated images are nearer to training images than held-out ones are: far "
        "below 0 is copying, far above 0 is missing the data; held-out images themselves have 0.",
    ),
)

BUILT_IN = (*_QUALITY, *_COVERAGE, *_MEMORISATION)
