"""What the discriminator of a trained GAN says of images, drawn and real."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from generators.algorithm.contract import Undefined, build_algorithm
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.numerics import flushing_denormals
from generators.gan.adversarial import GAN
from generators.trained.films import Film, Numbers
from generators.trained.inspection import batches
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import Wanted
from generators.training.checkpoints import load_checkpoint
from generators.training.state import with_prefix

SHOWN = 12  # pictures of each kind


def load_discriminator(
    generator: LoadedGenerator, checkpoint_path: Path, *, sha256: str | None = None
) -> nn.Module:
    """Return the discriminator of a checkpoint, as its last step left it, for looking alone.

    Discriminators have no average: only what draws has one.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged or makes no sense.
        Undefined: if the algorithm is no GAN.
    """
    model = build_algorithm(
        generator.algorithm,
        generator.config,
        shape=generator.shape,
        conditions=generator.conditions,
        seed=0,
    )
    if not isinstance(model, GAN):
        raise Undefined(f"{generator.algorithm} has no discriminator of images")
    _, tensors = load_checkpoint(checkpoint_path, sha256=sha256)
    network = model.networks["discriminator"]
    network.load_state_dict(with_prefix(tensors, "network/discriminator/"))
    return network.to(generator.device).eval().requires_grad_(False)


@torch.inference_mode()
def logits(
    generator: LoadedGenerator, discriminator: nn.Module, pixels: np.ndarray, wanted: Wanted
) -> np.ndarray:
    """Return the discriminator's verdict on images, (N,) float64: the higher, the more real.

    Where it has batch normalisation, its running statistics stand for a batch's.

    Args:
        generator: of the discriminator.
        discriminator: as `load_discriminator` returns it.
        pixels: (N, C, H, W) uint8.
        wanted: labels or captions of the images, None where it is told nothing.

    Raises:
        ValueError: if images or labels do not fit the generator.
    """
    found = []
    with flushing_denormals():
        for images, rows in batches(generator, pixels, wanted):
            labels = labels_or_zeros(rows, len(images), images.device)
            found.append(discriminator(images, labels).double().cpu())
    return torch.cat(found).numpy()


def verdicts(
    drawn: np.ndarray,
    real: np.ndarray,
    of_drawn: np.ndarray,
    of_real: np.ndarray,
    *,
    first_seed: int = 0,
) -> Film:
    """Return drawn and real images by verdict, from the least to the most real, evenly spaced.

    The summary has the mean verdicts, and `share_that_passes`.

    Args:
        drawn: (N, C, H, W) uint8.
        real: (M, C, H, W) uint8.
        of_drawn: (N,) verdicts.
        of_real: (M,) verdicts.
        first_seed: of the first drawn image; the next has 1 more.
    """
    shown = min(SHOWN, len(drawn), len(real))
    rows: list[np.ndarray] = []
    cells: list[list[Numbers]] = []
    kinds = ((drawn, of_drawn, "seed", first_seed), (real, of_real, "image", 0))
    for pixels, values, name, first in kinds:
        places = np.linspace(0, len(values) - 1, shown).round().astype(int)
        chosen = np.argsort(values, kind="stable")[places]
        rows.append(pixels[chosen])
        cells.append([{"logit": float(values[i]), name: first + int(i)} for i in chosen])
    return Film(
        np.stack(rows),
        ["drawn", "real"],
        [{"place": place + 1} for place in range(shown)],
        cells,
        {
            "mean_drawn": float(of_drawn.mean()),
            "mean_real": float(of_real.mean()),
            "passes": share_that_passes(of_drawn, of_real),
            "drawn": len(drawn),
            "real": len(real),
        },
    )


def share_that_passes(of_drawn: np.ndarray, of_real: np.ndarray) -> float:
    """Return in how many pairs a drawn image passes for more real than a real one, 0..1.

    It is 1/2 where the discriminator cannot tell them apart: the Mann-Whitney statistic.

    Args:
        of_drawn: (N,) verdicts.
        of_real: (M,) verdicts.
    """
    wins, ties = of_drawn[:, None] > of_real, of_drawn[:, None] == of_real
    return float(wins.mean() + 0.5 * ties.mean())
