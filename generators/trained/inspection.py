"""What a trained generator shows besides its images: reconstructions, walks, paths between seeds.

Every function is deterministic: the same generator, seeds and images give the same arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generators.algorithm.contract import OnStep, Step, Undefined, reported
from generators.algorithm.noise import InterpolatedNoise, NoiseSource
from generators.algorithm.numerics import flushing_denormals
from generators.algorithm.pixels import to_float, to_uint8
from generators.specs.options import SamplerConfig
from generators.trained.sampling import LoadedGenerator, SamplingStopped, draw, draw_from
from generators.trained.wanted import Wanted, as_rows

BATCH = 100  # images at once


@dataclass(frozen=True)
class Trajectory:
    """Moments of a walk from noise to images."""

    steps: np.ndarray  # (M,) int64, from 0
    times: np.ndarray  # (M,) float64, as the model's paper has them; of x
    x: np.ndarray  # (M, N, C, H, W) float32, before each step
    x_0: np.ndarray  # (M, N, C, H, W) float32, the clean images expected of x
    pixels: np.ndarray  # (N, C, H, W) uint8, where the walk ends


def reconstruct(generator: LoadedGenerator, pixels: np.ndarray, labels: Wanted) -> np.ndarray:
    """Return what is left of images after encoding and decoding, (N, C, H, W) float32.

    Args:
        generator: of an algorithm with an encoder.
        pixels: (N, C, H, W) uint8.
        labels: (N,) whole numbers for a generator of classes, N captions for one that obeys words,
            None for another.

    Raises:
        Undefined: if the algorithm has no encoder.
        ValueError: if images or labels do not fit the generator.
    """
    return _mapped(generator, generator.model.reconstruct, pixels, labels)


@torch.inference_mode()
def through_autoencoder(
    generator: LoadedGenerator,
    pixels: np.ndarray,
    *,
    on_batch: Callable[[int], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Return images after encoding and decoding, (N, C, H, W) uint8: as good as samples can get.

    Args:
        generator: of an algorithm that trains an autoencoder first; none is told of labels or words.
        pixels: (N, C, H, W) uint8.
        on_batch: told how many are done.
        should_stop: asked before each batch.

    Raises:
        SamplingStopped: if `should_stop()` turned true.
        Undefined: if the algorithm has no encoder.
        ValueError: if the images do not fit the generator.
    """
    check_images(generator, pixels)
    found = []
    with flushing_denormals():
        for part in _parts(len(pixels)):
            if should_stop():
                raise SamplingStopped
            images = to_float(torch.from_numpy(pixels[part]).to(generator.device))
            made = generator.model.reconstruct(generator.averages, images, None)
            found.append(to_uint8(made).cpu())
            on_batch(min(part.stop, len(pixels)))
    return torch.cat(found).numpy()


def encode(generator: LoadedGenerator, pixels: np.ndarray, labels: Wanted) -> np.ndarray:
    """Return a code of each image, (N, D) float32 or (N, tokens) int64.

    Arguments and errors are those of `reconstruct`.
    """
    return _mapped(generator, generator.model.encode, pixels, labels)


def trace(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    seeds: Sequence[int],
    labels: Wanted,
    moments: int,
    on_step: OnStep | None = None,
) -> Trajectory:
    """Return how images come out of noise: the first step, the last, and some evenly between.

    Args:
        generator: what to draw from.
        sampler: one of its algorithm's samplers that walk in steps.
        seeds: one for each image.
        labels: (N,) whole numbers for a generator of classes, N captions for one that obeys words,
            None for another.
        moments: how many steps to keep at most.
        on_step: told of each step, kept or not.

    Raises:
        Undefined: if the sampler does not walk in steps.
        ConfigError: if the model cannot be sampled this way.
        ValueError: if the labels do not fit the generator, or `moments` is below 1.
    """
    if moments < 1:
        raise ValueError(f"expected at least one moment, got {moments}")
    kept: list[Step] = []

    def keep(step: Step) -> None:
        reported(on_step, step)
        if step.index in chosen_steps(step.count, moments):
            x, x_0 = (tensor.detach().float().cpu().clone() for tensor in (step.x, step.x_0))
            kept.append(Step(step.index, step.count, float(step.time), x, x_0))

    (pixels,) = draw(
        generator, sampler, seeds=seeds, labels=labels, batch_size=len(seeds), on_step=keep
    )
    if not kept:
        raise Undefined(f"{generator.algorithm} walks in no steps with the sampler {sampler.name}")
    return Trajectory(
        steps=np.array([step.index for step in kept]),
        times=np.array([step.time for step in kept]),
        x=np.stack([step.x.numpy() for step in kept]),
        x_0=np.stack([step.x_0.numpy() for step in kept]),
        pixels=pixels,
    )


