"""DDPM: a U-Net learns to undo noise, class-conditional, with classifier-free guidance.

Ho et al., 2020, "Denoising diffusion probabilistic models"; cosine schedule: Nichol and Dhariwal,
2021; guidance: Ho and Salimans, 2022; velocity prediction: Salimans and Ho, 2022.
The U-Net is diffusers' UNet2DModel, sized by resolution and with its last layers set to zero.

Deviation: the velocity is the default, not DDPM's noise. On short trainings a network that
predicts noise misses the images' mean: near pure noise an error in it is magnified without bound.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.base import Batch, Context, OnStep, Shape, expect_sampler
from generators.configs import SamplerConfig
from generators.diffusion.base import DiffusionModel
from generators.diffusion.configs import DDPMConfig, DiffusionSampler
from generators.diffusion.samplers import sample_path
from generators.diffusion.schedules import make_schedule
from generators.layers import labels_or_zeros
from generators.noise import NoiseSource


class DDPM(DiffusionModel):
    """One denoiser, trained on all noise levels alike (the simple loss)."""

    config: DDPMConfig

    def __init__(self, config: DDPMConfig, *, shape: Shape, num_classes: int) -> None:
        super().__init__(config, shape=shape, num_classes=num_classes)
        self.schedule = make_schedule(config.schedule, config.timesteps)
        self._alpha_bars = self.schedule.alpha_bars.float()

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the predicted noise (or velocity)."""
        x_0 = batch.images
        count, device = len(x_0), x_0.device
        t = torch.randint(
            self.config.timesteps, (count,), generator=context.generator, device=device
        )
        epsilon = torch.randn(x_0.shape, generator=context.generator, device=device)
        labels = self.training_labels(batch.labels, x_0, context.generator)
        self._alpha_bars = self._alpha_bars.to(device)
        alpha_bar = self._alpha_bars[t].view(-1, 1, 1, 1)  # (batch, channels, height, width)
        signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        target = epsilon if self.config.prediction == "epsilon" else signal * epsilon - noise * x_0
        prediction = self.networks["denoiser"](signal * x_0 + noise * epsilon, t, labels)
        loss = F.mse_loss(prediction, target)
        return loss, {"denoising": loss}

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return images from the sampler's walk through the noise levels."""
        sampler = expect_sampler(sampler, DiffusionSampler)
        denoiser = networks["denoiser"]

        def predict_x_0(x: Tensor, t: int) -> Tensor:
            return self._predict_x_0(denoiser, x, t, labels, sampler.guidance)

        return sample_path(self.schedule, predict_x_0, noise, self.shape, sampler)

    def _predict_x_0(
        self, denoiser: nn.Module, x: Tensor, t: int, labels: Tensor | None, guidance: float
    ) -> Tensor:
        """Return the expected clean image, clipped to [-1, 1]; x: (N, C, H, W) at timestep t."""
        known = labels_or_zeros(labels, len(x), x.device)
        prediction = self._predict(denoiser, x, t, known)
        if guidance != 1:
            if labels is None:
                raise ValueError("expected guidance 1: the model is unconditional")
            free = self._predict(denoiser, x, t, torch.full_like(known, self.num_classes))
            prediction = free + guidance * (prediction - free)
        alpha_bar = float(self.schedule.alpha_bars[t])
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        if self.config.prediction == "epsilon":
            return ((x - noise * prediction) / signal).clamp(-1, 1)
        return (signal * x - noise * prediction).clamp(-1, 1)

    @staticmethod
    def _predict(denoiser: nn.Module, x: Tensor, t: int, labels: Tensor) -> Tensor:
        times = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        prediction: Tensor = denoiser(x, times, labels)
        return prediction
