"""Part of the bridge to torch: what a worker does for a pipeline that was trained elsewhere."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from evaluation.imagesets.decoding import fitted
from evaluation.imagesets.in_memory import Images
from experiments import asked, work_files
from experiments.models import SampleSet
from experiments.submission import pipelines as submitted
from experiments.work.parts import Part, Parts
from experiments.work.real_images import train_captions
from generators.pipelines.asking import cut_words
from generators.pipelines.drawing import PipelineSamples, draw_all
from generators.pipelines.hub import find_pipeline
from generators.pipelines.loading import LoadedPipeline, load
from generators.specs.options import ConfigError, parse, to_dict
from generators.specs.pipelines.card import PipelineCard, PipelineError
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler, completed
from generators.specs.pipelines.reading import inspect
from generators.trained.labels import balanced_labels, labels_by_share
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError
from jobs.models import GB, Cause, Status

MOST_CUT = 100  # prompts whose cut words a row keeps; all are counted


def draw(
    sample_set: SampleSet, heartbeat: Heartbeat, *, device: str, environment: Mapping[str, Any]
) -> tuple[Images, dict[str, Any]]:
    """Return the images of a pipeline in the size of the dataset's, and what its row keeps of them.

    Batches that an attempt drew before it was lost are not drawn again. Costs are those of the rest.

    Raises:
        JobError: if the pipeline is refused, is not what it was, or cannot be drawn from.
    """
    heartbeat.report(drawn=0)
    with _saying():
        pipeline = _load(sample_set, device, heartbeat)
        sampler = completed(parse(PipelineSampler, sample_set.sampler), pipeline.card)
        _check_fit(sample_set, pipeline.card, sampler)
        made_by = _made_by(pipeline, sampler, environment)
        parts = Parts(work_files.parts_folder(sample_set), made_by)
        before = list(parts.read(sample_set.count))
        wanted = _asked(sample_set, pipeline.card)
        samples = _draw(sample_set, pipeline, sampler, heartbeat, wanted, (parts, before))
        cut = cut_words(pipeline, wanted.get("captions", []))
    drawn = len(samples.pixels)
    pixels = np.concatenate([*(part.pixels for part in before), samples.pixels])
    images = Images(pixels, wanted.get("labels"), (), captions=wanted.get("captions"))
    kept = {"cut": len(cut), "cut_words": dict(list(cut.items())[:MOST_CUT])}
    kept |= {"blackened": _blackened(samples, before), "from_before": len(pixels) - drawn}
    provenance = {**made_by, **kept}
    findings = list(_findings(sample_set, provenance))
    return images, {**asdict(samples.stats), "provenance": provenance, "findings": findings}


@contextmanager
def _saying() -> Iterator[None]:
    """Turn refusals into failures of the job, which do not say where on this machine files lie."""
    try:
        yield
    except (PipelineError, ConfigError) as error:
        cause = Cause.MEMORY if "too little memory" in str(error) else Cause.INPUT
        raise JobError(str(error).replace(f"{settings.DATA_DIR}/", ""), cause) from error


# --- loading ------------------------------------------------------------------------------------


def _load(sample_set: SampleSet, device: str, heartbeat: Heartbeat) -> LoadedPipeline:
    """Return the pipeline that was submitted, and no other.

    Raises:
        PipelineError: if it cannot be had, or is not what it was when it was submitted, or when
            another set of the entry was drawn.
        ConfigError: if it cannot be loaded this way.
    """
    config = sample_set.entry.config
    names = {field.name for field in fields(PipelineConfig)}
    how = parse(PipelineConfig, {name: config[name] for name in names if name in config})
    source, revision = config["pipeline"], config["revision"]
    folder = submitted.folder_of(source, revision) or _downloaded(source, revision, heartbeat)
    _check_memory(sample_set, inspect(folder, digests=False))
    pipeline = load(folder, how, device=device, digest=_digest(sample_set))
    now = json.loads(json.dumps(pipeline.card.as_record()))
    if config.get("card") and (changed := submitted.differences(config["card"], now)):
        raise PipelineError(
            f"{source}: is not what it was when it was submitted: {', '.join(changed)}"
        )
    return pipeline


def _downloaded(source: str, revision: str, heartbeat: Heartbeat) -> Path:
    """Return the folder of a hub's pipeline; the row says how far its download is.

    Raises:
        PipelineError: if it cannot be had, is too large for this site or its disk.
        JobStopped: if the job is to stop.
    """

    def told(here: int, whole: int) -> None:
        step = f"downloading {source}: {here / GB:,.2f} of {max(here, whole) / GB:,.2f} GB"
        heartbeat.report(drawn=0, step=step[:200])
        heartbeat.check()

    found = find_pipeline(
        source,
        revision,
        storage=submitted.storage(),
        download=settings.PIPELINE_GB > 0,
        most_bytes=settings.PIPELINE_GB * GB,
        on_bytes=told,
    )
    heartbeat.report(drawn=0, step="")
    return found


def _check_memory(sample_set: SampleSet, card: PipelineCard) -> None:
    """Refuse a pipeline whose weights alone are more than the device holds, before they are read.

    Where it was here at submission it waited for a worker that holds it; a hub's may not have been.

    Raises:
        PipelineError: saying what it needs, and what there is.
    """
    needed = submitted.weight_bytes(sample_set.entry.config, card.as_record())
    worker = sample_set.worker
    if worker is not None and needed > worker.memory_bytes > 0:
        raise PipelineError(
            f"too little memory: the weights of {card.pipeline} need {needed / GB:,.1f} GB, this "
            f"worker has {worker.memory_bytes / GB:,.1f}; expected bfloat16, or offload"
        )


def _digest(sample_set: SampleSet) -> str | None:
    """Return that of the files which the entry's sets are drawn from, None before the first."""
    sets = SampleSet.objects.filter(entry=sample_set.entry, status=Status.COMPLETED)
    first = sets.order_by("pk").first()
    return None if first is None else str(first.provenance["card"]["digest"])


