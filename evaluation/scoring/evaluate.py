"""Scores one set of generated images against the reference, exactly as a protocol says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from evaluation.features.base import ExtractionStopped, Extractor, FeatureSet
from evaluation.features.cache import FeatureCache
from evaluation.features.clip import ClipModel
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.splits import choose
from evaluation.metrics.frechet import ReferenceGaussian, reference_gaussian
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.agreement import CLIP_SCORE
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import LOSSY_ACCEPTED, Protocol
from evaluation.scoring.agreement import check_clip, measure_agreement
from evaluation.scoring.averaging import averaged
from evaluation.scoring.checks import (
    EvaluationError,
    check_digest,
    check_enough,
    check_extractor,
    check_saved,
    check_settings,
    check_shape,
    check_split,
)
from evaluation.scoring.measures import Scored, all_finite, measure
from evaluation.scoring.of_images import OF_IMAGES, SELECTION_SEED, Work
from evaluation.scoring.of_prompts import JUDGED, check_prompts, measure_judged
from evaluation.scoring.published import StatisticsCheck, check_statistics
from evaluation.scoring.references import SavedReference, gaussian_of, gaussian_tensors

__all__ = [
    "EvaluationError",
    "EvaluationResult",
    "ExtractionStopped",
    "MetricResult",
    "evaluate_images",
    "stages",
]

ImageSet = ImageStream | np.ndarray | Iterable[np.ndarray]


@dataclass(frozen=True)
class EvaluationResult:
    """The value of every metric of the protocol, in the protocol's order, and its fingerprint.

    statistics: how far those published beside the reference images are from the images' own; None
        if there are none, or none of this extractor.
    """

    values: Mapping[str, MetricResult]
    fingerprint: str
    labels: Mapping[str, str]  # the only names under which the values may be shown
    statistics: StatisticsCheck | None = None


def stages(protocol: Protocol) -> tuple[str, ...]:
    """Return what ``on_progress`` of an evaluation speaks of, in order."""
    held_out = ("held-out",) if _uses_held_out_features(protocol) else ()
    return ("reference", *held_out, "generated", *protocol.metrics)


def evaluate_images(
    protocol: Protocol,
    generated: ImageSet,
    reference: ImageSet | SavedReference,
    *,
    extractor: Extractor,
    held_out: ImageSet | None = None,
    prompts: PromptSet | None = None,  # the protocol's, where it has some
    clip: ClipModel | None = None,  # the protocol's, where it measures agreement
    published: SavedReference | None = None,  # statistics to check the reference images with
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[str, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    cache: FeatureCache | Path | None = None,
) -> EvaluationResult:
    """Return all metrics of ``generated`` against ``reference``: streams, uint8 (N, C, H, W), chunks.

    Exactly ``protocol.num_images`` generated images are scored: all, or a seeded choice of them.
    ``held_out`` are the protocol's held-out real images, where it has some; metrics that need them
    are absent without them. Where the protocol has prompts, exactly as many images are expected, each
    with the prompt that it was asked with as its caption. ``on_progress`` receives a stage (see ``stages``) and its done share in
    0..1. In the folder ``cache`` the features of reference and held-out images are kept.

    Raises:
        EvaluationError: if images or extractor are not as the protocol says.
        ProtocolError: if a package that the protocol needs is not installed.
        ImageError: if images cannot be read.
        ExtractionStopped: if ``should_stop()`` turned true; nothing is left behind.
    """
    protocol.check_packages()
    check_extractor(protocol, extractor)
    check_settings(protocol)
    work = Work(
        protocol=protocol,
        extractor=extractor,
        batch_size=batch_size,
        report=on_progress or (lambda _stage, _share: None),
        stop=should_stop or (lambda: False),
        cache=cache if isinstance(cache, FeatureCache) else FeatureCache(cache),
        fake=_as_stream(generated, "generated images"),
        real=reference
        if isinstance(reference, SavedReference)
        else _as_stream(reference, "reference"),
        held_out=None if held_out is None else _as_stream(held_out, "held-out images"),
        prompts=prompts,
        clip=clip,
    )
    check_clip(protocol, clip)
    _check_sets(work)

    views = _views(work)
    values: dict[str, MetricResult] = {}
    for name in protocol.metrics:
        if name not in values:  # some come together
            work.report(name, 0.0)
            work.keep_going()
            values |= _measure(work, views, name)
        work.report(name, 1.0)
    return EvaluationResult(
        values={name: values[name] for name in protocol.metrics},
        fingerprint=protocol.fingerprint(),
        labels={name: protocol.label(name) for name in protocol.metrics},
        statistics=_check_published(views, published),
    )


def _check_published(
    views: list[Scored], published: SavedReference | None
) -> StatisticsCheck | None:
    if published is None or len(views) > 1:  # one Gaussian is not that of several networks
        return None
    return check_statistics(published, views[0].gaussian())


def _as_stream(images: ImageSet, name: str) -> ImageStream:
    return images if isinstance(images, ImageStream) else open_images(images, name=name)


def _check_sets(work: Work) -> None:
    protocol = work.protocol
    check_shape(protocol, "generated images", work.fake)
    if work.fake.count is not None:
        check_enough(protocol, work.fake.count)
    check_prompts(protocol, work.prompts, work.fake)
    if isinstance(work.real, ImageStream):
        check_shape(protocol, "reference images", work.real)
        check_split("reference", protocol.reference, work.real)
    if work.held_out is not None:
        check_shape(protocol, "held-out images", work.held_out)
        if protocol.held_out is None:
            raise EvaluationError("held-out images: the protocol has none")
        check_split("held-out", protocol.held_out, work.held_out)


def _uses_held_out_features(protocol: Protocol) -> bool:
    """Return whether a metric of features needs those of the held-out images."""
    of_features = (METRICS[name] for name in protocol.metrics if name not in (*OF_IMAGES, *JUDGED))
    return protocol.held_out is not None and any("held-out" in spec.needs for spec in of_features)


# --- Features ---------------------------------------------------------------------------------


def _views(work: Work) -> list[Scored]:
    """Return what to measure on: one view for each network of the extractor.

    Random convolutions are several networks whose features stand side by side.
    """
    real, held_out = _reference_features(work), _held_out_features(work)
    fake = _to_device(_generated_features(work), work.extractor.device)
    if work.fake.lossy_count and work.protocol.images.lossy != LOSSY_ACCEPTED:
        raise EvaluationError(f"{work.fake.name}: lossy files; {work.protocol.images.lossy}")
    networks = _networks(work.extractor)
    return [
        Scored(
            protocol=work.protocol,
            fake=_part(fake, at, networks),
            real=None if real is None else _part(real, at, networks),
            held_out=None if held_out is None else _part(held_out, at, networks),
            gaussian=partial(_gaussian, work, real, at, networks),
            keep_going=work.keep_going,
        )
        for at in range(networks)
    ]


def _networks(extractor: Extractor) -> int:
    return len(extractor.recipe.get("keys", ())) or 1


def features_of_networks(extractor: Extractor, found: FeatureSet) -> list[FeatureSet]:
    """Return the features of each of an extractor's networks, most often of the only one."""
    networks = _networks(extractor)
    return [_part(found, at, networks) for at in range(networks)]


