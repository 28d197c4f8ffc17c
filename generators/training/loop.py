"""The one training loop: every algorithm, budgets in images or device seconds, exact resume.

Nothing random is kept between steps: the order of images is a function of (seed, epoch), and the
noise of a step one of (seed, step, phase). A checkpoint therefore holds tensors and three numbers,
and a run that was interrupted ends with the same bits as one that was not (same machine, same
number of threads, budget in images). A budget in device seconds makes the learning rate a function
of a clock, and its resume approximate.

Karras et al., 2024 (EDM2) reseed every iteration in the same way.
"""

import math
import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from generators.algorithm.contract import Algorithm, build_algorithm, count_parameters
from generators.algorithm.noise import derive_seed
from generators.algorithm.numerics import flushing_denormals
from generators.specs.conditions import Conditions
from generators.specs.options import TrainingConfig, to_record
from generators.training import saving
from generators.training.batches import BatchStream, check_data, class_counts, digest, told
from generators.training.budgets import Budget
from generators.training.checkpoints import SavedCheckpoint, describe_checkpoint, load_checkpoint
from generators.training.clock import Timer
from generators.training.memory import check_memory
from generators.training.parallel import Team
from generators.training.saving import CheckpointSaver
from generators.training.state import with_prefix
from generators.training.steps import Diverged, Training, TrainingProgress

__all__ = ["Budget", "Diverged", "SavedCheckpoint", "TrainingProgress", "TrainingResult", "train"]

REPORT_SECONDS = 1.0  # between two calls of on_progress
POLL_SECONDS = 0.25  # between two calls of should_stop


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended."""

    images_seen: int
    device_seconds: float
    parameters: int  # of everything that sampling needs
    checkpoint: SavedCheckpoint
    stopped: bool  # should_stop said so before the budget was spent
    skipped: int  # steps, for gradients that were not finite
    resume: str  # "none", "exact" (same bits as without the interruption) or "approximate"


@dataclass(frozen=True)
class _Calls:
    """Whom the loop tells, and whom it asks."""

    on_progress: Callable[[TrainingProgress], None]
    on_checkpoint: Callable[[SavedCheckpoint], None]
    should_stop: Callable[[], bool]


def train(
    algorithm: str,
    config: TrainingConfig,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    num_classes: int,
    captions: Sequence[str] | None = None,
    seed: int,
    budget: Budget,
    device: str,
    directory: Path,
    classes: list[str] | None = None,
    checkpoint_every_seconds: float | None = 60,
    checkpoint_every_images: int | None = None,
    checkpoints_at: Collection[int] = (),
    initial: Path | None = None,
    borrowed_from: Path = Path(),
    compiled: bool = False,
    memory_checked: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda _: None,
    on_checkpoint: Callable[[SavedCheckpoint], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train until the budget is spent, from the newest good checkpoint in the directory if any.

    Args:
        algorithm: a name from the registry.
        config: its configuration.
        images: (N, C, H, W) uint8.
        labels: (N,) whole numbers in 0..num_classes - 1, or None.
        num_classes: 0 trains without labels, as does `config.conditional = False`.
        captions: a text for each image, of which the model learns what `config.captions_as` says;
            None = without.
        seed: all randomness follows from it.
        budget: when to end; the learning rate's schedule is a function of the part spent.
        device: a torch device, `cpu` or `cuda`.
        directory: where checkpoints go, as `ckpt-<images seen>`; the newest two are kept.
        classes: names of the classes, for the manifest.
        checkpoint_every_seconds: on the wall's clock; None = off.
        checkpoint_every_images: after the step that reaches each multiple; None = off.
        checkpoints_at: after the step that reaches each of these; they are kept.
        initial: a checkpoint whose averaged weights the networks begin with.
        borrowed_from: where relative paths of checkpoints in the configuration begin.
        compiled: compile the networks that no double backward goes through; faster on GPUs.
        memory_checked: refuse what cannot fit, before anything is begun.
        on_progress: called about once a second, and at the end.
        on_checkpoint: called after each checkpoint, the last included, and for the one a resumed
            training begins from: whoever was killed between saving and being told hears of it.
        should_stop: asked between steps, at most four times a second. A stopped training saves a
            checkpoint and returns with `stopped` set.

    Raises:
        TooLittleMemory: if it cannot fit.
        Diverged: if a loss or a weight stops being finite; a checkpoint never holds such weights.
        ValueError: if images, labels, num_classes and captions do not fit together, the directory's
            checkpoints belong to another training, the initial weights do not fit, or several
            processes have a budget in seconds or cannot share batches evenly.
    """
    if not config.conditional:
        captions, num_classes = None, 0
    if not num_classes:
        labels = None
    check_data(images, labels, num_classes)
    conditions, rows = told(len(images), labels, captions, num_classes, config)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    if memory_checked:
        check_memory(algorithm, config, shape=shape, conditions=conditions, device=device)
    identity = {
        "algorithm": algorithm,
        "config": to_record(config),
        "seed": seed,
        "shape": list(shape),
        **conditions.as_record(),
        "budget": {"images": budget.images, "device_seconds": budget.device_seconds},
        "data_sha256": digest(images, labels, captions),
        "initial": None if initial is None else describe_checkpoint(initial).sha256,
    }
    _check_team(config, budget)
    place = torch.device(device)
    with _numerics(place):
        model = build_algorithm(
            algorithm,
            config,
            shape=shape,
            conditions=conditions,
            seed=derive_seed(seed, "weights"),
        )
        if initial is not None:
            load_initial(model, initial)
        identity |= {
            name: _borrow(model, name, path, identity, begin=borrowed_from)
            for name, path in model.borrowed().items()
        }
        stream = BatchStream(
            images, rows, seed=seed, device=place, horizontal_flip=config.horizontal_flip
        )
        training = Training(
            model, config, stream, seed=seed, budget=budget, device=place, compiled=compiled
        )
        saver = CheckpointSaver(
            directory,
            identity,
            remarks={"classes": classes, "class_counts": class_counts(conditions, rows)},
            numerics={**_numbers(place), "compiled": compiled},
            every_seconds=checkpoint_every_seconds or math.inf,
            every_images=checkpoint_every_images or math.inf,
            at=checkpoints_at,
        )
        saver.resume(training)
        return _run(training, saver, _Calls(on_progress, on_checkpoint, should_stop))


