"""How a trained model makes images, as films: pictures in rows over frames, with their numbers.

Every film is deterministic: the same generator, seeds and images give the same pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from generators.algorithm.contract import OnStep, Undefined
from generators.specs.options import ConfigError, SamplerConfig
from generators.specs.registry import get_spec, parse_sampler
from generators.trained import inspection
from generators.trained.costs import counting_evaluations
from generators.trained.levels import NoiseLevel, level_of_step, noise_levels, time_unit
from generators.trained.sampling import LoadedGenerator, counted_networks, draw
from generators.trained.wanted import Wanted

NOISING_FRAMES = 21  # times from 0 to 1
MOMENTS = 24  # of a walk from noise to image, at most
BETWEEN = 13  # images from one seed to another
STEP_COUNTS = (1, 2, 4, 8, 16, 32, 64)
GREY = 128  # where a sampler cannot draw

Numbers = dict[str, float | str | None]


@dataclass(frozen=True)
class Film:
    """Pictures in rows ("tracks") over frames."""

    pixels: np.ndarray  # (tracks, frames, C, H, W) uint8
    tracks: list[str]  # what each row shows
    frames: list[Numbers]  # what is known of each frame
    cells: list[list[Numbers]] = field(default_factory=list)  # of each picture, where they differ
    summary: Numbers = field(default_factory=dict)  # of the whole

    def as_record(self) -> dict[str, Any]:
        """Return all but the pictures, as JSON can hold it."""
        return {
            "tracks": self.tracks,
            "frames": self.frames,
            "cells": self.cells,
            "summary": self.summary,
        }


def noising(
    generator: LoadedGenerator,
    pixels: np.ndarray,
    *,
    seeds: Sequence[int],
    frames: int = NOISING_FRAMES,
) -> Film:
    """Return real images as the forward process takes them to noise; the first frame is clean.

    Args:
        generator: of an algorithm with a forward process.
        pixels: (N, C, H, W) uint8, a row for each.
        seeds: one for each image; the noise is the same at every time.
        frames: times, evenly from 0 to 1.

    Raises:
        Undefined: if the algorithm has no forward process.
        ValueError: if the images do not fit the generator.
    """
    times = np.linspace(0, 1, frames).tolist()
    noisy = inspection.add_noise(generator, pixels, times=times, seeds=seeds)
    levels: Sequence[NoiseLevel | None]
    try:
        levels = noise_levels(generator, times)
    except Undefined:  # of a plugin that has a forward process, but no name for its parts
        levels = [None] * frames
    shown = [_shown(generator, x, level) for x, level in zip(noisy, levels, strict=True)]
    numbers = [
        {"time": time, **_own_time(generator, level), **_level(level)}
        for time, level in zip(times, levels, strict=True)
    ]
    return Film(
        np.stack(shown, axis=1), [f"image {i}" for i in range(len(pixels))], numbers
    )  # (N, frames, C, H, W)


def reverse(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    seeds: Sequence[int],
    wanted: Wanted,
    moments: int = MOMENTS,
    on_step: OnStep | None = None,
) -> Film:
    """Return walks from noise to images: of each seed x_t, and the clean image expected of it.

    The last frame is where the walk ends, in both rows.

    Args:
        generator: what to draw from.
        sampler: one of its algorithm's samplers that walk in steps.
        seeds: one for each image.
        wanted: labels or captions, as `inspection.trace` takes them.
        moments: how many steps to keep at most.
        on_step: told of each step.

    Raises:
        Undefined: if the sampler does not walk in steps.
        ConfigError: if the model cannot be sampled this way.
        ValueError: if what is wanted does not fit the generator.
    """
    path = inspection.trace(
        generator, sampler, seeds=seeds, labels=wanted, moments=moments, on_step=on_step
    )
    levels = [_level_of_step(generator, time) for time in path.times]
    x = [_shown(generator, each, level) for each, level in zip(path.x, levels, strict=True)]
    rows = np.stack([np.stack(x), inspection.as_pixels(path.x_0)])  # (2, M, N, C, H, W)
    end = np.broadcast_to(path.pixels, (2, 1, *path.pixels.shape))
    rows = np.concatenate([rows, end], axis=1).transpose(2, 0, 1, 3, 4, 5)
    numbers: list[Numbers] = [
        {"step": int(step), time_unit(generator.config) or "time": float(time), **_level(level)}
        for step, time, level in zip(path.steps, path.times, levels, strict=True)
    ]
    return Film(
        rows.reshape(-1, *rows.shape[2:]),  # (2 N, M + 1, C, H, W)
        [f"seed {seed}, {what}" for seed in seeds for what in ("xₜ", "x̂₀")],
        [*numbers, {"end": "the image"}],
    )


def between(
    generator: LoadedGenerator,
    sampler: SamplerConfig,
    *,
    pairs: Sequence[tuple[int, int]],
    labels: Sequence[int | str | None] | None = None,
    frames: int = BETWEEN,
    on_step: OnStep | None = None,
) -> Film:
    """Return the images on the great circle between the noise of two seeds, a row for each pair.

    `labels` has a class or a caption for each pair, None of a generator that is told nothing. All
    else, and the errors, are those of `inspection.interpolate`.
    """
    wanted = [None] * len(pairs) if labels is None else labels
    rows = [
        inspection.interpolate(
            generator,
            sampler,
            first=first,
            second=second,
            count=frames,
            label=label,
            on_step=on_step,
        )
        for (first, second), label in zip(pairs, wanted, strict=True)
    ]
    numbers: list[Numbers] = [{"weight": float(w)} for w in np.linspace(0, 1, frames)]
    return Film(np.stack(rows), [f"seed {a} to seed {b}" for a, b in pairs], numbers)


def side_by_side(
    generator: LoadedGenerator,
    *,
    seed: int,
    wanted: Wanted,
    counts: Sequence[int] = STEP_COUNTS,
    on_step: OnStep | None = None,
) -> Film:
    """Return one seed's image by each of the algorithm's samplers, over numbers of steps.

    A cell has the network evaluations, counted; or why the sampler cannot draw so, and is grey.

    Args:
        generator: what to draw from.
        seed: of all images.
        wanted: one label or caption, as `sampling.draw` takes it.
        counts: of steps, a frame for each; those that no sampler can do are left out.
        on_step: told of each step of each walk.

    Raises:
        Undefined: if no sampler of the algorithm has steps, or none can do any of these.
        ValueError: if what is wanted does not fit the generator.
    """
    samplers = get_spec(generator.algorithm).samplers
    names = [name for name, kind in samplers.items() if "steps" in {f.name for f in fields(kind)}]
    if not names:
        raise Undefined(f"no sampler of {generator.algorithm} has steps")
    rows: list[list[np.ndarray]] = []
    cells: list[list[Numbers]] = []
    for name in names:
        drawn = [
            _drawn(generator, {"name": name, "steps": count}, seed, wanted, on_step)
            for count in counts
        ]
        rows.append([pixels for pixels, _ in drawn])
        cells.append([numbers for _, numbers in drawn])
    kept = [i for i in range(len(counts)) if any("nfe" in row[i] for row in cells)]
    if not kept:
        raise Undefined(f"no sampler of {generator.algorithm} can do {counts} steps")
    return Film(
        np.stack([np.stack([row[i] for i in kept]) for row in rows]),
        [getattr(samplers[name], "title", name.capitalize()) for name in names],
        [{"steps": counts[i]} for i in kept],
        [[row[i] for i in kept] for row in cells],
    )


def _drawn(
    generator: LoadedGenerator,
    options: dict[str, Any],
    seed: int,
    wanted: Wanted,
    on_step: OnStep | None,
) -> tuple[np.ndarray, Numbers]:
    """Return an image (C, H, W) uint8 and what it cost; grey and the reason where there is none."""
    try:
        sampler = parse_sampler(generator.algorithm, options)
        with counting_evaluations(counted_networks(generator)) as evaluations:
            (pixels,) = draw(
                generator, sampler, seeds=[seed], labels=wanted, batch_size=1, on_step=on_step
            )
    except ConfigError as error:
        return np.full(generator.shape, GREY, np.uint8), {
            "reason": "; ".join(error.errors.values())
        }
    return pixels[0], {"nfe": evaluations.rows}


def reconstructions(
    generator: LoadedGenerator, pixels: np.ndarray, wanted: Wanted, *, first: int = 0
) -> Film:
    """Return images, what encoding and decoding leaves of them, and what it takes away.

    Args:
        generator: of an algorithm with an encoder.
        pixels: (N, C, H, W) uint8, a frame for each.
        wanted: labels or captions, as `inspection.reconstruct` takes them.
        first: place of the first image in its set, for the numbers.

    Raises:
        Undefined: if the algorithm has no encoder.
        ValueError: if images or labels do not fit the generator.
    """
    left = inspection.as_pixels(inspection.reconstruct(generator, pixels, wanted))
    lost = np.abs(pixels.astype(np.int16) - left).astype(np.uint8)
    numbers: list[Numbers] = [
        {"image": first + i, "psnr_db": psnr_db(*pair)}
        for i, pair in enumerate(zip(pixels, left, strict=True))
    ]
    rows = np.stack([pixels, left, lost])
    return Film(rows, ["image", "encoded and decoded", "difference"], numbers)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the peak signal-to-noise ratio of two uint8 images in decibels, None if they are equal."""
    mse = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * math.log10(255**2 / mse) if mse else None