def _part(found: FeatureSet, at: int, networks: int) -> FeatureSet:
    """Return the columns of one of several networks."""
    if networks == 1:
        return found
    width = found.features.shape[1] // networks
    return FeatureSet(found.features[:, at * width : (at + 1) * width].contiguous(), None)


def _to_device(found: FeatureSet, device: torch.device) -> FeatureSet:
    if device.type != "cuda":  # other accelerators have no float64
        return found
    logits = None if found.logits is None else found.logits.to(device)
    return FeatureSet(found.features.to(device), logits)


def _reference_features(work: Work) -> FeatureSet | None:
    """Return the reference's features, None where there are only statistics of them."""
    split = work.protocol.reference
    if isinstance(work.real, SavedReference):
        check_digest("reference", split, work.real.facts.digest)
        check_saved(work.protocol, work.real)
        return work.real.features
    found = _kept_features(work, work.real, "reference")
    check_digest("reference", split, work.real.digest())
    return found


def _held_out_features(work: Work) -> FeatureSet | None:
    """Return the held-out images' features where a metric needs them."""
    if work.held_out is None or work.protocol.held_out is None:
        return None
    if not _uses_held_out_features(work.protocol):
        return None
    found = _kept_features(work, work.held_out, "held-out")
    check_digest("held-out", work.protocol.held_out, work.held_out.digest())
    return found


def _kept_features(work: Work, images: ImageStream, stage: str) -> FeatureSet:
    """Return features of real images, from the cache if they were computed before.

    Raises:
        EvaluationError: if they are not finite.
    """
    found = work.cache.features(
        work.extractor,
        images,
        batch_size=work.batch_size,
        on_progress=lambda share: work.report(stage, share),
        should_stop=work.stop,
    )
    if not all_finite(found):
        raise EvaluationError(f"the features of the {stage} images are not finite")
    return found


def _generated_features(work: Work) -> FeatureSet:
    """Return the features of the images that are scored; they are not kept."""
    count, wanted = work.fake.count, work.protocol.num_images
    # How many images an iterator has is known at its end.
    early = None if count in (None, wanted) else choose(count or 0, wanted, seed=SELECTION_SEED)
    found = FeatureCache(None).features(
        work.extractor,
        work.fake,
        indices=early,
        batch_size=work.batch_size,
        on_progress=lambda share: work.report("generated", share),
        should_stop=work.stop,
    )
    if count is not None:
        return found
    check_enough(work.protocol, len(found.features))
    rows = torch.from_numpy(choose(len(found.features), wanted, seed=SELECTION_SEED))
    return FeatureSet(found.features[rows], None if found.logits is None else found.logits[rows])


def _gaussian(work: Work, real: FeatureSet | None, at: int, networks: int) -> ReferenceGaussian:
    """Return the reference's Gaussian, whose factor is kept: it is the same for every model."""
    if isinstance(work.real, SavedReference) and networks == 1:
        return work.real.gaussian
    assert real is not None, "several networks have no published statistics"
    features = _part(real, at, networks).features
    extractor, digest = work.extractor, work.protocol.reference.digest  # that was checked
    key = f"gaussian {digest} {' '.join(extractor.identity)} {at}"
    kept = work.cache.tensors(key, lambda: gaussian_tensors(reference_gaussian(features)))
    return gaussian_of(kept, len(features))


# --- Metrics ----------------------------------------------------------------------------------


def _measure(work: Work, views: list[Scored], name: str) -> dict[str, MetricResult]:
    """Return a metric with those that come with it."""
    if name in JUDGED:
        return measure_judged(work)
    if name == CLIP_SCORE:
        return {name: measure_agreement(work)}
    if name in OF_IMAGES:
        return {name: OF_IMAGES[name](work)}
    found = [measure(name, view) for view in views]
    return {name: averaged(name, [values[name] for values in found]) for name in found[0]}
