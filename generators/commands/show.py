"""`python -m generators reconstruct|trajectory|interpolate|noise`: pictures of how a model works."""

import argparse
import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.imagesets.writing import channels_last, grid_png, write_arrays, write_npz
from generators.algorithm.contract import Undefined
from generators.commands.arguments import MOST_NOISED, MOST_RECONSTRUCTED
from generators.commands.labels import one_label
from generators.commands.shared import (
    check_file,
    chosen_sampler,
    open_generator,
    real_images,
    say,
    wanted_of,
)
from generators.specs.registry import sampler_to_dict
from generators.trained import inspection as hooks
from generators.trained.levels import NoiseLevel, noise_levels
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import apart

GRID_PAIRS = 50
PAIRS_IN_A_ROW = 5


def reconstruct(options: argparse.Namespace) -> int:
    """Encode and decode images, and write what is left of them."""
    check_file(options.out, "--out", ".npz")
    if options.grid is not None:
        check_file(options.grid, "--grid", ".png")
    generator = open_generator(options)
    data = real_images(options, generator, most=MOST_RECONSTRUCTED)
    found = hooks.as_pixels(hooks.reconstruct(generator, data.pixels, wanted_of(data)))
    arrays = {"arr_0": channels_last(found), "originals": channels_last(data.pixels)}
    if data.labels is not None:
        arrays["labels"] = data.labels
    if data.captions is not None:
        arrays["captions"] = np.array(data.captions)
    digest = write_arrays(options.out, arrays)
    if options.grid is not None:
        pairs = np.stack([data.pixels, found], axis=1)[:GRID_PAIRS]  # (N, 2, C, H, W)
        grid_png(pairs.reshape(-1, *generator.shape), 2 * PAIRS_IN_A_ROW, options.grid)
    record = {"out": str(options.out), "num": len(found), "sha256": digest}
    say(options, record, f"{options.out}: {len(found):,} reconstructions")
    return 0


def trajectory(options: argparse.Namespace) -> int:
    """Draw one image, and write moments of its way out of noise."""
    check_file(options.out, "--out", ".npz", ".png")
    generator = open_generator(options)
    sampler = chosen_sampler(options, generator)
    label = one_label(options, generator)
    wanted = hooks.repeated(label, 1)
    path = hooks.trace(
        generator, sampler, seeds=[options.seed], labels=wanted, moments=options.moments
    )
    arrays = {
        "arr_0": channels_last(path.pixels),
        "x": channels_last(path.x[:, 0]),
        "x_0": channels_last(path.x_0[:, 0]),
        "times": path.times,
        "steps": path.steps,
    }
    rows = hooks.as_pixels(np.concatenate([path.x[:, 0], path.x_0[:, 0]]))
    _write(options, arrays, rows, columns=len(path.steps))
    record = {
        "out": str(options.out),
        "sampler": sampler_to_dict(sampler),
        "steps": path.steps.tolist(),
        "times": path.times.tolist(),
    }
    say(options, record, f"{options.out}: {len(path.steps)} moments of {sampler.label()}")
    return 0


def interpolate(options: argparse.Namespace) -> int:
    """Draw and write the images between two seeds."""
    check_file(options.out, "--out", ".npz", ".png")
    generator = open_generator(options)
    sampler = chosen_sampler(options, generator)
    first, second = options.seeds
    label = one_label(options, generator)
    pixels = hooks.interpolate(
        generator, sampler, first=first, second=second, count=options.num, label=label
    )
    if options.out.suffix.lower() == ".png":
        grid_png(pixels, len(pixels), options.out)
    else:
        wanted = hooks.repeated(label, len(pixels))
        labels, captions = apart(wanted)
        write_npz(options.out, pixels, labels, captions=captions)
    record = {"out": str(options.out), "num": options.num, "seeds": options.seeds}
    say(options, record, f"{options.out}: {options.num:,} images between {first} and {second}")
    return 0


def noise(options: argparse.Namespace) -> int:
    """Add noise to images, and write them at each time."""
    check_file(options.out, "--out", ".npz", ".png")
    generator = open_generator(options)
    data = real_images(options, generator, most=MOST_NOISED)
    count = len(data.pixels)
    seeds = range(options.seed, options.seed + count)
    noisy = hooks.add_noise(generator, data.pixels, times=options.times, seeds=seeds)
    arrays = {
        "arr_0": channels_last(data.pixels),
        "noisy": channels_last(noisy),
        "times": np.array(options.times),
        "seeds": np.array(seeds),
    }
    rows = hooks.as_pixels(noisy.swapaxes(0, 1).reshape(-1, *generator.shape))
    _write(options, arrays, rows, columns=len(options.times))
    levels = _levels(generator, options.times)
    decibels = [level.snr_db if math.isfinite(level.snr_db) else None for level in levels]
    record = {
        "out": str(options.out),
        "num": count,
        "times": options.times,
        "alpha_bar": [level.alpha_bar for level in levels],
        "snr_db": decibels,
    }
    lines = [
        f"t {level.time:g}: alpha_bar {level.alpha_bar:.4g}, SNR {level.snr_db:.1f} dB"
        for level in levels
    ]
    text = f"{options.out}: {count:,} images at {len(options.times)} times"
    say(options, record, "\n".join([text, *lines]))
    return 0


def _levels(generator: LoadedGenerator, times: Sequence[float]) -> list[NoiseLevel]:
    """Return how much of an image is left at each time; nothing where the algorithm does not say."""
    try:
        return noise_levels(generator, times)
    except Undefined:  # of a plugin that has a forward process, but no name for its parts
        return []


def _write(
    options: argparse.Namespace,
    arrays: Mapping[str, np.ndarray],
    pixels: np.ndarray,
    *,
    columns: int,
) -> None:
    """Write arrays to an .npz file, or images in rows to a .png file, as the name ends."""
    if options.out.suffix.lower() == ".png":
        grid_png(pixels, columns, options.out)
    else:
        write_arrays(options.out, arrays)
