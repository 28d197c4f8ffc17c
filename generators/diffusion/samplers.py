"""Walks from noise to image: ancestral (DDPM), DDIM and DPM-Solver++.

Each walk is a pure function of a schedule and of `predict_x_0(x, t)`, the expectation of the clean
image, clipped where its values have a range; noise is predicted back from it, so that clipping
stays consistent.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from generators.algorithm.contract import OnStep, Shape, Step, reported
from generators.algorithm.noise import NoiseSource
from generators.diffusion.schedules import Schedule
from generators.specs.diffusion_samplers import (
    DDIMSampler,
    DDPMSampler,
    DiffusionSampler,
    DPMSolverSampler,
)

PredictX0 = Callable[[Tensor, int], Tensor]

# log(alpha / sigma), half of log(SNR). diffusers pull request 3314, by the solver's author: the
# cosine schedule's last noise levels are so high that steps among them are wasted.
LOWEST_LAMBDA = -5.1
FEW_STEPS = 15  # fewer than this end with steps of lower order


def sample_path(
    schedule: Schedule,
    predict_x_0: PredictX0,
    noise: NoiseSource,
    shape: Shape,
    sampler: DiffusionSampler,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return images, (N, C, H, W), one for each stream of noise."""
    x = noise.normal(*shape)
    if isinstance(sampler, DPMSolverSampler):
        return walk_dpmsolver(schedule, predict_x_0, x, sampler, on_step)
    if isinstance(sampler, DDIMSampler):
        return walk_ddim(schedule, predict_x_0, x, noise, sampler, on_step)
    if isinstance(sampler, DDPMSampler):
        return walk_ancestral(schedule, predict_x_0, x, noise, sampler, on_step)
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

    Lu et al., 2022, "DPM-Solver", section 6: the best spacing for small images. Where the last
    timestep has no signal at all, the walk begins there.
    """
    if steps > len(schedule):
        raise ValueError(f"expected at most {len(schedule)} steps, got {steps}")
    if schedule.alpha_bars[-1] == 0:
        return [len(schedule) - 1, *_log_snr_grid(schedule.lambdas[:-1], steps - 1)]
    return _log_snr_grid(schedule.lambdas, steps)


def _log_snr_grid(lambdas: Tensor, steps: int) -> list[int]:
    highest, lowest = float(lambdas[0]), max(float(lambdas[-1]), LOWEST_LAMBDA)
    wanted = torch.linspace(highest, lowest, steps, dtype=torch.float64)
    nearest = (lambdas[:, None] - wanted).abs().argmin(dim=0).tolist()
    grid: list[int] = []
    for index, t in enumerate(nearest):  # no timestep twice, and room for those still to come
        after_last = max(t, grid[-1] + 1) if grid else t
        grid.append(min(after_last, len(lambdas) - (steps - index)))
    return grid[::-1]


def walk_ddim(
    schedule: Schedule,
    predict_x_0: PredictX0,
    x: Tensor,
    noise: NoiseSource,
    sampler: DDIMSampler,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the images at the end of a DDIM walk from x.

    Song et al., 2021, "Denoising diffusion implicit models", eq. 12 and 16.
    """
    for index, (t, alpha_bar, alpha_bar_next) in enumerate(_stations(schedule, sampler.steps)):
        x_0 = predict_x_0(x, t)
        reported(on_step, Step(index, sampler.steps, t, x, x_0))
        if alpha_bar_next == 1.0:
            return x_0
        epsilon = (x - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
        sigma = sampler.eta * math.sqrt(_posterior_variance(alpha_bar, alpha_bar_next))
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
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the images at the end of an ancestral walk from x.

    Ho et al., 2020, eq. 6 and 7, on a grid of timesteps that may skip some (Nichol and Dhariwal,
    2021, section 4): beta is then 1 - alpha_bar_t / alpha_bar_next.
    """
    stations = _stations(schedule, sampler.steps or len(schedule))
    for index, (t, alpha_bar, alpha_bar_next) in enumerate(stations):
        x_0 = predict_x_0(x, t)
        reported(on_step, Step(index, len(stations), t, x, x_0))
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
    schedule: Schedule,
    predict_x_0: PredictX0,
    x: Tensor,
    sampler: DPMSolverSampler,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the images at the end of a DPM-Solver++ walk from x.

    Lu et al., 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", algorithm 2 (2M) and its third-order kin (3M). The first steps are of lower order for
    want of a past, the last one gives E[x_0] at timestep 0, and walks of few steps end with
    steps of lower order, as in the authors' code.
    """
    grid, steps = log_snr_grid(schedule, sampler.steps), sampler.steps
    past: list[tuple[float, Tensor]] = []  # (lambda, E[x_0]), the newest first
    for index, t in enumerate(grid):
        x_0 = predict_x_0(x, t)
        reported(on_step, Step(index, steps, t, x, x_0))
        if t == grid[-1]:
            break
        past = [(float(schedule.lambdas[t]), x_0), *past[:2]]
        left = steps - index if steps < FEW_STEPS else steps
        order = min(sampler.order, len(past), left)
        x = _solver_step(schedule, x, past[:order], t, grid[index + 1])
    return x_0


def _solver_step(
    schedule: Schedule, x: Tensor, past: list[tuple[float, Tensor]], t: int, t_next: int
) -> Tensor:
    """Return x at t_next; the step's order is the length of the past.

    The integral of e^lambda E[x_0] with E[x_0] as the polynomial in lambda through the past:
    proposition 4.1 and algorithm 2 of the paper. From a timestep without signal, where h is
    infinite, the polynomial is a constant.

    Deviation: the second derivative is twice the second divided difference. The authors' code
    for three past values, and diffusers', lack the 2 and converge at order 2.
    """
    alpha = math.sqrt(float(schedule.alpha_bars[t_next]))
    sigma, sigma_next = (math.sqrt(1 - float(schedule.alpha_bars[i])) for i in (t, t_next))
    newest, x_0 = past[0]
    h = float(schedule.lambdas[t_next]) - newest
    phi = -math.expm1(-h)
    x = sigma_next / sigma * x + alpha * phi * x_0
    if len(past) == 2:
        return x + 0.5 * alpha * phi * _slope(past[0], past[1], h)
    if len(past) == 3:
        near, far = _slope(past[0], past[1], h), _slope(past[1], past[2], h)
        to_near, to_far = (newest - past[1][0]) / h, (past[1][0] - past[2][0]) / h
        share = 1 / (to_near + to_far)  # 0 where the oldest has no signal
        first = near + to_near * share * (near - far)
        phi_2 = 1 - phi / h
        phi_3 = phi_2 / h - 0.5
        x = x + alpha * (phi_2 * first - phi_3 * 2 * share * (near - far))
    return x


def _slope(later: tuple[float, Tensor], earlier: tuple[float, Tensor], h: float) -> Tensor:
    """Return by how much E[x_0] changes over h in lambda, from two of its values."""
    return h / (later[0] - earlier[0]) * (later[1] - earlier[1])


def _stations(schedule: Schedule, steps: int) -> list[tuple[int, float, float]]:
    """Return (t, alpha_bar at t, alpha_bar at the next timestep) along the walk; the last is 1."""
    grid = timestep_grid(len(schedule), steps)
    alpha_bars = [float(schedule.alpha_bars[t]) for t in grid]
    return list(zip(grid, alpha_bars, [*alpha_bars[1:], 1.0], strict=True))


def _posterior_variance(alpha_bar: float, alpha_bar_next: float) -> float:
    beta = 1 - alpha_bar / alpha_bar_next
    return beta * (1 - alpha_bar_next) / (1 - alpha_bar)