def _run(training: Training, saver: CheckpointSaver, calls: _Calls) -> TrainingResult:
    if saver.newest is not None:
        with training.clock.paused():
            calls.on_checkpoint(saver.newest)
    finished = training.fraction() >= 1
    stopped = _advance(training, saver, calls)
    if not finished and not stopped:
        training.finish()
    with training.clock.paused():
        progress = training.progress()
        calls.on_progress(progress)
        checkpoint = saver.newest
        if checkpoint is None or checkpoint.images_seen != training.images_seen:
            checkpoint = saver.save(training)
            calls.on_checkpoint(checkpoint)
    return TrainingResult(
        images_seen=training.images_seen,
        device_seconds=checkpoint.device_seconds,
        parameters=count_parameters(training.model),
        checkpoint=checkpoint,
        stopped=stopped,
        skipped=progress.skipped,
        resume=saver.resumed,
    )


def _advance(training: Training, saver: CheckpointSaver, calls: _Calls) -> bool:
    """Train until the budget is spent or should_stop says so, and return whether it did."""
    poll, report = Timer(POLL_SECONDS, due_now=True), Timer(REPORT_SECONDS)
    while training.fraction() < 1:
        if training.team.size > 1 and training.steps % saving.TEAM_STEPS == 0:
            if training.team.any(calls.should_stop(), training.device):
                return True
        elif training.team.size == 1 and poll.due() and calls.should_stop():
            return True
        training.step()
        if report.due():
            with training.clock.paused():
                calls.on_progress(training.progress())
        if training.fraction() < 1 and saver.due(training):
            with training.clock.paused():
                calls.on_checkpoint(saver.save(training))
    return False


@contextmanager
def _numerics(device: torch.device) -> Iterator[None]:
    """Compute reproducibly, and leave the global random state as it was."""
    with (
        flushing_denormals(),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


def _numbers(device: torch.device) -> dict[str, Any]:
    """Return what the last bits of a result depend on besides its configuration."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": Team.current().size,
        **{name: version(name) for name in ("torch", "diffusers", "safetensors")},
    }


def _check_team(config: TrainingConfig, budget: Budget) -> None:
    size = Team.current().size
    if size > 1 and budget.images is None:
        raise ValueError("expected a budget in images: several processes have several clocks")
    if (budget.images or 0) % size or config.batch_size % size:
        raise ValueError(f"expected a batch size and a budget that {size} processes can share")


def _borrow(
    model: Algorithm, option: str, path: Path, identity: dict[str, Any], *, begin: Path
) -> dict[str, Any]:
    """Take another training's networks, and return what a manifest has to know of it.

    Raises:
        ValueError: if the checkpoint is damaged, does not fit, or is of other images.
    """
    saved = describe_checkpoint(begin / path)
    manifest, tensors = load_checkpoint(begin / path, sha256=saved.sha256)
    try:
        if manifest.get("data_sha256") != identity["data_sha256"]:
            raise ValueError("expected one of these images and labels, it is of others")
        model.borrow(option, manifest, tensors)
    except ValueError as error:
        raise ValueError(f"{option}: {path}: {error}") from error
    return {"sha256": saved.sha256, "device_seconds": saved.device_seconds}


def load_initial(model: Algorithm, path: Path) -> None:
    """Put a checkpoint's averaged weights into the networks of the same name.

    Raises:
        CheckpointError: if the checkpoint is damaged.
        ValueError: if it has no network that the model has, or one of another shape, or knows other
            words.
    """
    manifest, tensors = load_checkpoint(path)
    found = Conditions.from_record(manifest)
    if found.frozen != model.conditions.frozen:
        raise ValueError(f"{path}: expected the same text encoder, it has {found.frozen or 'none'}")
    for name in ("words", "captions"):
        theirs, ours = getattr(found, name), getattr(model.conditions, name)
        if theirs != ours:
            other = ", ".join(sorted(set(theirs) ^ set(ours)))
            raise ValueError(f"{path}: expected the same {name}, of which differ {other}"[:300])
    averaged = {name: with_prefix(tensors, f"ema/{name}/") for name in model.networks}
    if not any(averaged.values()):
        raise ValueError(f"{path}: expected averaged weights of {', '.join(model.networks)}")
    for name, weights in averaged.items():
        try:
            if weights:
                model.networks[name].load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{path}: does not fit the network {name}: {error}") from error
