"""Losses of a denoiser told apart by how noisy its images are."""

from torch import Tensor

QUARTERS = 4


def by_quarter(name: str, losses: Tensor, rank: Tensor) -> dict[str, Tensor]:
    """Return the mean loss in each quarter of the noise levels: `mse_q0` (least noisy) to `mse_q3`.

    Quarters of the levels that training draws, not of this batch's: each value is the batch's share
    divided by the quarter's chance, an estimate without bias that is finite for any batch, so that
    means over many batches are the quarters' means.

    Args:
        name: of the loss, such as `mse`.
        losses: (N,) one for each image.
        rank: (N,) in 0..1, the part of training's noise levels that are lower than the image's.
    """
    quarter = (rank * QUARTERS).long().clamp_max(QUARTERS - 1)
    shares = {f"{name}_q{i}": (losses.detach() * (quarter == i)).mean() for i in range(QUARTERS)}
    return {key: QUARTERS * share for key, share in shares.items()}
