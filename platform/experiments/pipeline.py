"""THE bridge to torch: what a worker does for a run, a sample set and an evaluation."""

import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from django.conf import settings

from catalog.models import Protocol
from catalog.stored import name_of
from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.registry import build_extractor, pixels_wanted
from evaluation.imagesets.in_memory import Images, write_npz
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.writing import grid_png, read_grid
from evaluation.scoring import evaluate as scoring
from experiments import asked, services, work_files
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet, SheetReading
from experiments.work import handed_in, judged, pipelines, readings, real_images
from experiments.work.columns import columns
from experiments.work.real_images import feature_cache, load_split, open_split, train_captions
from generators.algorithm.contract import NotFinite
from generators.specs import registry
from generators.specs.versions import commit
from generators.trained import sampling
from generators.trained.labels import balanced_labels, check_seen, labels_by_share
from generators.training import loop as training
from generators.training.memory import TooLittleMemory
from jobs import lifecycle
from jobs.execution import Heartbeat, JobStopped
from jobs.lifecycle import JobError
from jobs.models import Cause
from jobs.settled import settled

COMMIT = commit()  # before a checkout changes under a worker that goes on
PREVIEW_IMAGES = 40
GRID_IMAGES = 100
GRID_COLUMNS = 10
POINTS_KEPT = 100  # loss points between two beats
PREVIEWS = 6  # of a training with a budget in images; others have one per checkpoint in time


@cache
def device() -> str:
    """Return the device of this process and set torch's threads, once."""
    if settings.TORCH_THREADS:
        torch.set_num_threads(settings.TORCH_THREADS)
    if settings.DEVICE != "auto":
        return str(settings.DEVICE)
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment() -> dict[str, Any]:
    """Return what a number may depend on besides its configuration."""
    on_gpu = device().startswith("cuda")
    return {
        "host": platform.node(),
        "device": torch.cuda.get_device_name(device()) if on_gpu else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "numpy")},
        "trilemma": settings.VERSION,
        "commit": COMMIT,
    }


# --- training -----------------------------------------------------------------------------------


@contextmanager
def stopping() -> Iterator[None]:
    """Turn the houses' own words for having been stopped into the worker's."""
    try:
        yield
    except (sampling.SamplingStopped, scoring.ExtractionStopped) as error:
        raise JobStopped from error


@contextmanager
def failing() -> Iterator[None]:
    """Turn what torch and trainings fail by into failures that say it in a sentence."""
    try:
        yield
    except (training.Diverged, NotFinite) as error:
        raise JobError(f"diverged: {error}", Cause.DIVERGED) from error
    except TooLittleMemory as error:
        raise JobError(f"out of memory: {error}", Cause.MEMORY) from error
    except torch.OutOfMemoryError as error:
        sentence = str(error).partition(". ")[0]
        torch.cuda.empty_cache()  # the worker goes on
        raise JobError(f"out of memory: {sentence}", Cause.MEMORY) from error


