"""Noise schedules: how much of the image is left at each of T timesteps."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_BETA = 0.999  # keeps the cosine schedule's last steps invertible


@dataclass(frozen=True)
class Schedule:
    """A variance-preserving path: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon."""

    betas: Tensor  # (T,) float64
    alpha_bars: Tensor  # (T,) float64, falling

    def __len__(self) -> int:
        return len(self.betas)


def make_schedule(name: str, timesteps: int) -> Schedule:
    """Return the schedule called `cosine` or `linear`, with T timesteps."""
    betas = {"cosine": cosine_betas, "linear": linear_betas}[name](timesteps)
    return Schedule(betas, torch.cumprod(1 - betas, dim=0))


def linear_betas(timesteps: int) -> Tensor:
    """Return Ho et al.'s betas, (T,) float64, rescaled by 1000/T so that T only sets the grid.

    Ho et al., 2020, "Denoising diffusion probabilistic models", section 4; the rescaling is
    Nichol and Dhariwal's. Without it short schedules would end far from pure noise.
    """
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    return betas.clamp_max(LARGEST_BETA)


def cosine_betas(timesteps: int) -> Tensor:
    """Return the betas of the cosine schedule, (T,) float64.

    Nichol and Dhariwal, 2021, "Improved denoising diffusion probabilistic models", eq. 17.
    """
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
    return (1 - f[1:] / f[:-1]).clamp_max(LARGEST_BETA)
