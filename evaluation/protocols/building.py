"""Builds the protocol of a dataset, an extractor and metrics at their default parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.protocols.agreement import CLIP_SCORE, ClipIdentity
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import ExtractorSpec
from evaluation.protocols.extractors import get_extractor
from evaluation.protocols.labels import Wanted, label_rule
from evaluation.protocols.metrics import (
    METRICS,
    OF_STATISTICS,
    default_metrics,
    get_metric,
    missing_needs,
)
from evaluation.protocols.presets import MAX_IMAGES
from evaluation.protocols.prompts import PromptSet, asked
from evaluation.protocols.record import (
    ALPHA,
    CONFIDENCE_LEVEL,
    LOSSLESS,
    QUANTISATION,
    SELECTION,
    ExtractorIdentity,
    ImageRules,
    Protocol,
    Reference,
    Split,
)


@dataclass(frozen=True)
class SplitFacts:
    """One split of a dataset: the digest of its images (see `images_digest`) and their number."""

    digest: str
    count: int
    kind: str = "images"  # or "statistics": a published mean and covariance alone
    class_counts: tuple[int, ...] | None = None  # images of each class; None = unlabelled
    lossy: int = 0  # images known to come from lossy files


@dataclass(frozen=True)
class DatasetFacts:
    """What a protocol needs to know of a dataset; ``splits`` has "train" and usually "test"."""

    slug: str
    resolution: int  # pixels per side
    channels: int  # 1 = grey, 3 = RGB
    splits: Mapping[str, SplitFacts]


def build_protocol(
    dataset: DatasetFacts,
    *,
    extractor: str,
    weights_sha256: str,
    recipe: Mapping[str, Any],
    dim: int | None = None,  # features per image; None = as the extractor always has
    metrics: Iterable[str] | None = None,  # None = those measured by default
    num_images: int | None = None,
    reference_split: str = "train",
    lossy: str = LOSSLESS,
    labels: Wanted | None = None,  # None = as the reference, if it is labelled
    prompts: PromptSet | None = None,  # what images are asked with, in turn
    images_per_prompt: int | None = None,  # None = as many as make up num_images, 1 at least
    clip: ClipIdentity | None = None,  # judges how well images and prompts agree
) -> Protocol:
    """Return the protocol of these metrics at their default parameters.

    ``num_images`` is how many generated images are scored; by default the size of the test split,
    at most 10 000. A split called "test" beside the reference is held out. ``recipe`` says how the
    weights came about ({} = they were published). ``labels`` is the rule by which labels of
    conditional samples are drawn: "reference", "uniform" or a share for each class. With ``prompts``
    each is asked for as many images, which together are those that are scored.

    Raises:
        ProtocolError: if a fact is wrong, or a metric needs what there is not.
    """
    if reference_split not in dataset.splits:
        known = ", ".join(dataset.splits)
        raise ProtocolError("reference.split", f"expected one of {known}; got {reference_split!r}")
    spec = get_extractor(extractor)
    reference = dataset.splits[reference_split]
    held_out = _held_out(dataset, reference_split)
    count = _default_num_images(held_out, reference) if num_images is None else num_images
    rule = None
    if prompts is not None:
        each = images_per_prompt or max(1, count // len(prompts.prompts))
        if num_images is not None and each * len(prompts.prompts) != num_images:
            raise ProtocolError(
                "num_images",
                f"expected {each} for each of {len(prompts.prompts)} prompts, got {num_images}",
            )
        rule, count = asked(prompts, each), each * len(prompts.prompts)
    given = {
        "held_out": held_out is not None,
        "prompts": rule is not None,
        "claims": rule is not None and rule["judge"] is not None,
        "clip": clip is not None,
    }
    names = _metric_names(metrics, extractor, reference.kind, given)
    return Protocol(
        dataset=dataset.slug,
        reference=Reference(
            split=reference_split,
            digest=reference.digest,
            count=reference.count,
            lossy=reference.lossy,
            kind=reference.kind,
        ),
        held_out=held_out,
        extractor=ExtractorIdentity(
            name=spec.name,
            layer=spec.layer,
            dim=dim or spec.dim or 0,
            weights_sha256=weights_sha256,
            recipe=dict(recipe),
        ),
        images=_image_rules(dataset, spec, lossy, label_rule(labels, reference.class_counts)),
        num_images=count,
        prompts=rule,
        metrics={name: _parameters(name, reference.count, count, clip) for name in names},
        uncertainty={
            "level": CONFIDENCE_LEVEL,
            **{name: dict(METRICS[name].uncertainty) for name in names},
        },
    )


def _held_out(dataset: DatasetFacts, reference_split: str) -> Split | None:
    test = dataset.splits.get("test")
    if test is None or reference_split == "test":
        return None
    return Split("test", test.digest, test.count, test.lossy)


def _default_num_images(held_out: Split | None, reference: SplitFacts) -> int:
    return min(MAX_IMAGES, (held_out or reference).count)


def _metric_names(
    wanted: Iterable[str] | None, extractor: str, kind: str, given: Mapping[str, bool]
) -> tuple[str, ...]:
    """Return the wanted metrics in the order of boards, each once."""
    if wanted is None:
        if kind == "statistics":
            return OF_STATISTICS[:1]
        return default_metrics(extractor, **given)
    chosen = set(wanted)
    for name in chosen:
        try:
            get_metric(name)
        except ValueError as error:
            raise ProtocolError("metrics", str(error)) from error
        if missing := missing_needs(name, extractor, **given):
            raise ProtocolError(f"metrics.{name}", f"needs {' and '.join(missing)}")
        if kind == "statistics" and name not in OF_STATISTICS:
            raise ProtocolError(f"metrics.{name}", "needs reference images, not their statistics")
    return tuple(name for name in METRICS if name in chosen)


def _image_rules(
    dataset: DatasetFacts, spec: ExtractorSpec, lossy: str, labels: dict[str, Any] | None
) -> ImageRules:
    return ImageRules(
        resolution=dataset.resolution,
        channels=dataset.channels,
        channels_rule=spec.channels_rule,
        quantisation=QUANTISATION,
        resize=spec.resize,
        selection=SELECTION,
        lossy=lossy,
        alpha=ALPHA,
        labels=labels,
    )


def _parameters(
    metric: str, reference_count: int, num_images: int, clip: ClipIdentity | None
) -> dict[str, Any]:
    """Return a metric's parameters, with the number of reference images where it is limited."""
    parameters = dict(METRICS[metric].parameters)
    if metric in ("kd", "sliced_wasserstein"):
        parameters["reference_count"] = min(reference_count, MAX_IMAGES)
    if metric in ("precision", "recall", "density", "coverage"):
        # As many real as generated images: unequal sets shrink the radii of one side.
        parameters["reference_count"] = min(reference_count, max(num_images, 2))
    if metric == CLIP_SCORE and clip is not None:
        parameters["model"] = clip.to_record()
    return parameters
