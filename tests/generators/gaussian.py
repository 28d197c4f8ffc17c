"""A Gaussian to walk to in closed form, and ideal networks of the diffusion models for it."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from generators.diffusion import edm, flow

MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.09, 0.04], [0.04, 0.05]], dtype=torch.float64)
IDENTITY = torch.eye(2, dtype=torch.float64)


def power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    raised: Tensor = vectors @ torch.diag(values**exponent) @ vectors.T
    return raised


def expected_x_0(x: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return E[x_0 | x = alpha x_0 + sigma epsilon], (N, 2) as x."""
    gain = alpha * COVARIANCE @ power(alpha**2 * COVARIANCE + sigma**2 * IDENTITY, -1)
    return MEAN + (x - alpha * MEAN) @ gain.T


def ends_of(walk: Callable[[Tensor], Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the ends of an affine walk that begins at N(0, scale^2)."""
    begins = torch.cat([torch.zeros(1, 2, dtype=torch.float64), IDENTITY])
    ends = walk(begins)
    gain = (ends[1:] - ends[0]).T
    return ends[0], scale**2 * gain @ gain.T


def orders(
    walk: Callable[..., Tensor], *, scale: float, exact: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Return at which orders mean and covariance converge from 128 to 256 steps.

    A walk takes x, (N, 2), and `steps`.
    """
    errors = []
    for steps in (128, 256):
        found = ends_of(partial(walk, steps=steps), scale)
        errors.append([float((a - b).norm()) for a, b in zip(found, exact, strict=True)])
    mean, covariance = (math.log2(a / b) for a, b in zip(*errors, strict=True))
    return mean, covariance


class IdealEDM(nn.Module):
    """EDM's network F for which D(x; sigma) is a function given in closed form."""

    def __init__(self, denoise: Callable[[Tensor, Tensor], Tensor], sigma_data: float) -> None:
        super().__init__()
        self.denoise, self.data = denoise, sigma_data

    def forward(self, x: Tensor, t: Tensor, _labels: Tensor) -> Tensor:
        sigma = torch.exp(4 * t.double() / edm.TIME_SCALE).view(-1, 1, 1, 1)
        size = (sigma**2 + self.data**2).sqrt()
        noisy = x.double() * size
        skipped = noisy * (self.data / size) ** 2
        f = (self.denoise(noisy, sigma) - skipped) * size / (sigma * self.data)
        return f.float()


class IdealFlow(nn.Module):
    """Flow's network v for which the expected x_0 is a function given in closed form."""

    def __init__(self, predict_x_0: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.predict_x_0 = predict_x_0

    def forward(self, x: Tensor, t: Tensor, _labels: Tensor) -> Tensor:
        time = (t.double() / flow.TIME_SCALE).view(-1, 1, 1, 1)
        return ((x - self.predict_x_0(x.double(), time)) / time).float()
