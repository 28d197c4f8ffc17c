"""What `python -m generators train` and `sample` do, once torch is loaded."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from generators.checkpoints import CheckpointError, list_checkpoints, load_checkpoint
from generators.configs import parse
from generators.files import replacing
from generators.images import grid_png, read_images, to_pil, write_npz
from generators.registry import get_spec, parse_sampler, sampler_to_dict
from generators.sampling import Stopped, balanced_labels, draw_all, load_generator
from generators.training import Budget, Diverged, Progress, train as run_training

EXIT_INTERRUPTED = 130
GRID_IMAGES = 100


def train(options: argparse.Namespace) -> int:
    """Train as the command line says, and print where the checkpoint is."""
    spec = get_spec(options.algorithm)
    config = parse(spec.config, _assignments(options.options))
    budget = Budget(images=options.images, device_seconds=options.seconds)
    device = _machine(options)
    data = read_images(options.data)
    with _stop_on_signal() as should_stop, _bar(spec.label) as show:
        try:
            result = run_training(
                spec.name,
                config,
                data.pixels,
                data.labels,
                num_classes=len(data.classes),
                seed=options.seed,
                budget=budget,
                device=device,
                directory=options.out,
                classes=data.classes,
                checkpoint_every_seconds=options.checkpoint_seconds,
                on_progress=lambda progress: show(progress.budget_fraction, _words(progress)),
                should_stop=should_stop,
            )
        except Diverged as error:
            raise ValueError(f"{spec.name} diverged: {error}") from error
    saved = result.checkpoint
    record = {
        **asdict(result),
        "checkpoint": {**asdict(saved), "path": str(saved.path)},
    }
    state = "stopped, the same command goes on" if result.stopped else "done"
    text = f"{saved.path}: {state}; {result.images_seen:,} images seen, "
    text += f"{result.device_seconds:.1f} device seconds, {result.parameters:,} parameters"
    _print(options, record, text)
    return EXIT_INTERRUPTED if result.stopped else 0


def sample(options: argparse.Namespace) -> int:
    """Draw images as the command line says, and print where they are."""
    if options.count < 1 or options.batch_size < 1:
        raise ValueError("expected --count and --batch-size of at least 1")
    path = newest_checkpoint(options.checkpoint)
    generator = load_generator(path, device=_machine(options))
    chosen = {"name": options.sampler} if options.sampler else {}
    sampler = parse_sampler(
        generator.algorithm, {**chosen, **_assignments(options.options)}, generator.config
    )
    labels = _labels(options, generator.num_classes)
    with _stop_on_signal() as should_stop, _bar(generator.algorithm) as show:
        try:
            samples = draw_all(
                generator,
                sampler,
                seeds=range(options.seed, options.seed + options.count),
                labels=labels,
                batch_size=options.batch_size,
                on_batch=lambda drawn: show(drawn / options.count, f"{drawn:,} images"),
                should_stop=should_stop,
            )
        except Stopped as error:
            sys.stderr.write(f"{error}, nothing was written\n")
            return EXIT_INTERRUPTED
    record = {
        "checkpoint": str(path),
        "sampler": sampler_to_dict(sampler),
        "out": str(options.out),
        "count": options.count,
        **asdict(samples.stats),
        **_write(options, samples.pixels, samples.labels),
    }
    text = f"{options.out}: {options.count:,} images, NFE {samples.stats.nfe}, "
    _print(options, record, text + f"{samples.stats.images_per_second:.1f} images/second")
    return 0


def newest_checkpoint(path: Path) -> Path:
    """Return the path if it is a checkpoint's, or the newest good checkpoint in the folder.

    Raises:
        CheckpointError: if there is none.
    """
    candidates = list_checkpoints(path)
    if not candidates:
        return path
    errors = []
    for candidate in candidates:
        try:
            load_checkpoint(candidate)
        except CheckpointError as error:
            errors.append(str(error))
        else:
            return candidate
    raise CheckpointError("; ".join(errors))


def _assignments(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set: expected NAME=VALUE, got {text!r}")
        found[name.strip()] = value.strip()
    return found


def _machine(options: argparse.Namespace) -> str:
    """Set the number of threads, and return the device to use."""
    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads: expected at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        return "cpu"
    if options.device.partition(":")[0] != "cuda" or not torch.cuda.is_available():
        raise ValueError(f"--device: {options.device!r} is not available here")
    return str(options.device)


def _labels(options: argparse.Namespace, num_classes: int) -> np.ndarray | None:
    if not num_classes:
        if options.label is not None:
            raise ValueError("--label: the generator is unconditional")
        return None
    if options.label is None:
        return balanced_labels(options.count, num_classes)
    return np.full(options.count, options.label, dtype=np.int64)


def _write(
    options: argparse.Namespace, pixels: np.ndarray, labels: np.ndarray | None
) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if options.format == "npz":
        written["sha256"] = write_npz(options.out, pixels, labels)
    else:
        _write_folder(options.out, pixels, labels, first_seed=options.seed)
    if options.grid is not None:
        grid_png(pixels[:GRID_IMAGES], 10, options.grid)
        written["grid"] = str(options.grid)
    return written


def _write_folder(
    folder: Path, pixels: np.ndarray, labels: np.ndarray | None, *, first_seed: int
) -> None:
    """Write one PNG per image, named by its seed, in a folder per class."""
    for index, image in enumerate(pixels):
        place = folder if labels is None else folder / str(labels[index])
        with replacing(place / f"{first_seed + index:06d}.png") as file:
            to_pil(image.transpose(1, 2, 0)).save(file, format="PNG")  # CHW -> HWC


def _print(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record, indent=1) if options.json else text)  # noqa: T201  # the result


def _words(progress: Progress) -> str:
    losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    return f"{progress.images_seen:,} images, {progress.images_per_second:,.0f}/s, {losses}"


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on a terminal's stderr, and yield what moves it: a fraction and some words."""
    console = Console(stderr=True)
    columns = TextColumn("{task.fields[label]}"), BarColumn(), TextColumn("{task.description}")
    with Bar(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0, label=label)

        def show(fraction: float, words: str) -> None:
            bar.update(task, completed=fraction, description=words)

        yield show


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a polite request; a second one interrupts."""
    asked = False

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[signal.Signals(number)])  # a second one gets through

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
