"""What all diffusion models share: the denoiser, labels hidden in training, and guidance."""

from collections.abc import Callable

import torch
from torch import Tensor

from generators.algorithm.contract import Algorithm, Phase, Shape
from generators.algorithm.layers import labels_or_zeros
from generators.diffusion.denoiser import Denoiser
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DenoiserConfig


class DiffusionModel(Algorithm):
    """A model whose one network is the denoiser; a row that says nothing means any image."""

    sampling_networks = ("denoiser",)
    obeys_words = True
    compilable = ("denoiser",)
    smallest_side = 1  # latents may be that small
    config: DenoiserConfig

    def __init__(
        self, config: DenoiserConfig, *, shape: Shape, conditions: Conditions, inputs: int = 1
    ) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config = config
        self.networks = {"denoiser": Denoiser(config, shape, conditions, inputs)}

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        optimiser = self.config.optimiser
        return [Phase("denoising", ("denoiser",), self.config.learning_rate, optimiser=optimiser)]

    def training_labels(
        self, labels: Tensor | None, images: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the labels that the denoiser is told, (B, L) int64: some are hidden at random."""
        known = labels_or_zeros(labels, len(images), images.device)
        if not self.conditions.given:
            return known
        return hide_some(
            known, none=self._none(known), share=self.config.label_dropout, generator=generator
        )

    def _none(self, like: Tensor) -> Tensor:
        """Return the row that says nothing, (L,) int64."""
        return torch.tensor(self.conditions.none, device=like.device)

    def guided(
        self,
        predict_x_0: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        labels: Tensor | None,
        guidance: float,
    ) -> Tensor:
        """Return the guided expectation of the clean images, (N, C, H, W), not clipped.

        Ho and Salimans, 2022, "Classifier-free diffusion guidance", eq. 6, for the clean image
        (equal to theirs, as it is linear in the noise) and with w + 1 called w: 1 is no guidance.

        Args:
            predict_x_0: from noisy images and labels, (M, L) int64, to the expectation.
            x: (N, C, H, W) noisy images.
            labels: (N, L) int64, None when unconditional.
            guidance: w; other than 1 it takes two evaluations.
        """
        known = labels_or_zeros(labels, len(x), x.device)
        if guidance == 1:
            return predict_x_0(x, known)
        if labels is None:
            raise ValueError("expected guidance 1: the model is unconditional")
        none = self._none(known).expand_as(known)
        told, free = predict_x_0(torch.cat([x, x]), torch.cat([known, none])).chunk(2)
        return free + guidance * (told - free)


def hide_some(labels: Tensor, *, none: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return the rows (N, L), each on its own replaced by `none` (L,) with probability `share`."""
    if not share:
        return labels
    chance = torch.rand(len(labels), generator=generator, device=labels.device)
    return torch.where((chance < share)[:, None], none, labels)
