"""Flow matching: a velocity field carries noise to images along lines as straight as can be.

Lipman et al., 2023, "Flow matching for generative modeling", with the conditional paths of Liu et
al., 2023, "Flow straight and fast: learning to generate and transfer data with rectified flow":
x_t = (1 - t) x_0 + t epsilon, whose velocity is epsilon - x_0. Times: Esser et al., 2024, "Scaling
rectified flow transformers for high-resolution image synthesis", eq. 19 (logit-normal) and eq. 23
(shifted), and Karras et al., 2022, as noise levels t / (1 - t) (edm). With `prediction` x0 the network predicts x_0, and
what is trained and walked along is the velocity that follows, (x_t - x_0) / t: Li and He, 2025, "Back
to basics: let denoising generative models denoise", table 1 (x-prediction, v-loss). A clean patch
lies on a surface of few dimensions; a velocity, full of noise, does not.

Deviations: time runs from images (0) to noise (1), as in Esser et al.; Lipman et al. have it the
other way round, and leave a noise of 1e-5 where ours is 0. The network is told 1000 t, as its
sinusoids tell times in 0..1 hardly apart. Heun's last step is Euler's. Li and He divide by at least
0.05 in the loss, as we do, and along the walk, where we divide by t, which is never 0 there: so the
last step ends at the clean image.

With `self_conditioning` the network is also shown what it last made of the clean image: Chen, Zhang
and Hinton, 2023, "Analog bits: generating discrete data using diffusion models with
self-conditioning", section 2.3. Deviations: one draw decides for a whole batch, and with guidance
both evaluations are shown the guided estimate.
"""

from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.special import ndtr

from generators.algorithm.contract import Batch, Context, OnStep, Shape, expect_sampler
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.diffusion.base import DiffusionModel
from generators.diffusion.edm import per_image
from generators.diffusion.likelihood import continuous_vlb
from generators.diffusion.losses import by_quarter
from generators.diffusion.walks import even_levels, walk_ancestral, walk_euler, walk_heun
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import FlowConfig
from generators.specs.diffusion_samplers import DiffusionSampler, EulerSampler, HeunSampler
from generators.specs.options import SamplerConfig

TIME_SCALE = 1000.0
EARLIEST, LATEST = 0.002, 0.999  # of the bound on the likelihood: log SNR is infinite at the ends
TimeT = TypeVar("TimeT", float, Tensor)
SHOWN_NOTHING = 0.5  # part of a self-conditioned training's steps
LEAST_DIVISOR = 0.05  # of an error of x_0, to be one of the velocity
LOGITS = {"logit-normal": (0.0, 1.0), "edm": (-1.2, 1.2)}  # mean and deviation of t's logit


