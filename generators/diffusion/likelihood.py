"""Bounds on the likelihood of diffusion models, in bits per dimension.

Both bounds have three parts: the prior's (the image that is left in the last noise), the
diffusion's (what each step of the walk has to tell) and the reconstruction's (the image's grey
levels, given the walk's end). All are sums over pixels in float64; images have 256 levels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.diffusion.schedules import Schedule

LEVELS = 256  # grey levels, from -1 to 1
HALF_BIN = 1 / (LEVELS - 1)
BISECTIONS = 60

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x (N, C, H, W) float32, t (N,)) to E[x_0]
Path = Callable[[Tensor], tuple[Tensor, Tensor]]  # t (N,) float64 to alpha, sigma (N,) float64


def discrete_vlb(
    predict_x_0: Denoise,
    images: Tensor,
    *,
    schedule: Schedule,
    generator: torch.Generator,
    samples: int,
) -> Tensor:
    """Return the variational bound of a chain of T steps, bits per dimension, (N,) float64.

    Ho et al., 2020, eq. 5: L_T + the sum of L_{t-1} + L_0, where the reverse steps have the
    posterior's variance (so that L_{t-1} is (SNR_{t-1} - SNR_t) / 2 times the squared error of
    E[x_0]; Kingma et al., 2021, eq. 12) and the last one beta_1, with the decoder of eq. 13.

    Args:
        predict_x_0: told timesteps t in 0..T-1, int64.
        images: (N, C, H, W) in [-1, 1].
        schedule: of the T steps.
        generator: all the randomness there is.
        samples: steps besides the last that are looked at for each image, by importance, without
            bias; from T - 1 on, each of them once.
    """
    alpha_bars = schedule.alpha_bars.to(images.device)
    bound = gaussian_kl(images, alpha_bars[-1:].sqrt(), (1 - alpha_bars[-1:]).sqrt())
    first = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    x_0_hat = predict_x_0(_noisy(images, alpha_bars[first], generator), first)
    scale = schedule.betas[:1].sqrt().to(images.device)
    bound = bound + _sum(-discretised_log_density(images, x_0_hat, scale))
    snr = alpha_bars / (1 - alpha_bars)
    drops = -snr.diff()  # what step t = 1..T-1 (from 0) tells, at index t - 1
    for t, weight in _steps_to_look_at(drops, snr, images, generator, samples):
        x_0_hat = predict_x_0(_noisy(images, alpha_bars[t], generator), t)
        error = _sum((images.double() - x_0_hat.double()).square())
        bound = bound + 0.5 * weight * drops[t - 1] * error
    return _bits(bound, images)


def _steps_to_look_at(
    drops: Tensor, snr: Tensor, images: Tensor, generator: torch.Generator, samples: int
) -> list[tuple[Tensor, float | Tensor]]:
    """Return timesteps, (N,) int64 each, with the weights that make their sum unbiased.

    Half of the draws are even in t, and half in log SNR, where the terms are about equal.
    """
    count, device = len(images), images.device
    if samples >= len(drops):
        return [(torch.full((count,), t + 1, device=device), 1.0) for t in range(len(drops))]
    falls = -snr.clamp_min(1e-6).log().diff()
    chance = 0.5 * falls / falls.sum() + 0.5 / len(drops)
    edges = chance.cumsum(0)
    found: list[tuple[Tensor, float | Tensor]] = []
    for u in _strata(count, samples, generator, device):
        index = torch.searchsorted(edges, u).clamp_max(len(drops) - 1)
        found.append((index + 1, 1 / (samples * chance[index])))
    return found


def continuous_vlb(
    predict_x_0: Denoise,
    images: Tensor,
    *,
    alpha_sigma: Path,
    generator: torch.Generator,
    samples: int,
    prior_std: float = 1.0,
) -> Tensor:
    """Return the variational bound of infinitely many steps, bits per dimension, (N,) float64.

    Kingma et al., 2021, "Variational diffusion models", eq. 11, 17 and 18: prior, half the
    integral of the squared error of E[x_0] over the signal-to-noise ratio, and the likelihood
    of the grey levels given the last noisy image alone (their eq. 8 and appendix C).

    The integral is taken over log SNR, evenly and in strata: there the integrand is the squared
    error of the noise, which is bounded.

    Args:
        predict_x_0: told x = alpha x_0 + sigma epsilon, float32, and t, (N,) float64.
        images: (N, C, H, W) in [-1, 1].
        alpha_sigma: the path: alpha and sigma at times t from 0 (clean) to 1 (noise). log SNR
            must fall all the way and be finite at both ends: cut the ends of a path off where it
            is not, the prior and the reconstruction bear what is lost.
        generator: all the randomness there is.
        samples: network evaluations for each image.
        prior_std: of the noise that sampling begins with.

    Raises:
        ValueError: if log SNR is not finite at both ends.
    """
    count, device = len(images), images.device
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device=device)
    alphas, sigmas = alpha_sigma(ends)
    highest, lowest = _log_snr(alpha_sigma, ends).tolist()
    if not (math.isfinite(highest) and math.isfinite(lowest)):
        raise ValueError(f"expected a finite log SNR at both ends, got {highest} and {lowest}")
    bound = gaussian_kl(images, alphas[1:], sigmas[1:], prior_std)
    bound = bound + _reconstruction(images, alphas[0], sigmas[0], generator)
    for u in _strata(count, samples, generator, device):
        wanted = highest + u * (lowest - highest)
        t = _time_of(wanted, alpha_sigma)
        alpha, sigma = (_per_image(values).float() for values in alpha_sigma(t))
        epsilon = torch.randn(images.shape, generator=generator, device=device)
        x_0_hat = predict_x_0(alpha * images + sigma * epsilon, t)
        error = _sum((images.double() - x_0_hat.double()).square())
        bound = bound + 0.5 * (highest - lowest) / samples * wanted.exp() * error
    return _bits(bound, images)


def gaussian_kl(images: Tensor, alpha: Tensor, sigma: Tensor, prior_std: float = 1.0) -> Tensor:
    """Return KL(N(alpha x_0, sigma^2) || N(0, prior_std^2)), nats of all pixels, (N,) float64."""
    mean, std = _per_image(alpha) * images.double() / prior_std, _per_image(sigma) / prior_std
    return _sum(0.5 * (mean.square() + std.square() - 1) - std.log())


def discretised_log_density(images: Tensor, means: Tensor, std: Tensor) -> Tensor:
    """Return log of each pixel's probability, shaped as the images, float64.

    Ho et al., 2020, eq. 13: a Gaussian's mass within half a grey level, and all that is beyond -1
    and 1 at the outermost levels.

    Args:
        images: (N, C, H, W) in [-1, 1], at one of 256 levels each.
        means: of the Gaussians, likewise.
        std: of the Gaussians, (1,) or (N,).
    """
    scale, x = _per_image(std.double()), images.double()
    above = torch.where(x > 1 - HALF_BIN, math.inf, (x + HALF_BIN - means.double()) / scale)
    below = torch.where(x < HALF_BIN - 1, -math.inf, (x - HALF_BIN - means.double()) / scale)
    # of two numbers on the right of 0 the distribution is 1 but for what float64 loses: mirror
    mirrored = below > 0
    low, high = torch.where(mirrored, -above, below), torch.where(mirrored, -below, above)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    log_mass: Tensor = log_high + torch.log1p(-torch.exp(log_low - log_high))
    return log_mass


def _reconstruction(
    images: Tensor, alpha: Tensor, sigma: Tensor, generator: torch.Generator
) -> Tensor:
    """Return -log p(x_0 | z_0), nats of all pixels, (N,): which level is it, given a noisy pixel?"""
    epsilon = torch.randn(images.shape, generator=generator, device=images.device)
    index = ((images.double() + 1) / (2 * HALF_BIN)).round().long()
    levels = torch.linspace(-1, 1, LEVELS, dtype=torch.float64, device=images.device)
    noisy = alpha * levels[index] + sigma * epsilon.double()
    nats = [
        F.cross_entropy(
            -0.5 * ((z.flatten()[:, None] - alpha * levels) / sigma).square(),
            i.flatten(),
            reduction="sum",
        )
        for z, i in zip(noisy, index, strict=True)  # (pixels, 256) at a time
    ]
    return torch.stack(nats)


def _log_snr(alpha_sigma: Path, t: Tensor) -> Tensor:
    alpha, sigma = alpha_sigma(t)
    return 2 * (alpha.log() - sigma.log())


def _time_of(log_snr: Tensor, alpha_sigma: Path) -> Tensor:
    """Return the times at which the path has these log SNR, (N,) float64, by bisection."""
    early, late = torch.zeros_like(log_snr), torch.ones_like(log_snr)
    for _ in range(BISECTIONS):
        middle = 0.5 * (early + late)
        too_early = _log_snr(alpha_sigma, middle) > log_snr
        early, late = (
            torch.where(too_early, middle, early),
            torch.where(too_early, late, middle),
        )
    return 0.5 * (early + late)


def _strata(
    count: int, samples: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Return uniform numbers, (N,) float64 each: each image has one in each of `samples` strata."""
    u = torch.rand(samples, count, generator=generator, device=device, dtype=torch.float64)
    places = torch.arange(samples, device=device, dtype=torch.float64)[:, None]
    return list((places + u) / samples)


def _noisy(images: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
    epsilon = torch.randn(images.shape, generator=generator, device=images.device)
    signal, noise = (
        _per_image(part.sqrt()).to(images.dtype) for part in (alpha_bar, 1 - alpha_bar)
    )
    return signal * images + noise * epsilon


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)  # (batch, channels, height, width)


def _sum(values: Tensor) -> Tensor:
    return values.double().flatten(1).sum(dim=1)


def _bits(nats: Tensor, images: Tensor) -> Tensor:
    return nats / (images[0].numel() * math.log(2))
