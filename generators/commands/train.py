"""`python -m generators train`: a training, from the newest checkpoint if there is one."""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from evaluation.imagesets.in_memory import Images
from generators.algorithm.contract import check_shape
from generators.commands.data import say_what_is_trained_on, training_data
from generators.commands.shared import (
    StopRequest,
    assignments,
    check_parent,
    machine,
    newest_checkpoint,
    progress_bar,
    say,
    stop_on_signal,
)
from generators.specs.algorithms import AlgorithmSpec
from generators.specs.options import ConfigError, TrainingConfig
from generators.specs.registry import get_spec, parse_config
from generators.training.checkpoints import list_checkpoints
from generators.training.loop import Budget, Diverged, TrainingResult, train as run_training
from generators.training.loss_log import LossLog
from generators.training.parallel import Team, joined
from generators.training.steps import TrainingProgress

EXIT_DIVERGED = 3
# a manifest's words, where a training would go on with others
OTHER_DATA = ("expected data_sha256 ", "expected conditions ")


def train(options: argparse.Namespace) -> int:
    """Train as the command line says, and print where the checkpoint is."""
    spec = get_spec(options.algorithm)
    config = parse_config(spec.name, assignments(options.options), preset=options.preset)
    budget = _budget(options, spec)
    _check_folder(options)
    _check_checkpoints(options.checkpoint_at, budget)
    device = machine(options)
    with joined() as place, stop_on_signal() as request:
        first = Team.current().rank == 0
        try:
            result = _run(options, config, budget, place or device, request)
        except Diverged as error:
            if first:
                sys.stderr.write(f"diverged: {error}{_last_good(options.out)}\n")
            return EXIT_DIVERGED
        except torch.OutOfMemoryError as error:
            raise ValueError("out of memory: --set microbatch=… takes less of it") from error
        except ValueError as error:
            if not any(words in str(error) for words in OTHER_DATA):
                raise
            raise ValueError(
                f"{error}; --data holds other images, labels or captions than this training began with"
            ) from error
    if first:
        say(options, _record(result), _words(result))
    return request.exit_status() if result.stopped else 0


def _run(
    options: argparse.Namespace,
    config: TrainingConfig,
    budget: Budget,
    device: str,
    request: StopRequest,
) -> TrainingResult:
    first = Team.current().rank == 0
    data = training_data(options)
    if first:
        say_what_is_trained_on(data, config)
    images = data.images
    _check_size(images, config)
    captions = None if images.classes else images.captions
    log = LossLog(options.out) if first else None
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar(options.algorithm, shown=first))
        return run_training(
            options.algorithm,
            config,
            images.pixels,
            images.labels,
            num_classes=len(images.classes),
            captions=captions,
            seed=options.seed,
            budget=budget,
            device=device,
            directory=options.out,
            classes=list(images.classes),
            checkpoint_every_seconds=options.checkpoint_seconds,
            checkpoints_at=options.checkpoint_at,
            initial=None if options.initial is None else newest_checkpoint(options.initial),
            compiled=options.compile,
            memory_checked=True,
            on_progress=_report(log, show),
            on_checkpoint=(lambda _: None) if log is None else log.cut,
            should_stop=request.made,
        )


def _report(
    log: LossLog | None, show: Callable[[float, str], None]
) -> Callable[[TrainingProgress], None]:
    def report(progress: TrainingProgress) -> None:
        if log is not None:
            log.add(progress)
        losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        rate = f"{progress.images_per_second:,.0f}/s"
        show(progress.budget_fraction, f"{progress.images_seen:,} images, {rate}, {losses}")

    return report


def _budget(options: argparse.Namespace, spec: AlgorithmSpec) -> Budget:
    """Return the budget that is given, or the preset's."""
    images, seconds = options.budget_images, options.budget_seconds
    if images is None and seconds is None:
        if options.preset is None:
            raise ValueError(
                "expected --budget-images, --budget-seconds or --preset (for its budget)"
            )
        images = spec.presets[options.preset].images
    return Budget(images=images, device_seconds=seconds)


def _check_folder(options: argparse.Namespace) -> None:
    out: Path = options.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: {out} is a file, expected a folder")
    check_parent(out, "--out")
    if options.resume and not list_checkpoints(out):
        raise ValueError(f"--resume: {out} holds no checkpoint to go on from")


def _check_size(images: Images, config: TrainingConfig) -> None:
    _, planes, height, width = images.pixels.shape
    try:
        check_shape((planes, height, width))
    except ValueError as error:
        raise ValueError(f"--data: {error}; --resolution fits images to a size") from error
    if problems := config.shape_problems((planes, height, width)):
        raise ConfigError(problems)


def _check_checkpoints(at: list[int], budget: Budget) -> None:
    beyond = [number for number in at if number > (budget.images or number)]
    if beyond:
        raise ValueError(
            f"--checkpoint-at: expected at most the budget's {budget.images} images, got {beyond[0]}"
        )


def _record(result: TrainingResult) -> dict[str, Any]:
    saved = result.checkpoint
    return {**asdict(result), "checkpoint": {**asdict(saved), "path": str(saved.path)}}


def _words(result: TrainingResult) -> str:
    state = "stopped, the same command goes on" if result.stopped else "done"
    skipped = f", {result.skipped} steps skipped" if result.skipped else ""
    return (
        f"{result.checkpoint.path}: {state}; {result.images_seen:,} images seen, "
        f"{result.device_seconds:.1f} device seconds, {result.parameters:,} parameters{skipped}"
    )


def _last_good(out: Path) -> str:
    saved = list_checkpoints(out)
    return f"; {saved[0]} is from before" if saved else ""
