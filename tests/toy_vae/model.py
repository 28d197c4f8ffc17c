"""The toy's networks, its loss and its way to sample."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.algorithm.contract import (
    Algorithm,
    Batch,
    Context,
    OnStep,
    Phase,
    Shape,
    expect_sampler,
)
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.options import DirectSampler, SamplerConfig

from .spec import ToyConfig


class ToyVAE(Algorithm):
    """One linear layer each way, unconditional even where there are labels."""

    sampling_networks = ("decoder",)

    def __init__(self, config: ToyConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config = config
        self.networks = {
            "encoder": nn.Linear(math.prod(shape), config.directions),
            "decoder": nn.Linear(config.directions, math.prod(shape)),
        }

    def phases(self) -> list[Phase]:
        """Return the one phase that moves both layers."""
        return [Phase("elbo", ("encoder", "decoder"), self.config.learning_rate)]

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error of codes with noise, pulled to the prior."""
        x = batch.images.flatten(1)
        mean = self.networks["encoder"](x)
        noise = torch.randn(mean.shape, generator=context.generator, device=x.device)
        error = (self.networks["decoder"](mean + 0.1 * noise) - x).square().mean()
        loss = error + 0.01 * mean.square().mean()
        return loss, {"error": error}

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return the decoder's images of codes from the prior."""
        temperature = expect_sampler(sampler, DirectSampler).temperature
        codes = temperature * noise.normal(self.config.directions)
        images: Tensor = networks["decoder"](codes)
        return images.view(-1, *self.shape)
