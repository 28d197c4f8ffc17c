"""Losses of a denoiser told apart by how noisy its images are."""

from torch import Tensor


def by_noise(losses: Tensor, rank: Tensor) -> dict[str, Tensor]:
    """Return the mean losses of the least, the middle and the most noisy third, as scalars.

    Thirds of the noise levels that training draws, not of this batch: each value is an unbiased
    estimate whose mean over batches is the third's mean loss, and is finite for any batch.

    Args:
        losses: (N,) one for each image.
        rank: (N,) in 0..1, the part of training's noise levels that are lower than the image's.
    """
    thirds = {"low_noise": rank < 1 / 3, "high_noise": rank >= 2 / 3}
    thirds["middle_noise"] = ~(thirds["low_noise"] | thirds["high_noise"])
    return {name: 3 * (losses.detach() * within).mean() for name, within in thirds.items()}
