"""`python -m generators sample`: images from a checkpoint or a pipeline, and what they cost."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from evaluation.imagesets.atomic import replacing_folder
from evaluation.imagesets.writing import grid_png, to_pil, write_npz
from generators.commands.data import notice
from generators.commands.labels import wanted_labels
from generators.commands.pipelines import (
    draw_pipeline,
    is_pipeline,
    open_pipeline,
    pipeline_record,
)
from generators.commands.shared import (
    check_file,
    check_parent,
    chosen_sampler,
    open_generator,
    progress_bar,
    say,
    stop_on_signal,
)
from generators.pipelines.drawing import PipelineSamples
from generators.specs.options import SamplerConfig
from generators.specs.registry import sampler_to_dict
from generators.trained.costs import SamplingStats
from generators.trained.sampling import (
    LoadedGenerator,
    Samples,
    SamplingStopped,
    draw_all,
)

GRID_IMAGES = 100
SamplesT = TypeVar("SamplesT")


def sample(options: argparse.Namespace) -> int:
    """Draw images as the command line says, and print where they are."""
    _check_places(options)
    samples, record = _of_pipeline(options) if is_pipeline(options) else _of_checkpoint(options)
    if samples is None:
        return int(record["status"])
    written = {"out": str(options.out), "num": options.num}
    record |= {**written, **asdict(samples.stats), **_write(options, samples)}
    text = f"{options.out}: {options.num:,} images; {_cost(samples.stats)}{_notes(record)}"
    say(options, record, text)
    return 0


def _of_checkpoint(options: argparse.Namespace) -> tuple[Samples | None, dict[str, Any]]:
    """Return a generator's images and what there is to say of them; None if somebody stopped it."""
    generator = open_generator(options)
    sampler = chosen_sampler(options, generator)
    samples, stopped = _until_stopped(lambda stop: _draw(options, generator, sampler, stop))
    record = {
        "algorithm": generator.algorithm,
        "images_seen": generator.images_seen,
        "sampler": sampler_to_dict(sampler),
    }
    if samples is not None and samples.stand_ins:
        notice(
            f"{samples.stand_ins:,} of {options.num:,} images were asked for by a prompt that was no "
            "caption of the training; the generator knows captions as wholes alone, so they show "
            "what any of them asks for, by the image's seed"
        )
    return samples, record | stopped


def _of_pipeline(
    options: argparse.Namespace,
) -> tuple[PipelineSamples | None, dict[str, Any]]:
    """Return the same of a pipeline."""
    pipeline, sampler = open_pipeline(options)
    samples, stopped = _until_stopped(lambda stop: draw_pipeline(options, pipeline, sampler, stop))
    return samples, stopped if samples is None else pipeline_record(pipeline, samples)


def _until_stopped(
    draw: Callable[[Callable[[], bool]], SamplesT],
) -> tuple[SamplesT | None, dict[str, Any]]:
    """Return what was drawn, or None and the exit status."""
    with stop_on_signal() as request:
        try:
            return draw(request.made), {}
        except SamplingStopped as error:
            sys.stderr.write(f"{error}, nothing was written\n")
            return None, {"status": request.exit_status()}
        except torch.OutOfMemoryError as error:
            raise ValueError("out of memory: a smaller --batch-size takes less of it") from error


def _check_places(options: argparse.Namespace) -> None:
    """Refuse what cannot be written before anything is drawn."""
    out: Path = options.out
    if options.format == "npz":
        check_file(out, "--out", ".npz")
    else:
        check_parent(out, "--out")
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise ValueError(f"--out: {out} exists already, expected a new or an empty folder")
    if options.grid is not None:
        check_file(options.grid, "--grid", ".png")


def _draw(
    options: argparse.Namespace,
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    should_stop: Callable[[], bool],
) -> Samples:
    count = options.num
    with progress_bar(generator.algorithm) as show:
        return draw_all(
            generator,
            sampler,
            seeds=range(options.seed, options.seed + count),
            labels=wanted_labels(options, generator, count),
            batch_size=options.batch_size,
            on_batch=lambda drawn: show(drawn / count, f"{drawn:,} images"),
            should_stop=should_stop,
        )


def _cost(stats: SamplingStats) -> str:
    memory = stats.peak_memory_bytes
    return (
        f"NFE {stats.nfe}, {stats.images_per_second:,.1f} images/second in batches of "
        f"{stats.batch_size}, one image alone in {1000 * stats.latency_seconds:.1f} ms "
        f"(95 %: {1000 * stats.latency_p95_seconds:.1f} ms), peak memory "
        + ("not measured on the CPU" if memory is None else f"{memory / 2**20:,.0f} MiB")
    )


def _notes(record: dict[str, Any]) -> str:
    """Return what a pipeline's images need said of them."""
    black, cut = record.get("blackened"), record.get("cut")
    notes = f"; {black:,} blackened by the safety checker" if black else ""
    return notes + (f"; {len(cut):,} prompts were cut off" if cut else "")


def _write(options: argparse.Namespace, samples: Samples | PipelineSamples) -> dict[str, Any]:
    written: dict[str, Any] = {}
    pixels = samples.pixels
    seeds = range(options.seed, options.seed + len(pixels))
    if options.format == "npz":
        written["sha256"] = write_npz(
            options.out, pixels, samples.labels, seeds=seeds, captions=samples.captions
        )
    else:
        # thousands of pictures would take minutes to flush, and can be drawn again
        with replacing_folder(options.out, flush=False) as folder:
            _write_pngs(folder, samples, seeds)
    if options.grid is not None:
        grid_png(pixels[:GRID_IMAGES], 10, options.grid)
        written["grid"] = str(options.grid)
    return written


def _write_pngs(folder: Path, samples: Samples | PipelineSamples, seeds: Sequence[int]) -> None:
    """Write one PNG per image, named by its seed, in a folder per class; prompts to a table."""
    for index, (image, seed) in enumerate(zip(samples.pixels, seeds, strict=True)):
        place = folder if samples.labels is None else folder / str(samples.labels[index])
        place.mkdir(exist_ok=True)
        to_pil(image.transpose(1, 2, 0)).save(place / f"{seed:06d}.png", format="PNG")  # CHW -> HWC
    if samples.captions is not None:
        rows = zip(seeds, samples.captions, strict=True)
        lines = [json.dumps({"file_name": f"{seed:06d}.png", "text": text}) for seed, text in rows]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
