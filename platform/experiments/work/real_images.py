"""Real images as work needs them: splits, controls, and what an autoencoder leaves of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import F
from django.forms import model_to_dict

from catalog.models import Dataset, Protocol
from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.cache import FeatureCache
from evaluation.features.clip import ClipModel, find_clip
from evaluation.imagesets.in_memory import Images, read_images
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.splits import take
from evaluation.protocols.agreement import ClipIdentity
from evaluation.protocols.prompts import real_pairs
from evaluation.scenes.claims import read_claims
from evaluation.scoring import controls
from evaluation.scoring.reconstructions import Pairs
from experiments import asked, work_files
from experiments.controls import SHUFFLED
from experiments.models import Entry, Evaluation, MetricValue, SampleSet
from experiments.work.columns import columns
from generators.trained.inspection import through_autoencoder
from generators.trained.sampling import LoadedGenerator
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError
from jobs.models import Status

FEATURE_BYTES = 20 * 2**30  # of kept features; the least recently used go first
OWN = ("id", "evaluation", "metric")  # of a value, the rest is what was measured
CONTROL_SEED = 0  # of noise, and of which images a control holds where there are more than needed


def load_split(dataset: Dataset, split: str) -> Images:
    """Return a split's images with their labels and captions, whatever there is.

    Raises:
        JobError: if the file is missing or is not the one that was registered.
    """
    return read_images(work_files.split_file(dataset, split))


def open_split(dataset: Dataset, split: str) -> ImageStream:
    """Return a split's images, read as they are needed."""
    return open_images(work_files.split_file(dataset, split))


def train_captions(dataset: Dataset, count: int) -> list[str]:
    """Return captions of the train split in a seeded order: as it is told, where no prompts are."""
    captions = open_split(dataset, "train").captions
    assert captions is not None, "what is asked by words was trained on some, or is refused"
    order = np.random.default_rng(CONTROL_SEED).permutation(len(captions))
    return [captions[index] for index in np.resize(order, count)]


