"""DDPM: a network learns to undo noise, class-conditional, with classifier-free guidance.

Ho et al., 2020, "Denoising diffusion probabilistic models"; cosine schedule: Nichol and Dhariwal,
2021; sigmoid schedule: Jabri et al., 2023; guidance: Ho and Salimans, 2022; velocity prediction:
Salimans and Ho, 2022; no signal at the last timestep: Lin et al., 2024; weights: Hang et al., 2023,
"Efficient diffusion training via min-SNR weighting strategy".
The U-Net is diffusers' UNet2DModel, sized by resolution and with its last layers set to zero.

Deviations: the velocity is the default, not DDPM's noise. On short trainings a network that
predicts noise misses the images' mean: near pure noise an error in it is magnified without bound.
The averaged weights' half-life is at most the images seen. The U-Net's attention has heads of 32
channels, not one of all. Labels are used where the dataset has them.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.algorithm.contract import Batch, Context, OnStep, Shape, expect_sampler
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.diffusion.base import DiffusionModel
from generators.diffusion.likelihood import discrete_vlb
from generators.diffusion.losses import by_quarter, chances_of
from generators.diffusion.samplers import sample_path
from generators.diffusion.schedules import make_schedule
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DDPMConfig
from generators.specs.diffusion_samplers import DiffusionSampler
from generators.specs.options import SamplerConfig


class DDPM(DiffusionModel):
    """One denoiser of T noise levels, trained on all alike (the simple loss) or by min-SNR."""

    config: DDPMConfig

    def __init__(self, config: DDPMConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(config, shape=shape, conditions=conditions)
        self.schedule = make_schedule(
            config.schedule, config.timesteps, zero_terminal_snr=config.zero_terminal_snr
        )
        alpha_bars = self.schedule.alpha_bars
        self._scales = torch.stack([alpha_bars.sqrt(), (1 - alpha_bars).sqrt()]).float()

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean squared error of what the network predicts."""
        x_0, generator = batch.images, context.generator
        count, device = len(x_0), x_0.device
        t = torch.randint(self.config.timesteps, (count,), generator=generator, device=device)
        epsilon = torch.randn(x_0.shape, generator=generator, device=device)
        labels = self.training_labels(batch.labels, x_0, generator)
        signal, noise = self._signal_and_noise(t)
        prediction = self.networks["denoiser"](signal * x_0 + noise * epsilon, t, labels)
        target = self._target(x_0, epsilon, signal, noise)
        errors = (prediction.float() - target).square().mean(dim=(1, 2, 3))
        loss = (self._weights(t) * errors).mean()
        return loss, {"denoising": loss, **self._by_quarter(errors, t)}

    def _by_quarter(self, errors: Tensor, t: Tensor) -> dict[str, Tensor]:
        timesteps = self.config.timesteps
        return by_quarter("mse", errors, t / timesteps, chances=chances_of(timesteps))

    def _signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(alpha_bar) and sqrt(1 - alpha_bar) at timesteps t, (N, 1, 1, 1) float32."""
        self._scales = self._scales.to(t.device)
        signal, noise = self._scales[:, t, None, None, None]  # (batch, channels, height, width)
        return signal, noise

    def _target(self, x_0: Tensor, epsilon: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        if self.config.prediction == "epsilon":
            return epsilon
        return x_0 if self.config.prediction == "x0" else signal * epsilon - noise * x_0

    def _weights(self, t: Tensor) -> Tensor:
        """Return min(SNR, gamma) as the weight of errors of E[x_0], for what is predicted, (N,).

        Hang et al., 2023, section 3.4: an error of epsilon is SNR times one of x_0, and one of
        the velocity SNR + 1 times.
        """
        if not self.config.min_snr_gamma:
            return torch.ones(len(t), device=t.device)
        signal, noise = (part.flatten() for part in self._signal_and_noise(t))
        snr = (signal / noise).square()
        divisor = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}
        return snr.clamp_max(self.config.min_snr_gamma) / divisor[self.config.prediction]

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

        return sample_path(self.schedule, predict_x_0, noise, self.shape, sampler, on_step)

    def _predict_x_0(
        self, denoiser: nn.Module, x: Tensor, t: int, labels: Tensor | None, guidance: float
    ) -> Tensor:
        """Return the expected clean image, within its range; x: (N, C, H, W) at timestep t."""

        def predict(x: Tensor, labels: Tensor) -> Tensor:
            times = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
            return self._clean(denoiser, x, times, labels)

        return self.within_range(self.guided(predict, x, labels, guidance))

    def _clean(self, denoiser: nn.Module, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the expected clean images, not clipped; t: (N,) int64 timesteps."""
        prediction: Tensor = denoiser(x, t, labels)
        signal, noise = self._signal_and_noise(t)
        if self.config.prediction == "epsilon":
            return (x - noise * prediction) / signal
        return prediction if self.config.prediction == "x0" else signal * x - noise * prediction

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        """Return images with the noise of the nearest timestep; time 0 is none, 1 the last."""
        signal, scale = self.signal_and_noise_at(time)
        return signal * images + scale * noise.normal(*images.shape[1:]) if scale else images

    def signal_and_noise_at(self, time: float) -> tuple[float, float]:
        """Return sqrt(alpha_bar) and sqrt(1 - alpha_bar) of the nearest timestep."""
        steps_done = round(time * self.config.timesteps)
        alpha_bar = float(self.schedule.alpha_bars[steps_done - 1]) if steps_done else 1.0
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return the variational bound of the chain of timesteps, (N,) float64, as `vlb`.

        Besides the last step, `samples` of the chain's steps are looked at for each image.
        """
        known = labels_or_zeros(labels, len(images), images.device)

        def predict_x_0(x: Tensor, t: Tensor) -> Tensor:
            return self.within_range(self._clean(networks["denoiser"], x, t, known))

        bound = discrete_vlb(
            predict_x_0, images, schedule=self.schedule, generator=generator, samples=samples
        )
        return {"vlb": bound}
