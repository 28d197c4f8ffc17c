"""Numbers about a trained generator that need its networks: likelihood, reconstruction, codes.

Each is measured where the algorithm defines it; elsewhere there is the reason of its absence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from generators.algorithm.contract import Undefined
from generators.algorithm.noise import generator_for
from generators.algorithm.numerics import flushing_denormals
from generators.algorithm.pixels import to_float
from generators.trained.inspection import BATCH, batches, reconstruct
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import Wanted

DIAGNOSED = 1000  # images whose codes are looked at together, at most

Pixels = np.ndarray
Labels = Wanted


@dataclass(frozen=True)
class Measurement:
    """A number, or the reason why there is none."""

    name: str
    value: float | None
    standard_error: float | None  # of a mean over images; None for other numbers
    images: int  # looked at
    reason: str = ""  # why there is no value


def measure(
    generator: LoadedGenerator,
    pixels: Pixels,
    labels: Labels,
    *,
    seed: int = 0,
    samples: int = 1,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[Measurement]:
    """Return every number in a fixed order: bits per dimension, PSNR, SSIM, facts about codes.

    Args:
        generator: what to measure.
        pixels: (N, C, H, W) uint8.
        labels: (N,) whole numbers for a generator of classes, N captions for one that obeys words,
            None for another.
        seed: all randomness follows from it.
        samples: draws for each image of a bound on the likelihood.
        on_batch: told how many images a bound was computed of.

    Raises:
        ValueError: if images or labels do not fit the generator, or there are no samples.
    """
    if samples < 1:
        raise ValueError(f"expected at least 1 sample, got {samples}")
    return [
        *likelihoods(generator, pixels, labels, seed=seed, samples=samples, on_batch=on_batch),
        *reconstruction_errors(generator, pixels, labels),
        *code_facts(generator, pixels, labels),
    ]


@torch.inference_mode()
def likelihoods(
    generator: LoadedGenerator,
    pixels: Pixels,
    labels: Labels,
    *,
    seed: int,
    samples: int,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[Measurement]:
    """Return the means of the upper bounds on -log2 p per pixel value; arguments as `measure`."""
    name = "bits_per_dimension"
    bounds: dict[str, list[Tensor]] = {}
    done = 0
    try:
        with flushing_denormals():
            for images, wanted in batches(generator, pixels, labels):
                found = generator.model.bits_per_dimension(
                    generator.averages,
                    images,
                    wanted,
                    generator_for(generator.device, seed, "likelihood", done),
                    samples=samples,
                )
                for bound, values in found.items():
                    bounds.setdefault(bound, []).append(values.double().cpu())
                done += len(images)
                on_batch(done)
    except Undefined as error:
        return [Measurement(name, None, None, 0, str(error))]
    return [_mean(f"{name}/{bound}", torch.cat(parts)) for bound, parts in bounds.items()]


def reconstruction_errors(
    generator: LoadedGenerator, pixels: Pixels, labels: Labels
) -> list[Measurement]:
    """Return the means over images of PSNR (dB) and SSIM between images and reconstructions."""
    try:
        found = torch.from_numpy(reconstruct(generator, pixels, labels)).clamp(-1, 1)
    except Undefined as error:
        return [Measurement(name, None, None, 0, str(error)) for name in ("psnr", "ssim")]
    images = to_float(torch.from_numpy(pixels))
    pairs = list(zip(found.split(BATCH), images.split(BATCH), strict=True))
    psnr = torch.cat([_psnr(a, b) for a, b in pairs])
    ssim = torch.cat([_ssim(a, b) for a, b in pairs])
    return [_mean("psnr", psnr), _mean("ssim", ssim)]


@torch.inference_mode()
def code_facts(generator: LoadedGenerator, pixels: Pixels, labels: Labels) -> list[Measurement]:
    """Return what the algorithm knows of its codes: active units, codebook usage."""
    first = slice(DIAGNOSED)
    given = None if labels is None else labels[first]
    ((images, wanted),) = batches(generator, pixels[first], given, size=DIAGNOSED)
    facts = generator.model.diagnose(generator.averages, images, wanted)
    return [
        Measurement(name, None, None, 0, fact)
        if isinstance(fact, str)
        else Measurement(name, float(fact), None, len(images))
        for name, fact in facts.items()
    ]


def _mean(name: str, values: Tensor) -> Measurement:
    """Return the mean of one value per image, with its standard error."""
    values = values.double()
    if not values.isfinite().all():
        return Measurement(name, None, None, len(values), "not finite for some of the images")
    error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None
    return Measurement(name, float(values.mean()), error, len(values))


def _psnr(found: Tensor, images: Tensor) -> Tensor:
    psnr: Tensor = peak_signal_noise_ratio(
        found, images, data_range=2.0, dim=(1, 2, 3), reduction="none"
    )
    return psnr


def _ssim(found: Tensor, images: Tensor) -> Tensor:
    """Return SSIM of each pair, (N,): Wang et al., 2004, with their Gaussian window of 11 pixels."""
    ssim = structural_similarity_index_measure(found, images, data_range=2.0, reduction="none")
    assert isinstance(ssim, Tensor), "asked for neither contrast nor the full image"
    return ssim.reshape(-1)
