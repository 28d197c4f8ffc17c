"""ECT: a diffusion model is tuned to jump from any noise level straight to the image.

Geng et al., 2024, "Consistency models made easy" (easy consistency tuning), with Song et al., 2023,
"Consistency models", algorithm 1 (sampling in a few steps). EDM's preconditioned D becomes the
consistency function f(x; t), for which f(x; 0) = x holds by construction.

One training has both phases: EDM's for the first part of the budget, then the tuning, which begins
with EDM's averaged weights. `tuning_share` 1 tunes weights that training begins with (`initial`).

Deviations: both phases have one batch size, dropout and average; AdamW in place of RAdam. The
distance is per pixel value, the paper's norm divided by the root of the number of values. Geng et
al. go back to one noise level between two steps; those between more steps are a constant ratio
apart.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from generators.algorithm.contract import (
    Batch,
    Context,
    OnStep,
    Phase,
    Step,
    Undefined,
    expect_sampler,
    reported,
)
from generators.algorithm.noise import NoiseSource
from generators.diffusion.edm import EDM, per_image
from generators.diffusion.losses import by_quarter
from generators.specs.diffusion_configs import ECTConfig
from generators.specs.diffusion_samplers import ConsistencySampler
from generators.specs.options import SamplerConfig

TINY = 1e-6  # rounds off the root, whose slope at 0 is infinite


class ECT(EDM):
    """EDM's denoiser, then the same network as a consistency function."""

    config: ECTConfig

    def phases(self) -> list[Phase]:
        """Return EDM's phase and the tuning after it.

        The tuning is in float32: bfloat16 rounds away what differs between two near levels.
        """
        rate, begin = self.config.tuning_learning_rate, 1 - self.config.tuning_share
        tuning = Phase("tuning", ("denoiser",), rate, begin=begin, autocast=False)
        if begin == 0:
            return [tuning]
        return [*(replace(phase, end=begin) for phase in super().phases()), tuning]

    def begin(self, phase: str, averages: Mapping[str, nn.Module]) -> None:
        """Let the tuning begin with the averaged weights."""
        if phase == "tuning":
            self.networks["denoiser"].load_state_dict(averages["denoiser"].state_dict())

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return EDM's denoising error, or the disagreement between two noise levels."""
        if phase == "denoising":
            return super().loss(phase, batch, context)
        return self._tuning(batch, context)

    def _tuning(self, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        x_0, generator = batch.images, context.generator
        labels = self.training_labels(batch.labels, x_0, generator)
        z = torch.randn(len(x_0), generator=generator, device=x_0.device)
        t = torch.exp(self.config.tuning_mean + self.config.tuning_std * z)
        r = self.earlier(t, self.stage(context.fraction))
        epsilon = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        student, teacher = self._jumps(x_0, epsilon, (t, r), labels)
        squares = (student - teacher).square().mean(dim=(1, 2, 3))
        losses = ((squares + TINY**2).sqrt() - TINY) / (t - r)
        loss = losses.mean()
        return loss, {"tuning": loss, **by_quarter("tuning", losses, torch.special.ndtr(z))}

    def _jumps(
        self, x_0: Tensor, epsilon: Tensor, levels: tuple[Tensor, Tensor], labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return f at both levels of the same noise, under the same dropout.

        The second is the target and has no gradient.
        """
        network, (t, r) = self.networks["denoiser"], levels
        with torch.random.fork_rng(devices=[x_0.device] if x_0.is_cuda else []):
            student = self.denoise(network, x_0 + per_image(t) * epsilon, t, labels)
        with torch.no_grad():
            teacher = self.denoise(network, x_0 + per_image(r) * epsilon, r, labels)
        return student, teacher

    def stage(self, fraction: float) -> int:
        """Return the stage of the tuning, 0..stages - 1, at a part of its budget."""
        return min(int(fraction * self.config.stages), self.config.stages - 1)

    def earlier(self, t: Tensor, stage: int) -> Tensor:
        """Return the noise levels r < t to agree with, (N,); they approach t stage by stage.

        Geng et al., 2024, section 3.2: r = t (1 - n(t) / q^(stage + 1)), n(t) = 1 + k sigmoid(-bt),
        never negative.
        """
        n = 1 + self.config.k * torch.sigmoid(-self.config.b * t)
        return t * (1 - n / self.config.q ** (stage + 1)).clamp_min(0)

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return images from jumps: from pure noise, then from less and less new noise."""
        sampler = expect_sampler(sampler, ConsistencySampler)
        levels = [self.config.sigma_max, *sampler.levels()]
        x_0 = torch.zeros(len(noise), *self.shape, dtype=torch.float64, device=noise.device)
        for i, t in enumerate(levels):
            x = x_0 + t * noise.normal(*self.shape)
            x_0 = self.predict_x_0(networks["denoiser"], x, t, labels, 1.0)
            reported(on_step, Step(i, len(levels), t, x, x_0))
        return self.within_range(x_0.float())

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Refuse: once tuned, the network no longer returns expectations.

        Raises:
            Undefined: always.
        """
        raise Undefined("ECT has no tractable bound: it jumps to an image, not to the expected one")