def chosen_steps(count: int, moments: int) -> list[int]:
    """Return at most `moments` of `count` steps, evenly spaced, the first and the last included."""
    if moments == 1:
        return [0]
    return sorted({round(i * (count - 1) / (moments - 1)) for i in range(moments)})


def interpolate(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    first: int,
    second: int,
    count: int,
    label: int | str | None = None,
    on_step: OnStep | None = None,
) -> np.ndarray:
    """Return images on the great circle from one seed's noise to another's, (count, C, H, W) uint8.

    Args:
        generator: what to draw from.
        sampler: one of its algorithm's samplers.
        first: seed of the first image.
        second: seed of the last image.
        count: images, at least 2.
        label: class of all images for a generator of classes, a caption for one that obeys words,
            None for another.
        on_step: told of each step of each batch's walk, where the sampler walks in steps.

    Raises:
        ConfigError: if the model cannot be sampled this way.
        ValueError: if the label does not fit the generator, or there are fewer than 2 images.
    """
    if count < 2:
        raise ValueError(f"expected at least 2 images, got {count}")
    weights = np.linspace(0, 1, count).tolist()
    wanted = _rows(generator, repeated(label, count), count)
    batches = []
    for part in _parts(count):
        noise = InterpolatedNoise(first, second, weights[part], generator.device)
        rows = None if wanted is None else wanted[part]
        batches.append(draw_from(generator, sampler, noise, rows, on_step=on_step))
    return np.concatenate(batches)


def repeated(label: int | str | None, count: int) -> Wanted:
    """Return what is wanted of all images as `draw` takes it: a label or a caption for each."""
    if label is None or isinstance(label, int):
        return None if label is None else np.full(count, label, dtype=np.int64)
    return [label] * count


@torch.inference_mode()
def add_noise(
    generator: LoadedGenerator, pixels: np.ndarray, *, times: Sequence[float], seeds: Sequence[int]
) -> np.ndarray:
    """Return images with the forward process's noise at each time, (times, N, C, H, W) float32.

    Args:
        generator: of an algorithm with a forward process.
        pixels: (N, C, H, W) uint8.
        times: 0 (clean) to 1 (the noise that sampling begins with).
        seeds: one for each image; the noise is the same at every time.

    Raises:
        Undefined: if the algorithm has no forward process.
        ValueError: if the images do not fit the generator, or a time is not in 0..1.
    """
    check_images(generator, pixels)
    if not times or not all(0 <= time <= 1 for time in times):
        raise ValueError(f"expected times in 0..1, got {', '.join(f'{t:g}' for t in times)}")
    images = to_float(torch.from_numpy(pixels).to(generator.device))
    noisy = [
        generator.model.add_noise(images, time, NoiseSource(seeds, generator.device)).float().cpu()
        for time in times
    ]
    return torch.stack(noisy).numpy()


def check_images(generator: LoadedGenerator, pixels: np.ndarray) -> None:
    """Check that images are of the size the generator was trained on.

    Raises:
        ValueError: if they are not, or there is none.
    """
    if not len(pixels):
        raise ValueError("expected at least one image")
    if pixels.shape[1:] != generator.shape:
        expected, found = ("x".join(map(str, s)) for s in (generator.shape, pixels.shape[1:]))
        raise ValueError(f"expected images of {expected} (channels, height, width), got {found}")


def batches(
    generator: LoadedGenerator, pixels: np.ndarray, labels: Wanted, *, size: int = BATCH
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield images (n, C, H, W) float32 in [-1, 1] and rows (n, L) int64, on the device.

    Raises:
        ValueError: if images or labels do not fit the generator.
    """
    check_images(generator, pixels)
    wanted = _rows(generator, labels, len(pixels))
    for part in _parts(len(pixels), size):
        images = to_float(torch.from_numpy(pixels[part]).to(generator.device))
        yield images, None if wanted is None else wanted[part]


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Return float images about [-1, 1], of any shape, as uint8 by the one rounding rule."""
    pixels: np.ndarray = to_uint8(torch.from_numpy(images)).numpy()
    return pixels


@torch.inference_mode()
def _mapped(
    generator: LoadedGenerator,
    function: Callable[..., Tensor],
    pixels: np.ndarray,
    labels: Wanted,
) -> np.ndarray:
    found = []
    with flushing_denormals():
        for images, wanted in batches(generator, pixels, labels):
            found.append(function(generator.averages, images, wanted).cpu())
    return torch.cat(found).numpy()


def _rows(generator: LoadedGenerator, wanted: Wanted, count: int) -> Tensor | None:
    rows = as_rows(generator.conditions, wanted, count)
    return None if rows is None else rows.to(generator.device)


def _parts(count: int, size: int = BATCH) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
