"""EDM: a preconditioned denoiser of every noise level, and the probability flow to walk down.

Karras et al., 2022, "Elucidating the design space of diffusion-based generative models": table 1
(preconditioning, loss, noise levels), algorithms 1 and 2 (Heun's steps, churn).

With `prediction` x0 the network's output is D itself: c_skip is 0 and c_out 1. The loss stays EDM's,
an error of D times lambda = (sigma^2 + data^2) / (sigma data)^2. Li and He, 2025 ("Back to basics:
let denoising generative models denoise", table 1) weight by a velocity's 1 / t^2; with t = sigma /
(sigma + data), the part of noise in the straight line's mixture of equal direction, that is
(sigma + data)^2 / (sigma data)^2 in pixels, between 1 and 2 times lambda. As they divide by t of at
least 0.05, lambda is of levels of at least data / 19: only below does the objective differ. The
bound on the likelihood is right and says little then: what a network blurs at the lowest levels
counts by 1 / sigma^2.

Deviations: the only augmentation is a flip. The network is told TIME_SCALE * ln(sigma) / 4, since
its sinusoids are made for larger numbers. It is diffusers' U-Net in place of DDPM++ (59.0 M
parameters in place of 55.7 M at 32 x 32): sums with skipped layers are not divided by sqrt(2), and
single convolutions change the resolution, where DDPM++ has residual blocks.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from generators.algorithm.contract import Batch, Context, OnStep, Shape, expect_sampler
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.diffusion.base import DiffusionModel
from generators.diffusion.likelihood import continuous_vlb
from generators.diffusion.losses import by_quarter
from generators.diffusion.walks import (
    Churn,
    PredictX0,
    karras_level,
    karras_levels,
    walk_dpmsolver,
    walk_euler,
    walk_heun,
)
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import EDMConfig, LevelsConfig
from generators.specs.diffusion_samplers import EDMHeunSampler, EDMSampler, EDMSolverSampler
from generators.specs.options import SamplerConfig

TIME_SCALE = 100.0
LEAST_LEVEL = 0.05 / 0.95  # in deviations of the data, that an error of the image is divided by


class EDM(DiffusionModel):
    """One denoiser D(x; sigma), trained on noise levels that are drawn log-normally."""

    config: LevelsConfig

    def __init__(self, config: LevelsConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(config, shape=shape, conditions=conditions)
        self.by_image = isinstance(config, EDMConfig) and config.prediction == "x0"

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the denoising error, weighted to be about 1 at every noise level at first."""
        x_0, generator = batch.images, context.generator
        labels = self.training_labels(batch.labels, x_0, generator)
        z = torch.randn(len(x_0), generator=generator, device=x_0.device)
        sigma = torch.exp(self.config.p_mean + self.config.p_std * z)
        epsilon = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        x = x_0 + per_image(sigma) * epsilon
        x_0_hat = self.denoise(self.networks["denoiser"], x, sigma, labels)
        losses = self.weight(sigma) * (x_0_hat - x_0).square().mean(dim=(1, 2, 3))
        loss = losses.mean()
        return loss, {"denoising": loss, **by_quarter("mse", losses, torch.special.ndtr(z))}

    def weight(self, sigma: Tensor) -> Tensor:
        """Return lambda(sigma), (N,), that squared errors of the clean image are multiplied by."""
        data = self.config.sigma_data
        divisor = sigma.clamp_min(LEAST_LEVEL * data) if self.by_image else sigma
        return 1 / divisor**2 + 1 / data**2

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Return D(x; sigma), the expected clean images, in x's precision.

        Karras et al., 2022, eq. 7 with table 1's preconditioning, by which it is x where sigma is 0;
        or what the network says, where that is the image.

        Args:
            network: F, of float32 images and times.
            x: (N, C, H, W) float32 or float64, images with noise.
            sigma: (N,) standard deviation of the noise, in x's precision.
            labels: (N, L) int64 rows.
        """
        data, level = self.config.sigma_data, per_image(sigma)
        c_skip = data**2 / (level**2 + data**2)
        c_out = level * data / (level**2 + data**2).sqrt()
        c_in = 1 / (level**2 + data**2).sqrt()
        c_noise = sigma.clamp_min(self.config.sigma_min).log() / 4
        prediction: Tensor = network((c_in * x).float(), TIME_SCALE * c_noise.float(), labels)
        if self.by_image:
            return prediction.to(x.dtype)
        return c_skip * x + c_out * prediction.to(x.dtype)

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return images from the walk down the noise levels, whose state is float64."""
        sampler = expect_sampler(sampler, EDMSampler)

        def predict_x_0(x: Tensor, sigma: float) -> Tensor:
            return self.predict_x_0(networks["denoiser"], x, sigma, labels, sampler.guidance)

        x = self.config.sigma_max * noise.normal(*self.shape).double()
        return self.within_range(self._walk(predict_x_0, x, noise, sampler, on_step).float())

    def predict_x_0(
        self, denoiser: nn.Module, x: Tensor, sigma: float, labels: Tensor | None, guidance: float
    ) -> Tensor:
        """Return the expected clean images of x, (N, C, H, W), all of one noise level."""

        def predict(x: Tensor, labels: Tensor) -> Tensor:
            return self.denoise(denoiser, x, x.new_full((len(x),), sigma), labels)

        return self.guided(predict, x, labels, guidance)

    def _walk(
        self,
        predict_x_0: PredictX0,
        x: Tensor,
        noise: NoiseSource,
        sampler: EDMSampler,
        on_step: OnStep | None,
    ) -> Tensor:
        config = self.config
        levels = karras_levels(sampler.steps, config.sigma_min, config.sigma_max, sampler.rho)
        if isinstance(sampler, EDMSolverSampler):
            return walk_dpmsolver(predict_x_0, x, levels, on_step)
        slope = partial(_slope, predict_x_0)
        if isinstance(sampler, EDMHeunSampler):
            churn = Churn(sampler.s_churn, sampler.s_min, sampler.s_max, sampler.s_noise)
            return walk_heun(slope, x, levels, on_step, churn=churn, noise=noise)
        return walk_euler(slope, x, levels, on_step)

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        """Return images with noise of the level at which the walk has this part still to go."""
        _, sigma = self.signal_and_noise_at(time)
        return images + sigma * noise.normal(*images.shape[1:]) if sigma else images

    def signal_and_noise_at(self, time: float) -> tuple[float, float]:
        """Return 1 and sigma: the image is not scaled."""
        if time == 0:
            return 1.0, 0.0
        return 1.0, karras_level(1 - time, self.config.sigma_min, self.config.sigma_max)

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return the variational bound of infinitely many steps, (N,) float64, as `vlb`.

        Between sigma_min and sigma_max, at `samples` noise levels for each image.
        """
        known = labels_or_zeros(labels, len(images), images.device)
        lowest, ratio = self.config.sigma_min, self.config.sigma_max / self.config.sigma_min

        def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
            return torch.ones_like(t), lowest * ratio**t

        def predict_x_0(x: Tensor, t: Tensor) -> Tensor:
            sigma = (lowest * ratio**t).to(x.dtype)
            return self.within_range(self.denoise(networks["denoiser"], x, sigma, known))

        bound = continuous_vlb(
            predict_x_0,
            images,
            alpha_sigma=alpha_sigma,
            generator=generator,
            samples=samples,
            prior_std=self.config.sigma_max,
        )
        return {"vlb": bound}


def _slope(predict_x_0: PredictX0, x: Tensor, sigma: float) -> Tensor:
    """Return dx/dsigma of the probability flow; Karras et al., 2022, eq. 1 and 3."""
    return (x - predict_x_0(x, sigma)) / sigma


def per_image(values: Tensor) -> Tensor:
    """Return (N,) values as (N, 1, 1, 1), to multiply images with."""
    return values.view(-1, 1, 1, 1)