def train(run: Run, heartbeat: Heartbeat) -> None:
    """Train a run from its last checkpoint to its budget."""
    experiment = run.entry.experiment
    services.begin_training(run, environment(), work_files.autoencoder_of(run))
    images, images_wanted = load_split(experiment.dataset, "train"), experiment.budget_images
    if newest := run.checkpoints.last():
        work_files.fetched(settings.DATA_DIR / newest.path)
    with failing():
        result = training.train(
            run.entry.algorithm,
            registry.get_spec(run.entry.algorithm).config(**run.entry.config),
            images.pixels,
            images.labels,
            num_classes=experiment.dataset.num_classes,
            captions=images.captions if asked.learns_words(experiment.dataset) else None,
            seed=run.seed,
            budget=training.Budget(experiment.budget_images, experiment.budget_seconds),
            device=device(),
            directory=run.folder,
            borrowed_from=settings.DATA_DIR,
            checkpoint_every_seconds=settings.CHECKPOINT_SECONDS,
            checkpoint_every_images=images_wanted and max(1, images_wanted // PREVIEWS),
            classes=experiment.dataset.classes,
            memory_checked=True,
            on_progress=_reporter(run, heartbeat),
            on_checkpoint=lambda saved: _keep_checkpoint(run, saved),
            should_stop=heartbeat.should_stop,
        )
    if result.stopped:
        raise JobStopped
    heartbeat.end(flush=True)
    services.finish_training(
        run,
        run.checkpoints.get(images_seen=result.images_seen),
        images_seen=result.images_seen,
        device_seconds=result.device_seconds,
        parameters=result.parameters,
        skipped_steps=result.skipped,
        resume=result.resume,
    )


def _reporter(run: Run, heartbeat: Heartbeat) -> Callable[[training.TrainingProgress], None]:
    """Return what passes a training's progress to the heartbeat, which writes it."""
    seen_before, started = run.images_seen, time.monotonic()
    last = run.loss_points.last()
    seconds_before = last.wall_seconds if last else 0.0
    heartbeat.write = services.record_training
    points: deque[services.LossFigures] = deque(maxlen=POINTS_KEPT)
    autoencoder = _AutoencoderClock(run)

    def report(progress: training.TrainingProgress) -> None:
        seconds = seconds_before + time.monotonic() - started
        losses = {name: v for name, v in progress.losses.items() if math.isfinite(v)}
        points.append((progress.images_seen, seconds, losses))
        heartbeat.report(
            # A resumed run goes over images again that were counted before it was lost.
            images_seen=max(progress.images_seen, seen_before),
            budget_fraction=progress.budget_fraction,
            device_seconds=progress.device_seconds,
            images_per_second=progress.images_per_second,
            skipped_steps=progress.skipped,
            losses=losses,
            points=tuple(points),
            **autoencoder.read(progress),
        )

    return report


class _AutoencoderClock:
    """How many of a training's device-seconds are those of an autoencoder of its own."""

    def __init__(self, run: Run) -> None:
        config = registry.get_spec(run.entry.algorithm).config(**run.entry.config)
        self._part = config.autoencoder_part
        self._found = run.autoencoder_seconds  # before it was interrupted
        self._before = (0.0, 0.0)

    def read(self, progress: training.TrainingProgress) -> dict[str, float]:
        """Return the column to write, once they are known: linear between two reports."""
        now = (progress.budget_fraction, progress.device_seconds)
        if not self._part:
            return {}
        if now[0] < self._part:
            self._before, self._found = now, None
            return {}
        if self._found is None:
            (share, seconds), (share_now, seconds_now) = self._before, now
            passed = (self._part - share) / (share_now - share)
            self._found = seconds + (seconds_now - seconds) * passed
        return {"autoencoder_seconds": self._found}


def _keep_checkpoint(run: Run, saved: training.SavedCheckpoint) -> None:
    """Draw a preview of a saved checkpoint, keep both, write its row, forget older ones."""
    preview = run.folder / f"preview-{saved.images_seen:012d}.png"
    generator = sampling.load_generator(saved.path, device=device())
    asked_of = asked_by(generator, run.entry.experiment, PREVIEW_IMAGES)
    drawn = _preview(generator, preview, asked_of)
    verdict = judged.at_checkpoint(run.entry, generator, saved.path, drawn, asked_of)
    lifecycle.beat(run)  # a stale attempt writes over nothing
    work_files.keep_checkpoint(run, saved.path, preview)
    services.record_checkpoint(
        run,
        images_seen=saved.images_seen,
        path=name_of(saved.path),
        sha256=saved.sha256,
        size=saved.bytes,
        preview=name_of(preview),
        verdict=verdict,
    )
    work_files.forget_pruned_checkpoints(run)


def _preview(generator: sampling.LoadedGenerator, path: Path, asked_of: Any) -> np.ndarray:
    """Return the same few seeds of every checkpoint, drawn by a fast sampler, if not before."""
    if path.exists():
        return read_grid(path, PREVIEW_IMAGES, GRID_COLUMNS, generator.shape)
    sampler = registry.preview_sampler(generator.algorithm, generator.config)
    seeds, size = range(PREVIEW_IMAGES), PREVIEW_IMAGES
    drawn = sampling.draw(generator, sampler, seeds=seeds, batch_size=size, **asked_of)
    grid_png(pixels := np.concatenate(list(drawn)), GRID_COLUMNS, path)
    return pixels


# --- sampling -----------------------------------------------------------------------------------


def sample(sample_set: SampleSet, heartbeat: Heartbeat) -> None:
    """Draw a sample set's images from its checkpoint or pipeline, take real ones, or those given."""
    facts: dict[str, Any] = {}
    control = sample_set.entry.control
    if sample_set.source:
        images, facts = handed_in.read(sample_set, heartbeat)
    elif sample_set.entry.kind == Entry.Kind.PIPELINE:
        with stopping(), failing():
            images, facts = pipelines.draw(
                sample_set, heartbeat, device=device(), environment=environment()
            )
    elif control is not None and control.of_entry:
        generator = _generator(sample_set)
        with stopping(), failing():
            images, lost = real_images.reconstructed(
                sample_set, generator, heartbeat, extractor=_extractor
            )
        facts = {"reconstruction": lost}
    elif control is not None:
        images = real_images.of_control(sample_set)
    else:
        samples = _draw(sample_set, heartbeat)
        captions = None if samples.captions is None else tuple(samples.captions)
        images = Images(samples.pixels, samples.labels, (), captions=captions)
        facts = {**asdict(samples.stats), "stand_ins": samples.stand_ins}
    sha256 = _write(sample_set, images)
    heartbeat.end()
    services.finish_sampling(sample_set, sha256=sha256, **facts)
    work_files.drop_parts(sample_set)


def _generator(sample_set: SampleSet) -> sampling.LoadedGenerator:
    checkpoint = sample_set.checkpoint
    assert checkpoint is not None, "only controls of no entry have no checkpoint"
    folder = work_files.fetched(settings.DATA_DIR / checkpoint.path)
    return sampling.load_generator(folder, device=device(), sha256=checkpoint.sha256)


def _draw(sample_set: SampleSet, heartbeat: Heartbeat) -> sampling.Samples:
    generator = _generator(sample_set)
    with stopping(), failing():
        return sampling.draw_all(
            generator,
            registry.parse_sampler(sample_set.entry.algorithm, sample_set.sampler),
            seeds=range(sample_set.first_seed, sample_set.first_seed + sample_set.count),
            on_batch=lambda drawn: heartbeat.report(drawn=drawn),
            should_stop=heartbeat.should_stop,
            **asked_by(generator, sample_set.entry.experiment, sample_set.count),
        )


def asked_by(
    generator: sampling.LoadedGenerator, experiment: Experiment, count: int
) -> dict[str, Any]:
    """Return the labels or the captions of so many images; {} for an unconditional generator."""
    if generator.conditions.by_text:
        captions = asked.prompts_of(experiment, count)
        return {"captions": captions or train_captions(experiment.dataset, count)}
    return {"labels": _labels(generator, asked.shares_of(experiment), count)}


def _labels(
    generator: sampling.LoadedGenerator, shares: Sequence[int] | None, count: int
) -> np.ndarray | None:
    """Return a label for each image, of which any first follow the shares; None when unconditional.

    Raises:
        JobError: if the generator never saw a class that has a share.
    """
    if not generator.num_classes:
        return None
    if shares is None:
        return balanced_labels(count, generator.num_classes)
    try:
        check_seen(shares, generator.class_counts or [1] * generator.num_classes)
    except ValueError as error:
        raise JobError(str(error)) from error
    return labels_by_share(count, shares)


def _write(sample_set: SampleSet, images: Images) -> str:
    """Write a sample set's file and contact sheet; return the file's sha256.

    Where protocols have prompts, each image has the one that it was asked with, whoever was deaf to
    it; else the caption that it was drawn by, or that a real image has.
    """
    pixels = images.pixels
    captions = asked.prompts_of(sample_set.entry.experiment, len(pixels)) or images.captions
    sample_set.path.parent.mkdir(parents=True, exist_ok=True)
    grid_png(pixels[:GRID_IMAGES], GRID_COLUMNS, sample_set.grid_path)
    digest = write_npz(sample_set.path, pixels, images.labels, captions=captions)
    work_files.keep_samples(sample_set)
    return digest


# --- evaluation ---------------------------------------------------------------------------------


def evaluate(evaluation: Evaluation, heartbeat: Heartbeat) -> None:
    """Score a sample set under a protocol; a control that is too small for it stays unscored."""
    if reason := services.shortage(evaluation):
        heartbeat.end()
        services.finish_unscored(evaluation, reason)
        return
    if evaluation.protocol.refusal:
        raise JobError(evaluation.protocol.refusal)
    if values := real_images.known_values(evaluation):
        reading = readings.known(evaluation)
    else:
        values, reading = _scored(evaluation, heartbeat)
    heartbeat.end()
    with settled():
        services.finish_evaluation(evaluation, values)
        readings.keep(reading)


def _scored(
    evaluation: Evaluation, heartbeat: Heartbeat
) -> tuple[dict[str, dict[str, Any]], SheetReading | None]:
    """Return the fields of each metric's value, and what is seen on the contact sheet."""
    row = evaluation.protocol
    protocol = row.parsed()
    stages = scoring.stages(protocol)
    reference = open_split(row.dataset, protocol.reference.split)
    generated = open_images(work_files.samples_file(evaluation.sample_set))
    extractor, held_out = _extractor(row, reference), protocol.held_out

    def on_progress(stage: str, share: float) -> None:
        heartbeat.report(step=stage, fraction=(stages.index(stage) + share) / len(stages))

    with stopping(), failing():
        result = scoring.evaluate_images(
            protocol,
            generated,
            reference,
            extractor=extractor,
            held_out=None if held_out is None else open_split(row.dataset, held_out.split),
            prompts=None if row.prompt_set is None else row.prompt_set.parsed(),
            clip=real_images.clip_of(row, device()),
            on_progress=on_progress,
            should_stop=heartbeat.should_stop,
            cache=feature_cache(),
        )
        reading = readings.read(evaluation, extractor, generated, reference, heartbeat)
    return {name: columns(value) for name, value in result.values.items()}, reading


def _extractor(protocol: Protocol, reference: ImageStream) -> Extractor:
    """Return the protocol's extractor, its weights checked against the fingerprint's.

    Those made from the reference's pixels are given all of them, others one image to look at.
    """
    if protocol.extractor_files:
        work_files.fetched(protocol.extractor_files)
    try:
        return build_extractor(
            protocol.extractor,
            weights=protocol.weights_path,
            cache=settings.DATA_DIR / "extractors",
            device=device(),
            reference=pixels_wanted(protocol.extractor, reference),
            recipe=protocol.record["extractor"]["recipe"] or None,
        )
    except ExtractorError as error:
        raise JobError(str(error)) from error
