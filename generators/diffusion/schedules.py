"""Noise schedules: how much of the image is left at each of T timesteps."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_BETA = 0.999  # keeps the last steps invertible


@dataclass(frozen=True)
class Schedule:
    """A variance-preserving path: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon."""

    betas: Tensor  # (T,) float64
    alpha_bars: Tensor  # (T,) float64, falling

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def snr(self) -> Tensor:
        """Return the signal-to-noise ratio alpha_bar / (1 - alpha_bar), (T,) float64, falling."""
        return self.alpha_bars / (1 - self.alpha_bars)

    @property
    def lambdas(self) -> Tensor:
        """Return log(alpha / sigma), half of log SNR, (T,) float64; -inf where no signal is."""
        return 0.5 * self.snr.log()


def make_schedule(name: str, timesteps: int, *, zero_terminal_snr: bool = False) -> Schedule:
    """Return the schedule called `cosine`, `linear` or `sigmoid`, with T timesteps."""
    betas = {"cosine": cosine_betas, "linear": linear_betas, "sigmoid": sigmoid_betas}[name](
        timesteps
    )
    schedule = Schedule(betas, torch.cumprod(1 - betas, dim=0))
    return without_signal_at_the_end(schedule) if zero_terminal_snr else schedule


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
    return _betas_of(lambda t: torch.cos((t + 0.008) / 1.008 * math.pi / 2).square(), timesteps)


def sigmoid_betas(timesteps: int) -> Tensor:
    """Return the betas of the sigmoid schedule from -3 to 3 at temperature 1, (T,) float64.

    Jabri et al., 2023, "Scalable adaptive computation for iterative generation"; Chen, 2023, "On
    the importance of noise scheduling for diffusion models", algorithm 1.
    """

    def alpha_bar(t: Tensor) -> Tensor:
        begin, end = (torch.sigmoid(torch.tensor(x, dtype=t.dtype)) for x in (-3.0, 3.0))
        return (end - torch.sigmoid(6 * t - 3)) / (end - begin)

    return _betas_of(alpha_bar, timesteps)


def _betas_of(alpha_bar: Callable[[Tensor], Tensor], timesteps: int) -> Tensor:
    """Return the betas whose steps follow alpha_bar at t/T, capped where next to nothing is left."""
    f = alpha_bar(torch.arange(timesteps + 1, dtype=torch.float64) / timesteps)
    return (1 - f[1:] / f[:-1]).clamp_max(LARGEST_BETA)


def without_signal_at_the_end(schedule: Schedule) -> Schedule:
    """Return the schedule with its square roots of alpha_bar shifted and scaled to end at 0.

    Lin et al., 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1:
    the first alpha_bar stays as it is.
    """
    roots = schedule.alpha_bars.sqrt()
    roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    alpha_bars = roots.square()
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
    return Schedule(1 - alpha_bars / before, alpha_bars)
