"""`python -m generators sample` of a pipeline's folder: options, prompts and labels for it."""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from generators.commands.labels import read_prompts
from generators.commands.shared import assignments, machine, progress_bar
from generators.pipelines.drawing import PipelineSamples, draw_all
from generators.pipelines.hub import find_pipeline
from generators.pipelines.loading import LoadedPipeline, load
from generators.specs.options import parse, to_dict, unknown_fields
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler, completed
from generators.specs.pipelines.reading import is_folder
from generators.trained.labels import balanced_labels, labels_by_share


def is_pipeline(options: argparse.Namespace) -> bool:
    """Return whether the command line names a pipeline: its folder, or a hub id with a revision."""
    return options.revision is not None or is_folder(options.checkpoint)


def open_pipeline(options: argparse.Namespace) -> tuple[LoadedPipeline, PipelineSampler]:
    """Return the pipeline that the command line names, and how to draw from it."""
    config, sampler = _chosen(options)
    folder: Path = options.checkpoint
    if options.revision is not None:
        folder = find_pipeline(folder.as_posix(), options.revision)
    pipeline = load(folder, config, device=machine(options))
    return pipeline, completed(sampler, pipeline.card)


def draw_pipeline(
    options: argparse.Namespace,
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    should_stop: Callable[[], bool],
) -> PipelineSamples:
    """Return as many images as the command line asks for."""
    count = options.num
    with progress_bar(pipeline.card.pipeline) as show:
        return draw_all(
            pipeline,
            sampler,
            seeds=range(options.seed, options.seed + count),
            **_asked(options, pipeline, count),
            batch_size=options.batch_size,
            on_batch=lambda drawn: show(drawn / count, f"{drawn:,} images"),
            should_stop=should_stop,
        )


def pipeline_record(pipeline: LoadedPipeline, samples: PipelineSamples) -> dict[str, Any]:
    """Return what there is to say of a pipeline's images besides their cost."""
    card = pipeline.card
    return {
        "pipeline": card.pipeline,
        "digest": card.digest,
        "licence": card.licence,
        "sampler": to_dict(samples.sampler),
        "loaded": to_dict(pipeline.config),
        "blackened": None if samples.blackened is None else len(samples.blackened),
        "cut": samples.cut,
    }


def _chosen(options: argparse.Namespace) -> tuple[PipelineConfig, PipelineSampler]:
    values = assignments(options.options)
    for name, value in (("scheduler", options.sampler), ("steps", options.steps)):
        if value is not None and name in values:
            raise ValueError(f"--set: {name} is set twice")
        values |= {} if value is None else {name: str(value)}
    loading = {field.name for field in fields(PipelineConfig)}
    known = [*loading, *(field.name for field in fields(PipelineSampler))]
    for name, problem in unknown_fields(values, known).items():
        raise ValueError(f"--set: {name}: {problem}")
    config = parse(PipelineConfig, {name: values[name] for name in values if name in loading})
    drawing = {name: value for name, value in values.items() if name not in loading}
    return config, parse(PipelineSampler, drawing)


def _asked(options: argparse.Namespace, pipeline: LoadedPipeline, count: int) -> dict[str, Any]:
    """Return labels or captions for each image, as the command line asks.

    Raises:
        ValueError: if it asks for what the pipeline does not draw by.
    """
    kind, name = pipeline.card.asked, pipeline.card.pipeline
    given = {
        option: getattr(options, option)
        for option in ("label", "labels", "prompt", "prompts")
        if getattr(options, option) is not None
    }
    allowed = {"text": {"prompt", "prompts"}, "classes": {"label", "labels"}, "nothing": set()}
    for option in given.keys() - allowed[kind]:
        raise ValueError(f"--{option}: {name} is asked by {kind}")
    if kind == "text":
        return {"captions": _prompts(options, name, count)}
    return {"labels": _labels(options, pipeline, count)} if kind == "classes" else {}


def _prompts(options: argparse.Namespace, name: str, count: int) -> list[str]:
    if options.prompt is None and options.prompts is None:
        raise ValueError(f"{name} draws what words ask for: expected --prompt or --prompts")
    prompts = [options.prompt] if options.prompts is None else read_prompts(options.prompts)
    return [prompts[index % len(prompts)] for index in range(count)]


def _labels(options: argparse.Namespace, pipeline: LoadedPipeline, count: int) -> np.ndarray:
    """Return the class of each image: one, by shares, or all classes in turn."""
    classes, rule = pipeline.card.num_classes, options.labels
    if options.label is not None:
        if options.label >= classes:
            raise ValueError(f"--label: expected 0..{classes - 1}, got {options.label}")
        return np.full(count, options.label, np.int64)
    if rule == "training":
        raise ValueError("--labels: the pipeline does not say what it was trained on")
    if not isinstance(rule, list):
        return balanced_labels(count, classes)
    if len(rule) != classes or not any(rule):
        raise ValueError(f"--labels: expected a share for each of {classes} classes, one above 0")
    return labels_by_share(count, rule)