# --- noise as pictures and numbers --------------------------------------------------------------


def _shown(generator: LoadedGenerator, x: np.ndarray, level: NoiseLevel | None) -> np.ndarray:
    """Return noisy images as uint8, those of paths that let the variance grow scaled back to 1.

    What a latent model is told of is decoded: that is an image already.
    """
    size = 1.0
    if level is not None and not generator.config.has_autoencoder:
        size = max(1.0, math.hypot(level.signal, level.noise))
    return inspection.as_pixels(x / np.float32(size))


def _level_of_step(generator: LoadedGenerator, time: float) -> NoiseLevel | None:
    try:
        return level_of_step(generator, time)
    except Undefined:
        return None


def _level(level: NoiseLevel | None) -> Numbers:
    if level is None:
        return {}
    decibels = level.snr_db if math.isfinite(level.snr_db) else None
    return {"alpha_bar": level.alpha_bar, "snr_db": decibels}


def _own_time(generator: LoadedGenerator, level: NoiseLevel | None) -> Numbers:
    """Return the time as the algorithm's paper has it, where it is not t itself."""
    unit = time_unit(generator.config)
    if level is None or unit in ("", "t"):
        return {}
    if unit == "sigma":
        return {"sigma": level.noise / level.signal}
    steps = round(level.time * getattr(generator.config, "timesteps", 0))
    return {"timestep": steps - 1 if steps else None}  # no timestep is clean