def known_values(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return the values of a control whose very images a worker of this code has scored already.

    The controls of a dataset are the same images in every experiment, and the same images have the
    same values. Nothing is taken from a worker that has been started, or updated, since.
    """
    sample_set = evaluation.sample_set
    if sample_set.entry.kind != Entry.Kind.CONTROL:
        return {}
    same = Evaluation.objects.filter(
        protocol=evaluation.protocol,
        status=Status.COMPLETED,
        sample_set__sha256=sample_set.sha256,
        sample_set__entry__kind=Entry.Kind.CONTROL,
        worker__version=settings.VERSION,
        started_at__gte=F("worker__started_at"),
    ).exclude(pk=evaluation.pk)
    values = MetricValue.objects.filter(evaluation=same.order_by("pk").values("pk")[:1])
    return {value.metric: model_to_dict(value, exclude=OWN) for value in values}


def feature_cache() -> FeatureCache:
    """Return where features of real images are kept."""
    return FeatureCache(settings.DATA_DIR / "features", max_bytes=FEATURE_BYTES)


def clip_of(protocol: Protocol, device: str) -> ClipModel | None:
    """Return the model that judges how well images and prompts agree, None if none does.

    Raises:
        JobError: if it is gone, or is not the one that was registered.
    """
    identity, folder = ClipIdentity.of(protocol.record["metrics"]), protocol.clip_files
    if identity is None or folder is None:
        return None
    work_files.fetched(folder)
    try:
        return find_clip(identity, None, folder.parent, device=device)
    except ExtractorError as error:
        raise JobError(str(error)) from error


# --- controls -----------------------------------------------------------------------------------


def of_control(sample_set: SampleSet) -> Images:
    """Return the images of a control that needs no model."""
    control, dataset = sample_set.entry.control, sample_set.entry.experiment.dataset
    assert control is not None, "only controls have no checkpoint"
    if control.is_asked:
        return _asked(sample_set, is_shuffled=control.kind == SHUFFLED)
    if not control.split:
        shape = (dataset.channels, dataset.resolution, dataset.resolution)
        pixels = controls.uniform_noise(shape, sample_set.count, seed=CONTROL_SEED)
        return Images(pixels, None, ())
    images = _some(load_split(dataset, control.split), control.split, sample_set.count)
    if control.kind == "blur":
        return replace(images, pixels=controls.blurred(images.pixels))
    return images


def _asked(sample_set: SampleSet, *, is_shuffled: bool) -> Images:
    """Return real images that have what was asked, or that other prompts asked: drawn, or by captions."""
    experiment, count = sample_set.entry.experiment, sample_set.count
    if asked.can_be_drawn(experiment):
        return Images(_asked_scenes(sample_set, is_shuffled=is_shuffled), None, ())
    prompts, test = asked.prompt_set_of(experiment), load_split(experiment.dataset, "test")
    assert prompts is not None, "these controls are of experiments with prompts"
    found = real_pairs(test.captions or (), prompts, -(-count // len(prompts.prompts)))
    if found is None:
        raise JobError("the test split no longer has real images for every prompt")
    chosen = np.array(found[:count])
    if is_shuffled:
        chosen = chosen[np.random.default_rng(CONTROL_SEED).permutation(count)]
    return Images(test.pixels[chosen], None, ())


def _asked_scenes(sample_set: SampleSet, *, is_shuffled: bool = False) -> np.ndarray:
    """Return drawn scenes that follow their prompts, or those of other images."""
    experiment = sample_set.entry.experiment
    prompts = asked.prompt_set_of(experiment)
    assert prompts is not None, "these controls are of experiments with prompts"
    claims = [read_claims(each.claims) for each in prompts.prompts]
    return controls.asked_scenes(
        claims,
        sample_set.count,
        experiment.dataset.resolution,
        seed=CONTROL_SEED,
        shuffled=is_shuffled,
    )


def _some(images: Images, split: str, count: int) -> Images:
    """Return a seeded choice of a split's images, in mixed order: sheets show the first ones."""
    chosen = np.random.default_rng(CONTROL_SEED).permutation(len(images.pixels))[:count]
    if len(chosen) < count:
        found = len(images.pixels)
        raise JobError(f"expected {count} images of the {split} split, it has {found}")
    return take(images, chosen)


# --- reconstructions ----------------------------------------------------------------------------


def reconstructed(
    sample_set: SampleSet,
    generator: LoadedGenerator,
    heartbeat: Heartbeat,
    *,
    extractor: Callable[[Protocol, ImageStream], Extractor],
) -> tuple[Images, dict[str, Any]]:
    """Return real images after an autoencoder, and what it loses of the whole test split.

    The images are those of the split, or scenes for the prompts where these can be drawn.
    """
    experiment = sample_set.entry.experiment
    through = partial(
        through_autoencoder,
        generator,
        on_batch=lambda done: heartbeat.report(drawn=min(done, sample_set.count)),
        should_stop=heartbeat.should_stop,
    )
    test = load_split(experiment.dataset, "test")
    made = replace(test, pixels=through(test.pixels))
    lost = _lost(sample_set, made.pixels, heartbeat, extractor)
    if asked.can_be_drawn(experiment):
        return Images(through(_asked_scenes(sample_set)), None, ()), lost
    return _some(made, "test", sample_set.count), lost


def _lost(
    sample_set: SampleSet,
    made: np.ndarray,
    heartbeat: Heartbeat,
    extractor: Callable[[Protocol, ImageStream], Extractor],
) -> dict[str, Any]:
    """Return PSNR, SSIM and, for each protocol's features, reconstruction-FD, as rows keep them."""
    experiment = sample_set.entry.experiment
    pairs = Pairs(open_split(experiment.dataset, "test"), made)
    distances = {}
    for protocol in experiment.protocols.all():
        reference = open_split(protocol.dataset, protocol.parsed().reference.split)
        distances[protocol.fingerprint] = pairs.distance(
            extractor(protocol, reference),
            cache=feature_cache(),
            on_progress=lambda _: heartbeat.report(drawn=sample_set.count),
            should_stop=heartbeat.should_stop,
        )
    return {
        "split": "test",
        "images": len(made),
        **{
            name: columns(found)
            for name, found in pairs.faithfulness(keep_going=heartbeat.check).items()
        },
        "rfd": {fingerprint: columns(found) for fingerprint, found in distances.items()},
    }
