"""Losses of a denoiser told apart by how noisy its images are."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

QUARTERS = 4
EVEN = (1 / QUARTERS,) * QUARTERS


def by_quarter(
    name: str, losses: Tensor, rank: Tensor, *, chances: Sequence[float] = EVEN
) -> dict[str, Tensor]:
    """Return the mean loss in each quarter of the noise levels: `mse_q0` (least noisy) to `mse_q3`.

    Quarters of the levels that training draws, not of this batch's: each value is the batch's share
    divided by the quarter's chance, an estimate without bias that is finite for any batch, so that
    means over many batches are the quarters' means.

    Args:
        name: of the loss, such as `mse`.
        losses: (N,) one for each image.
        rank: (N,) in 0..1, the part of training's noise levels that are lower than the image's.
        chances: of each quarter; timesteps may not be a multiple of four.
    """
    quarter = (rank * QUARTERS).long().clamp_max(QUARTERS - 1)
    losses = losses.detach()
    return {
        f"{name}_q{i}": losses.where(quarter == i, 0.0).mean() / chance
        for i, chance in enumerate(chances)
    }


def chances_of(timesteps: int) -> list[float]:
    """Return the part of the timesteps t with t / timesteps in each quarter; none is 0."""
    begins = [math.ceil(i * timesteps / QUARTERS) for i in range(QUARTERS + 1)]
    return [max(end - first, 1) / timesteps for first, end in pairwise(begins)]