class Flow(DiffusionModel):
    """One network of (x; t), trained for the mean velocity of the lines through x at t."""

    config: FlowConfig

    def __init__(self, config: FlowConfig, *, shape: Shape, conditions: Conditions) -> None:
        inputs = 1 + config.self_conditioning
        super().__init__(config, shape=shape, conditions=conditions, inputs=inputs)

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the velocity."""
        x_0, generator = batch.images, context.generator
        labels = self.training_labels(batch.labels, x_0, generator)
        z = torch.randn(len(x_0), generator=generator, device=x_0.device)
        t = shifted(draw_times(z, self.config.time_sampling), self.config.time_shift)
        epsilon = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        x = x_0.lerp(epsilon, per_image(t))
        told = self._earlier(x, t, labels, generator)
        prediction = self.networks["denoiser"](x, TIME_SCALE * t, labels, *told).float()
        if self.config.prediction == "x0":
            errors = (prediction - x_0) / per_image(t.clamp_min(LEAST_DIVISOR))
        else:
            errors = prediction - (epsilon - x_0)
        losses = errors.square().mean(dim=(1, 2, 3))
        loss = losses.mean()
        return loss, {"velocity": loss, **by_quarter("mse", losses, ndtr(z))}

    @torch.no_grad()
    def _earlier(
        self, x: Tensor, t: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Return what the network makes of the clean images, in half of the steps; else nothing."""
        if not self.config.self_conditioning:
            return ()
        if torch.rand((), generator=generator, device=x.device) < SHOWN_NOTHING:
            return ()
        prediction = self.networks["denoiser"](x, TIME_SCALE * t, labels).float()
        by_image = self.config.prediction == "x0"
        return (self.within_range(prediction if by_image else x - per_image(t) * prediction),)

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return images at the end of the walk from time 1 to time 0."""
        sampler = expect_sampler(sampler, DiffusionSampler)
        estimate: Tensor | None = None

        def slope(x: Tensor, t: float) -> Tensor:
            nonlocal estimate
            found = self.velocity(
                networks["denoiser"], x, t, labels, sampler.guidance, estimate=estimate
            )
            if self.config.self_conditioning:
                estimate = self.within_range(x - t * found)
            return found

        x = noise.normal(*self.shape)
        levels = [shifted(t, self.config.time_shift) for t in even_levels(sampler.steps)]
        if isinstance(sampler, HeunSampler):
            return self.within_range(walk_heun(slope, x, levels, on_step))
        eta = expect_sampler(sampler, EulerSampler).eta
        walk = partial(walk_ancestral, eta=eta, noise=noise) if eta else walk_euler
        return self.within_range(walk(slope, x, levels, on_step))

    def velocity(
        self,
        denoiser: nn.Module,
        x: Tensor,
        t: float,
        labels: Tensor | None,
        guidance: float,
        *,
        estimate: Tensor | None = None,
    ) -> Tensor:
        """Return the guided velocity of x, (N, C, H, W), all at time t; x_0 is x - t * velocity.

        Guiding the velocity is guiding x_0, as one is linear in the other. `estimate` is what the
        last step made of x_0, for a model that is shown it.
        """

        def predict(x: Tensor, labels: Tensor) -> Tensor:
            told = () if estimate is None else (torch.cat([estimate] * (len(x) // len(estimate))),)
            prediction: Tensor = denoiser(x, x.new_full((len(x),), TIME_SCALE * t), labels, *told)
            return (x - prediction) / t if self.config.prediction == "x0" else prediction

        return self.guided(predict, x, labels, guidance)

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        """Return images with their part in the mixture at a time."""
        return images.lerp(noise.normal(*images.shape[1:]), time)

    def signal_and_noise_at(self, time: float) -> tuple[float, float]:
        """Return 1 - t and t: the parts of the mixture."""
        return 1 - time, time

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

        Between times EARLIEST and LATEST, at `samples` times for each image.
        """
        known = labels_or_zeros(labels, len(images), images.device)

        def alpha_sigma(part: Tensor) -> tuple[Tensor, Tensor]:
            t = EARLIEST + (LATEST - EARLIEST) * part
            return 1 - t, t

        def predict_x_0(x: Tensor, part: Tensor) -> Tensor:
            t = alpha_sigma(part)[1].to(x.dtype)
            prediction: Tensor = networks["denoiser"](x, TIME_SCALE * t, known)
            if self.config.prediction == "v":
                prediction = x - per_image(t) * prediction
            return self.within_range(prediction)

        bound = continuous_vlb(
            predict_x_0, images, alpha_sigma=alpha_sigma, generator=generator, samples=samples
        )
        return {"vlb": bound}


def draw_times(z: Tensor, time_sampling: str) -> Tensor:
    """Return times in 0..1 of the named distribution from standard normal numbers, rising in z."""
    if time_sampling == "uniform":
        uniform: Tensor = ndtr(z)
        return uniform
    mean, deviation = LOGITS[time_sampling]
    return torch.sigmoid(mean + deviation * z)


def shifted(t: TimeT, shift: float) -> TimeT:
    """Return times in 0..1 with noise levels t / (1 - t) that are ``shift`` times as high."""
    return shift * t / (1 + (shift - 1) * t)
