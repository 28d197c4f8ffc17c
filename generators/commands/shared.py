"""What the commands have in common: checkpoints, machines, samplers, signals, bars and results."""

import argparse
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from evaluation.imagesets.in_memory import Images
from generators.commands.data import measured_data, notice
from generators.specs.options import ConfigError, SamplerConfig
from generators.specs.registry import parse_sampler
from generators.trained.sampling import LoadedGenerator, load_generator
from generators.trained.wanted import Wanted
from generators.training.checkpoints import (
    MANIFEST,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
)


def newest_checkpoint(path: Path) -> Path:
    """Return the path if it is a checkpoint's, or the newest good checkpoint in the folder.

    Raises:
        CheckpointError: if there is none.
    """
    if (path / MANIFEST).is_file():
        return path
    if not path.is_dir():
        found = "a file" if path.is_file() else "nothing there"
        raise CheckpointError(f"{path}: expected a folder with a checkpoint, found {found}")
    candidates = list_checkpoints(path)
    if not candidates:
        raise CheckpointError(f"{path}: holds no checkpoint")
    errors = []
    for candidate in candidates:
        try:
            load_checkpoint(candidate)
        except CheckpointError as error:
            errors.append(str(error))
        else:
            return candidate
    raise CheckpointError("; ".join(errors))


def open_generator(options: argparse.Namespace) -> LoadedGenerator:
    """Return the generator that the command line names, on the machine it names."""
    return load_generator(newest_checkpoint(options.checkpoint), device=machine(options))


def assignments(texts: list[str]) -> dict[str, str]:
    """Return what `--set NAME=VALUE` set, by name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set: expected NAME=VALUE, got {text!r}")
        if name.strip() in found:
            raise ValueError(f"--set: {name.strip()} is set twice")
        found[name.strip()] = value.strip()
    return found


def chosen_sampler(options: argparse.Namespace, generator: LoadedGenerator) -> SamplerConfig:
    """Return the sampler that the command line describes, checked against the model."""
    values = assignments(options.options)
    if options.steps is not None:
        if "steps" in values:
            raise ValueError("--steps: expected either --steps or --set steps=…, got both")
        values["steps"] = str(options.steps)
    named = {} if options.sampler is None else {"name": options.sampler}
    try:
        return parse_sampler(generator.algorithm, {**named, **values}, generator.config)
    except ConfigError as error:
        if "name" in error.errors:
            raise ValueError(f"--sampler: {error.errors['name']}") from error
        raise


def real_images(options: argparse.Namespace, generator: LoadedGenerator, *, most: int) -> Images:
    """Return images evenly spaced over the data, with labels or captions as the generator wants them.

    They are `--num`; where that is not given `most`, or as many as there are.

    Raises:
        ValueError: if there are fewer, or they have no labels or captions and the generator needs some.
    """
    data = measured_data(options)
    images, count = data.images, len(data.images.pixels)
    number = min(most, count) if options.num is None else options.num
    if count < number:
        raise ValueError(f"--num: expected at most the data's {count:,} images")
    if generator.num_classes and images.labels is None:
        raise ValueError(f"--data: {options.data} has no labels, and the generator needs them")
    if generator.conditions.by_text and images.captions is None:
        raise ValueError(f"--data: {options.data} has no captions, and the generator needs them")
    if data.part is None:
        notice(f"{data.name}: it has no parts, so images that were trained on may be among these")
    chosen = np.arange(number) * count // number
    wanted = images.labels[chosen] if generator.num_classes and images.labels is not None else None
    words = images.captions if generator.conditions.by_text else None
    captions = None if words is None else tuple(words[index] for index in chosen)
    return Images(images.pixels[chosen], wanted, images.classes, captions=captions)


def wanted_of(images: Images) -> Wanted:
    """Return what images are, as a generator is told it: labels, captions or nothing."""
    return images.labels if images.captions is None else images.captions


def machine(options: argparse.Namespace) -> str:
    """Set the number of threads, and return the device to use."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        return "cpu"
    if options.device.partition(":")[0] != "cuda" or not torch.cuda.is_available():
        raise ValueError(f"--device: {options.device!r} is not available here")
    return str(options.device)


def check_file(path: Path, option: str, *suffixes: str) -> None:
    """Refuse a file that cannot be written, before the work rather than after it."""
    if path.is_dir() or path.suffix.lower() not in suffixes:
        found = "a folder" if path.is_dir() else f"{path.name!r}"
        raise ValueError(
            f"{option}: expected the name of a {' or '.join(suffixes)} file, got {found}"
        )
    check_parent(path, option)


def check_parent(path: Path, option: str) -> None:
    """Refuse a path that lies in a file."""
    for parent in path.absolute().parents:
        if parent.exists():
            if not parent.is_dir():
                raise ValueError(f"{option}: {parent} is a file, expected a folder")
            return


def say(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    """Print a command's result, as JSON where that is asked for."""
    print(json.dumps(record, indent=1) if options.json else text)  # noqa: T201  # the result


@contextmanager
def progress_bar(label: str, *, shown: bool = True) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on a terminal's stderr, and yield what moves it: a fraction and some words."""
    console = Console(stderr=True)
    columns = TextColumn("{task.fields[label]}"), BarColumn(), TextColumn("{task.description}")
    off = not (shown and console.is_terminal)
    with Bar(*columns, TimeRemainingColumn(), console=console, disable=off) as bar:
        task = bar.add_task("", total=1.0, label=label)

        def show(fraction: float, words: str) -> None:
            bar.update(task, completed=fraction, description=words)

        yield show


class StopRequest:
    """Whether somebody has asked a command to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def made(self) -> bool:
        """Return whether it was made."""
        return self.signal is not None

    def exit_status(self) -> int:
        """Return 130 after Ctrl-C, 143 after SIGTERM, as shells have it."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C (or SIGTERM) into a polite request; a second one interrupts."""
    request = StopRequest()

    def ask(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        signal.signal(number, before[signal.Signals(number)])  # a second one gets through

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
