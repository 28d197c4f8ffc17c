"""Walks along the probability flow from noise to image: Euler, Heun with churn, DPM-Solver++ 2M.

Images at noise level t are x_0 + t * epsilon up to a scale, and the flow's slope is dx/dt. For EDM
t is sigma, for flow matching the mixing time; in both, the expected clean image is x - t * dx/dt.
Each walk is a pure function of the slope, the levels and the noise; its state has x's precision.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from generators.algorithm.contract import OnStep, Step, reported
from generators.algorithm.noise import NoiseSource

RHO = 7.0

Slope = Callable[[Tensor, float], Tensor]  # dx/dt of (x, t), shaped as x
PredictX0 = Callable[[Tensor, float], Tensor]  # the expected clean images of (x, t), shaped as x


@dataclass(frozen=True)
class Churn:
    """How much noise is added anew in each step, Karras et al., 2022, algorithm 2."""

    amount: float  # S_churn, over all steps
    lowest: float  # S_min, noise levels in between are churned
    highest: float  # S_max
    scale: float  # S_noise, standard deviation of the new noise

    def level(self, t: float, steps: int) -> float:
        """Return the noise level to go up to from t."""
        within = self.lowest <= t <= self.highest
        return t * (1 + min(self.amount / steps, math.sqrt(2) - 1)) if within else t


def karras_level(part: float, lowest: float, highest: float, rho: float = RHO) -> float:
    """Return the noise level at a part of the walk, 0 (highest) to 1 (lowest).

    Karras et al., 2022, eq. 5.
    """
    top, bottom = highest ** (1 / rho), lowest ** (1 / rho)
    return float((top + part * (bottom - top)) ** rho)


def karras_levels(steps: int, lowest: float, highest: float, rho: float = RHO) -> list[float]:
    """Return `steps` noise levels falling from highest to lowest, then 0."""
    parts = [i / max(steps - 1, 1) for i in range(steps)]
    return [*(karras_level(part, lowest, highest, rho) for part in parts), 0.0]


def even_levels(steps: int) -> list[float]:
    """Return `steps` times falling evenly from 1 to 1/steps, then 0.

    They are those of diffusers' FlowMatchEulerDiscreteScheduler after
    `set_timesteps(sigmas=numpy.linspace(1, 1 / steps, steps))`.
    """
    return [(steps - i) / steps for i in range(steps + 1)]


def walk_euler(
    slope: Slope, x: Tensor, levels: Sequence[float], on_step: OnStep | None = None
) -> Tensor:
    """Return x after Euler's steps down the levels: first order, one evaluation each."""
    for i, (t, t_next) in enumerate(pairwise(levels)):
        d = slope(x, t)
        reported(on_step, Step(i, len(levels) - 1, t, x, x - t * d))
        x = x + (t_next - t) * d
    return x


def walk_ancestral(
    slope: Slope,
    x: Tensor,
    levels: Sequence[float],
    on_step: OnStep | None = None,
    *,
    eta: float,
    noise: NoiseSource,
) -> Tensor:
    """Return x after steps of flow matching down the times, with noise added anew.

    x_s = (1 - s) x_0 + sqrt(s^2 - a^2) epsilon + a z, where x_0 and epsilon are what the slope says
    of x_t, and a = eta s sqrt(1 - (s (1 - t) / (t (1 - s)))^2): eta 0 is Euler's step, eta 1 that of
    the forward process turned back. Song et al., 2021, "Denoising diffusion implicit models",
    eq. 12 and 16, for alpha = 1 - t and sigma = t.
    """
    for i, (t, s) in enumerate(pairwise(levels)):
        d = slope(x, t)
        x_0 = x - t * d
        reported(on_step, Step(i, len(levels) - 1, t, x, x_0))
        if s == 0:
            return x_0
        a = eta * s * math.sqrt(1 - (s * (1 - t) / (t * (1 - s))) ** 2)
        epsilon = x + (1 - t) * d
        z = noise.normal(*x.shape[1:]).to(x.dtype)
        x = (1 - s) * x_0 + math.sqrt(s**2 - a**2) * epsilon + a * z
    return x


def walk_heun(
    slope: Slope,
    x: Tensor,
    levels: Sequence[float],
    on_step: OnStep | None = None,
    *,
    churn: Churn | None = None,
    noise: NoiseSource | None = None,
) -> Tensor:
    """Return x after Heun's steps down the levels: second order, 2 steps - 1 evaluations.

    Karras et al., 2022, algorithm 1, and with churn algorithm 2. A step down to 0 is Euler's.
    """
    steps = len(levels) - 1
    for i, (t, t_next) in enumerate(pairwise(levels)):
        t_hat, x_hat = _churned(x, t, steps, churn, noise)
        d = slope(x_hat, t_hat)
        reported(on_step, Step(i, steps, t_hat, x_hat, x_hat - t_hat * d))
        x = x_hat + (t_next - t_hat) * d
        if t_next > 0:
            x = x_hat + (t_next - t_hat) * 0.5 * (d + slope(x, t_next))
    return x


def _churned(
    x: Tensor, t: float, steps: int, churn: Churn | None, noise: NoiseSource | None
) -> tuple[float, Tensor]:
    """Return the noise level to step from and x with the noise that it takes."""
    t_hat = churn.level(t, steps) if churn else t
    if churn is None or t_hat == t:
        return t, x
    assert noise is not None, "whoever churns brings the noise"
    added = math.sqrt(t_hat**2 - t**2) * churn.scale
    return t_hat, x + added * noise.normal(*x.shape[1:]).to(x.dtype)


def walk_dpmsolver(
    predict_x_0: PredictX0, x: Tensor, levels: Sequence[float], on_step: OnStep | None = None
) -> Tensor:
    """Return x after DPM-Solver++ 2M's steps down the levels: second order, one evaluation each.

    Lu et al., 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", algorithm 2, where the image is not scaled down and lambda = -log t. The first step
    and a step down to 0 are of first order.
    """
    before: tuple[Tensor, float] | None = None  # the last x_0, and the step in lambda after it
    for i, (t, t_next) in enumerate(pairwise(levels)):
        x_0 = predict_x_0(x, t)
        reported(on_step, Step(i, len(levels) - 1, t, x, x_0))
        if t_next == 0:
            return x_0
        h = math.log(t / t_next)
        target = x_0 if before is None else x_0 + h / (2 * before[1]) * (x_0 - before[0])
        x = t_next / t * x - math.expm1(-h) * target
        before = x_0, h
    return x
