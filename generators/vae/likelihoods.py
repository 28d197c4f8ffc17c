"""Likelihoods of images of 256 levels, and the bounds on them that VAEs have."""

import math

import torch
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-4  # (1/255)^2 is 6e-5 on the [-1, 1] scale: finer is below one grey level
HALF_LEVEL = 1 / 255  # half the distance of two levels on the [-1, 1] scale
ERROR_DECAY = 0.99  # of the running mean of errors, per batch


def log_discretised_gaussian(images: Tensor, means: Tensor, variance: Tensor | float) -> Tensor:
    """Return log P(image) in nats, (N,) float64, when each value is a Gaussian's, rounded.

    A level has the probability of the interval that rounds to it; the outermost intervals reach to
    infinity, so that the probabilities of the 256 levels sum to 1.

    Args:
        images: (N, C, H, W) in [-1, 1], of 256 levels.
        means: of the Gaussians, shaped as the images.
        variance: of the Gaussians, on the scale of the images.
    """
    x = (127.5 * (images.double() + 1)).round() / 127.5 - 1  # float32 is not quite at the levels
    sigma = torch.as_tensor(variance, dtype=torch.float64).sqrt()
    offset = (x - means.double()).abs()  # by symmetry; the upper tail is where precision is lost
    inner, outer = (HALF_LEVEL - offset) / sigma, (-HALF_LEVEL - offset) / sigma
    log_inner, log_outer = torch.special.log_ndtr(inner), torch.special.log_ndtr(outer)
    log_p = log_inner + torch.log(-torch.expm1(log_outer - log_inner))
    # at the ends of the range one side is open: below the mean there is all that rounds to -1
    below, above = x < HALF_LEVEL - 1, x > 1 - HALF_LEVEL
    signed = torch.where(below, 1.0, -1.0) * (x - means.double())
    tail = torch.special.log_ndtr((HALF_LEVEL + signed) / sigma)
    return torch.where(below | above, tail, log_p).flatten(1).sum(1)


def log_normal(z: Tensor, mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; mu, exp(log_variance)) in nats, (N,) float64; all arguments (N, D)."""
    z, mu, log_variance = z.double(), mu.double(), log_variance.double()
    squares = (z - mu).square() / log_variance.exp()
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(1)


def bits_per_value(log_p: Tensor, images: Tensor) -> Tensor:
    """Return -log2 of probabilities per pixel value; log_p: (N,) in nats."""
    return -log_p / (images[0].numel() * math.log(2))


class RunningError(nn.Module):
    """The mean squared error of recent batches, which is the likelihood's optimal variance.

    Rybkin et al., 2021, eq. 7. The mean is exponential, with the missing past divided out.
    """

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def update(self, error: Tensor) -> None:
        """Take a batch's mean squared error in, unless it is no number."""
        known, one = torch.isfinite(error), torch.ones_like(self.weight)
        for mean, value in ((self.total, error), (self.weight, one)):
            mean.copy_(torch.where(known, mean.lerp(value.float(), 1 - ERROR_DECAY), mean))

    def variance(self) -> Tensor:
        """Return the variance that fits the errors best, (); 1 before the first of them."""
        mean = self.total / self.weight.clamp_min(1e-12)
        return torch.where(self.weight > 0, mean, 1.0).clamp_min(SMALLEST_VARIANCE)
