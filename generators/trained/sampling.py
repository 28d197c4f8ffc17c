"""From a checkpoint to images: one seed per image, and what drawing them costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from generators.algorithm.contract import (
    Algorithm,
    OnStep,
    Shape,
    build_algorithm,
    count_parameters,
)
from generators.algorithm.noise import NoiseSource
from generators.algorithm.numerics import flushing_denormals, memory_format
from generators.algorithm.pixels import to_uint8
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError, SamplerConfig, TrainingConfig, parse
from generators.specs.registry import check_sampler, get_spec
from generators.trained.costs import (
    SamplingStats,
    counting_evaluations,
    latencies,
    peak_memory,
    reset_peak_memory,
)
from generators.trained.wanted import Wanted, apart, as_rows, one_of, stand_ins, unknown_count
from generators.training.checkpoints import CheckpointError, load_checkpoint
from generators.training.state import with_prefix

LARGEST_BATCH = 1024  # images at once on a GPU, where they fit
CPU_BATCH = 100


@dataclass(frozen=True)
class LoadedGenerator:
    """A trained generator, ready to draw from; its networks hold the averaged weights."""

    algorithm: str
    config: TrainingConfig
    conditions: Conditions
    classes: list[str]  # names of the classes, empty when unknown
    shape: Shape
    parameters: int
    images_seen: int
    device: torch.device
    model: Algorithm = field(repr=False)
    class_counts: tuple[int, ...] | None = None  # training images of each class; None = unknown

    @property
    def num_classes(self) -> int:
        """Return the number of classes; 0 where images are asked for by text, or by nothing."""
        return 0 if self.conditions.by_text else self.conditions.classes

    @property
    def averages(self) -> dict[str, nn.Module]:
        """Return every averaged network by name."""
        return self.model.networks


@dataclass(frozen=True)
class Samples:
    """Images, their labels, and what they cost."""

    pixels: np.ndarray  # (N, C, H, W) uint8
    labels: np.ndarray | None  # (N,) int64
    stats: SamplingStats
    captions: list[str] | None = None  # what each image was asked with
    stand_ins: int = 0  # images that show another caption, as theirs was none of the training's


class SamplingStopped(Exception):  # not an error
    """should_stop said so before all images were drawn."""


def load_generator(
    checkpoint_path: Path, *, device: str = "cpu", sha256: str | None = None
) -> LoadedGenerator:
    """Return the generator a checkpoint holds.

    Args:
        checkpoint_path: the checkpoint's folder.
        device: a torch device.
        sha256: of the manifest, as `SavedCheckpoint` has it; None trusts the manifest.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged or makes no sense.
    """
    manifest, tensors = load_checkpoint(checkpoint_path, sha256=sha256)
    try:
        model, config = _build(manifest)
        for name in (*model.sampling_networks, *model.other_networks):
            model.networks[name].load_state_dict(with_prefix(tensors, f"ema/{name}/"))
    except (ConfigError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint_path}: {error}") from error
    place = torch.device(device)
    model.networks = {
        name: _for_inference(model.networks[name], place)
        for name in (*model.sampling_networks, *model.other_networks)
    }
    return LoadedGenerator(
        algorithm=manifest["algorithm"],
        config=config,
        conditions=model.conditions,
        classes=_class_names(manifest),
        shape=model.shape,
        parameters=count_parameters(model),
        images_seen=manifest["images_seen"],
        device=place,
        model=model,
        class_counts=_class_counts(checkpoint_path, manifest),
    )


def _for_inference(network: nn.Module, device: torch.device) -> nn.Module:
    placed: nn.Module = network.to(device).to(memory_format=memory_format(device, [network]))
    return placed.eval().requires_grad_(False)


def _build(manifest: dict[str, Any]) -> tuple[Algorithm, TrainingConfig]:
    spec = get_spec(manifest["algorithm"])
    config = parse(spec.config, manifest["config"])
    channels, height, width = (int(number) for number in manifest["shape"])
    model = build_algorithm(
        spec.name,
        config,
        shape=(channels, height, width),
        conditions=Conditions.from_record(manifest),
        seed=0,
    )
    return model, config


def _class_names(manifest: dict[str, Any]) -> list[str]:
    names = manifest.get("classes")
    return [str(name) for name in names] if isinstance(names, list) else []


def _class_counts(path: Path, manifest: dict[str, Any]) -> tuple[int, ...] | None:
    """Return how many images of each class were trained on, None where the manifest is older."""
    counts = manifest.get("class_counts")
    if counts is None:
        return None
    is_list = isinstance(counts, list) and len(counts) == manifest["num_classes"]
    if not is_list or not all(type(count) is int and count >= 0 for count in counts):
        raise CheckpointError(f"{path}: 'class_counts' are no counts of its classes")
    return tuple(counts)


def draw(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    seeds: Sequence[int],
    labels: Wanted = None,
    captions: Sequence[str] | None = None,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_step: OnStep | None = None,
) -> Iterator[np.ndarray]:
    """Yield images batch by batch, (n, C, H, W) uint8.

    Image i depends on seed i and label or caption i alone. On one machine the batch size leaves it as it is,
    up to the rounding of the last grey level.

    Args:
        generator: what to draw from.
        sampler: one of its algorithm's samplers.
        seeds: one for each image.
        labels: (N,) whole numbers for a generator of classes, None for another.
        captions: N texts for a generator of captions, None for another. To one of whole captions,
            of which this is none, a `stand_ins` is told.
        batch_size: images per batch.
        on_batch: told the number of images drawn so far.
        should_stop: asked before each batch.
        on_step: told of each step of each batch's walk, where the sampler walks in steps.

    Raises:
        ConfigError: if the model cannot be sampled this way.
        ValueError: if labels or captions do not fit the generator; unknown words are named.
        SamplingStopped: if should_stop says so.
    """
    check_sampler(sampler, generator.config)
    asked = stand_ins(generator.conditions, one_of(labels, captions), seeds, generator.class_counts)
    wanted = as_rows(generator.conditions, asked, len(seeds))
    for start in range(0, len(seeds), batch_size):
        if should_stop is not None and should_stop():
            raise SamplingStopped(f"stopped after {start} of {len(seeds)} images")
        part = slice(start, start + batch_size)
        noise = NoiseSource(seeds[part], generator.device)
        rows = None if wanted is None else wanted[part].to(generator.device)
        yield draw_from(generator, sampler, noise, rows, on_step=on_step)
        if on_batch is not None:
            on_batch(min(start + batch_size, len(seeds)))


@torch.inference_mode()
def draw_from(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    noise: NoiseSource,
    labels: Tensor | None,
    *,
    on_step: OnStep | None = None,
) -> np.ndarray:
    """Return one image per stream of noise, (n, C, H, W) uint8; labels: (n, L) int64 rows, on the device.

    Raises:
        ConfigError: if the model cannot be sampled this way.
    """
    check_sampler(sampler, generator.config)
    with flushing_denormals():
        images = generator.model.sample(generator.averages, labels, noise, sampler, on_step)
    pixels: np.ndarray = to_uint8(images).cpu().numpy()
    return pixels


def draw_all(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    seeds: Sequence[int],
    labels: Wanted = None,
    captions: Sequence[str] | None = None,
    batch_size: int | None = None,
    on_batch: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Samples:
    """Return all images at once, with what they cost; arguments and errors as for `draw`.

    Without a batch size it is the largest that fits. A batch that is not counted comes first:
    a device's first one chooses kernels and allocates memory.
    """
    if not seeds:
        raise ValueError("expected at least one seed")
    wanted = one_of(labels, captions)
    if batch_size is None:
        batch_size = _fitting_batch_size(generator, sampler, seeds, wanted)
    reset_peak_memory(generator.device)
    with counting_evaluations(counted_networks(generator)) as evaluations:
        began = time.perf_counter()
        batches = list(
            draw(
                generator,
                sampler,
                seeds=seeds,
                labels=wanted,
                batch_size=batch_size,
                on_batch=on_batch,
                should_stop=should_stop,
            )
        )
        seconds = time.perf_counter() - began
    peak = peak_memory(generator.device)
    first = None if wanted is None else wanted[:1]
    alone = latencies(
        lambda seed: list(draw(generator, sampler, seeds=[seed], labels=first, batch_size=1))
    )
    stats = SamplingStats(
        nfe=round(evaluations.rows / len(seeds)),
        images_per_second=len(seeds) / seconds,
        latency_seconds=float(np.median(alone)),
        latency_p95_seconds=float(np.percentile(alone, 95)),
        batch_size=min(batch_size, len(seeds)),
        peak_memory_bytes=peak,
    )
    kept, asked = apart(wanted)
    unknown = unknown_count(generator.conditions, wanted)
    return Samples(np.concatenate(batches), kept, stats, asked, unknown)


def counted_networks(generator: LoadedGenerator) -> list[nn.Module]:
    """Return the networks whose evaluations count."""
    model = generator.model
    names = model.sampling_networks if model.counted_networks is None else model.counted_networks
    return [generator.averages[name] for name in names]


def _fitting_batch_size(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    seeds: Sequence[int],
    wanted: Wanted,
) -> int:
    """Return the largest batch that fits in the device's memory, after having drawn one."""
    on_gpu = generator.device.type == "cuda"
    size = min(LARGEST_BATCH if on_gpu else CPU_BATCH, len(seeds))
    while on_gpu:
        first = None if wanted is None else wanted[:size]
        try:
            list(draw(generator, sampler, seeds=seeds[:size], labels=first, batch_size=size))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if size == 1:
                raise
            size = max(1, size // 2)
        else:
            break
    return size