def _check_fit(sample_set: SampleSet, card: PipelineCard, sampler: PipelineSampler) -> None:
    """Refuse what a submission refuses where the pipeline is here; a hub's may not have been."""
    experiment = sample_set.entry.experiment
    has_words = experiment.dataset.has_captions or asked.prompt_set_of(experiment) is not None
    if problem := submitted.misfit(card.as_record(), experiment.dataset, has_words=has_words):
        raise PipelineError(problem)
    if problems := submitted.too_small(to_dict(sampler), experiment.dataset):
        raise ConfigError(problems)


# --- drawing ------------------------------------------------------------------------------------


def _draw(
    sample_set: SampleSet,
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    heartbeat: Heartbeat,
    wanted: dict[str, Any],
    drawn: tuple[Parts, list[Part]],
) -> PipelineSamples:
    """Return the images that are still to be drawn, and write each batch as it comes."""
    parts, before = drawn
    done = sum(len(part.pixels) for part in before)
    first, count = sample_set.first_seed, sample_set.count
    side = sample_set.entry.experiment.dataset.resolution
    made = done

    def keep(pixels: np.ndarray, blackened: list[int]) -> np.ndarray:
        nonlocal made
        small = fitted(pixels, side)
        parts.write(made, Part(small, blackened))
        made += len(small)
        return small

    def should_stop() -> bool:  # asked before each evaluation of the network: it moves
        heartbeat.report(drawn=made)
        return heartbeat.should_stop()

    return draw_all(
        pipeline,
        sampler,
        seeds=range(first + done, first + count),
        should_stop=should_stop,
        keep=keep,
        **{name: values[done:] for name, values in wanted.items()},
    )


def _asked(sample_set: SampleSet, card: PipelineCard) -> dict[str, Any]:
    """Return the labels or the captions of all images; {} for a pipeline that is asked nothing."""
    experiment, count = sample_set.entry.experiment, sample_set.count
    if card.asked == "text":
        prompts = asked.prompts_of(experiment, count)
        return {"captions": prompts or train_captions(experiment.dataset, count)}
    if card.asked == "classes":
        shares = asked.shares_of(experiment)
        if shares is None:
            return {"labels": balanced_labels(count, card.num_classes)}
        return {"labels": labels_by_share(count, shares)}
    return {}


# --- what a row keeps ---------------------------------------------------------------------------


def _made_by(
    pipeline: LoadedPipeline, sampler: PipelineSampler, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all that images depend on, as manifests say it."""
    card = json.loads(json.dumps(pipeline.card.as_record()))
    walk = submitted.walk_of(card)
    scheduler = walk if sampler.scheduler == "own" else sampler.scheduler
    return {
        "card": card,
        "sampler": to_dict(replace(sampler, scheduler=scheduler)),
        "loaded": to_dict(pipeline.config),
        "environment": dict(environment),
    }


def _blackened(samples: PipelineSamples, before: list[Part]) -> int | None:
    """Return how many images a safety checker blackened; None where none looked at them."""
    if samples.blackened is None:
        return None
    return sum(len(part.blackened) for part in before) + len(samples.blackened)


def _findings(sample_set: SampleSet, made_by: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of the images beside their numbers, in sentences."""
    count, sampler = sample_set.count, made_by["sampler"]
    if made_by["blackened"]:
        yield f"{made_by['blackened']:,} of {count:,} images were blackened by its safety checker"
    if made_by["cut"]:
        prompt, words = next(iter(made_by["cut_words"].items()))
        yield (
            f"{made_by['cut']:,} prompts are longer than its text encoder reads; of "
            f"{prompt[:80]!r} it did not read {words[:80]!r}"
        )
    side = sample_set.entry.experiment.dataset.resolution
    if (sampler["height"], sampler["width"]) != (side, side):
        drawn = f"drawn at {sampler['width']}x{sampler['height']}"
        yield f"{drawn}, cropped to the central square and made {side}x{side} (PIL Lanczos)"
