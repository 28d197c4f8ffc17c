"""Walks from noise to image: ancestral (DDPM), DDIM and DPM-Solver++.

Each walk is a pure function of a schedule and of `predict_x_0(x, t)`, the clipped expectation of
the clean image; noise is predicted back from it, so that clipping stays consistent.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from generators.base import Shape
from generators.diffusion.configs import (
    DDIMSampler,
    DDPMSampler,
    DiffusionSampler,
    DPMSolverSampler,
)
from generators.diffusion.schedules import Schedule
from generators.noise import NoiseSource

PredictX0 = Callable[[Tensor, int], Tensor]

# log(alpha / sigma), half of log(SNR). diffusers pull request 3314, by the solver's author: the
# cosine schedule's last noise levels are so high that steps among them are wasted.
LOWEST_LAMBDA = -5.1


def sample_path(
    schedule: Schedule,
    predict_x_0: PredictX0,
    noise: NoiseSource,
    shape: Shape,
    sampler: DiffusionSampler,
) -> Tensor:
    """Return images, (N, C, H, W), one for each stream of noise."""
    x = noise.normal(*shape)
    if isinstance(sampler, DPMSolverSampler):
        return walk_dpmsolver(schedule, predict_x_0, x, sampler)
    if isinstance(sampler, DDIMSampler):
        return walk_ddim(schedule, predict_x_0, x, noise, steps=sampler.steps, eta=sampler.eta)
    if isinstance(sampler, DDPMSampler):
        return walk_ancestral(schedule, predict_x_0, x, noise, sampler)
    raise TypeError(f"unknown sampler {type(sampler).__name__}")


def timestep_grid(timesteps: int, steps: int) -> list[int]:
    """Return `steps` timesteps, falling from T-1, evenly spaced ("trailing").

    Lin et al., 2024, "Common diffusion noise schedules and sample steps are flawed", section 3.3:
    the walk must begin at T-1, where the noise it begins with belongs.
    """
    if steps > timesteps:
        raise ValueError(f"expected at most {timesteps} steps, got {steps}")
    return [round(timesteps * (steps - i) / steps) - 1 for i in range(steps)]


def log_snr_grid(schedule: Schedule, steps: int) -> list[int]:
    """Return `steps` timesteps, falling to 0, about evenly spaced in the log signal-to-noise ratio.

    Lu et al., 2022, "DPM-Solver", section 6: the best spacing for small images.
    """
    if steps > len(schedule):
        raise ValueError(f"expected at most {len(schedule)} steps, got {steps}")
    lambdas = 0.5 * torch.log(schedule.alpha_bars / (1 - schedule.alpha_bars))
    highest, lowest = float(lambdas[0]), max(float(lambdas[-1]), LOWEST_LAMBDA)
    wanted = torch.linspace(highest, lowest, steps, dtype=torch.float64)
    nearest = (lambdas[:, None] - wanted).abs().argmin(dim=0).tolist()
    grid: list[int] = []
    for index, t in enumerate(nearest):  # no timestep twice, and room for those still to come
        after_last = max(t, grid[-1] + 1) if grid else t
        grid.append(min(after_last, len(schedule) - (steps - index)))
    return grid[::-1]


def walk_ddim(
    schedule: Schedule,
    predict_x_0: PredictX0,
    x: Tensor,
    noise: NoiseSource,
    *,
    steps: int,
    eta: float,
) -> Tensor:
    """Return the images at the end of a DDIM walk from x.

    Song et al., 2021, "Denoising diffusion implicit models", eq. 12 and 16.
    """
    for t, alpha_bar, alpha_bar_next in _stations(schedule, steps):
        x_0 = predict_x_0(x, t)
        if alpha_bar_next == 1.0:
            return x_0
        epsilon = (x - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
        sigma = eta * math.sqrt(_posterior_variance(alpha_bar, alpha_bar_next))
        direction = math.sqrt(max(1 - alpha_bar_next - sigma**2, 0.0))
        x = math.sqrt(alpha_bar_next) * x_0 + direction * epsilon
        if sigma > 0:
            x = x + sigma * noise.normal(*x.shape[1:])
    return x


def walk_ancestral(
    schedule: Schedule,
    predict_x_0: PredictX0,
    x: Tensor,
    noise: NoiseSource,
    sampler: DDPMSampler,
) -> Tensor:
    """Return the images at the end of an ancestral walk from x.

    Ho et al., 2020, eq. 6 and 7, on a grid of timesteps that may skip some (Nichol and Dhariwal,
    2021, section 4): beta is then 1 - alpha_bar_t / alpha_bar_next.
    """
    for t, alpha_bar, alpha_bar_next in _stations(schedule, sampler.steps or len(schedule)):
        x_0 = predict_x_0(x, t)
        if alpha_bar_next == 1.0:
            return x_0
        beta = 1 - alpha_bar / alpha_bar_next
        weight_x_0 = math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar)
        weight_x = math.sqrt(1 - beta) * (1 - alpha_bar_next) / (1 - alpha_bar)
        small = _posterior_variance(alpha_bar, alpha_bar_next)
        variance = small if sampler.variance == "small" else beta
        x = weight_x_0 * x_0 + weight_x * x + math.sqrt(variance) * noise.normal(*x.shape[1:])
    return x


def walk_dpmsolver(
    schedule: Schedule, predict_x_0: PredictX0, x: Tensor, sampler: DPMSolverSampler
) -> Tensor:
    """Return the images at the end of a DPM-Solver++ walk from x.

    Lu et al., 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", in diffusers' implementation. It keeps its state in the scheduler: a new one per walk.
    """
    scheduler: Any = DPMSolverMultistepScheduler(
        num_train_timesteps=len(schedule),
        trained_betas=schedule.betas.numpy(),
        prediction_type="sample",  # predict_x_0 has done the conversion and the clipping
        algorithm_type="dpmsolver++",
        solver_order=sampler.order,
        final_sigmas_type="zero",
    )
    with warnings.catch_warnings():
        # diffusers 0.42 hands torch tensors to numpy.array in the way numpy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        scheduler.set_timesteps(timesteps=log_snr_grid(schedule, sampler.steps), device=x.device)
    for t in scheduler.timesteps:
        x = scheduler.step(predict_x_0(x, int(t)), t, x, return_dict=False)[0]
    return x


def _stations(schedule: Schedule, steps: int) -> list[tuple[int, float, float]]:
    """Return (t, alpha_bar at t, alpha_bar at the next timestep) along the walk; the last is 1."""
    grid = timestep_grid(len(schedule), steps)
    alpha_bars = [float(schedule.alpha_bars[t]) for t in grid]
    return list(zip(grid, alpha_bars, [*alpha_bars[1:], 1.0], strict=True))


def _posterior_variance(alpha_bar: float, alpha_bar_next: float) -> float:
    beta = 1 - alpha_bar / alpha_bar_next
    return beta * (1 - alpha_bar_next) / (1 - alpha_bar)
