"""What every GAN does: two networks, two phases, latent vectors, one pass to draw an image."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

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
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.gan.augment import augment
from generators.specs.conditions import Conditions
from generators.specs.gan import GANConfig
from generators.specs.options import DirectSampler, SamplerConfig

Loss = tuple[Tensor, dict[str, Tensor]]


class GAN(Algorithm):
    """A generator and a discriminator that learn in turn.

    Goodfellow et al., 2014, "Generative adversarial networks". Generated images have the labels of
    the batch's real ones, so that both come from the same classes.
    """

    sampling_networks = ("generator",)
    obeys_words = True
    penalised: ClassVar[bool] = False  # a double backward goes through the discriminator

    def __init__(
        self,
        config: GANConfig,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        shape: Shape,
        conditions: Conditions,
    ) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.gan_config = config
        self.networks = {"generator": generator, "discriminator": discriminator}

    @abstractmethod
    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: Tensor, context: Context
    ) -> Loss:
        """Return the discriminator's loss; images (N, C, H, W), labels (N, L) of both."""

    @abstractmethod
    def generator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, context: Context) -> Loss:
        """Return the generator's loss; arguments as for the discriminator's."""

    def phases(self) -> list[Phase]:
        """Return the discriminator's phase, and the generator's in each n-th step."""
        config = self.gan_config
        betas = (config.beta1, config.beta2)
        return [
            Phase(
                "discriminator",
                ("discriminator",),
                config.discriminator_learning_rate,
                betas,
                autocast=not self.penalised,
            ),
            Phase(
                "generator",
                ("generator",),
                config.learning_rate,
                betas,
                every=config.discriminator_steps,
            ),
        ]

    def loss(self, phase: str, batch: Batch, context: Context) -> Loss:
        """Return the loss of the discriminator or the generator."""
        real, count = batch.images, len(batch.images)
        labels = labels_or_zeros(batch.labels, count, real.device)
        z = torch.randn(
            count, self.gan_config.latent_dim, generator=context.generator, device=real.device
        )
        if phase == "discriminator":
            with torch.no_grad():
                fake = self.networks["generator"](z, labels)
            return self.discriminator_loss(real, fake, labels, context)
        return self.generator_loss(real, self.networks["generator"](z, labels), labels, context)

    def augmented(self, images: Tensor, context: Context) -> Tensor:
        """Return the images as the discriminator is to see them."""
        return augment(images, self.gan_config.diff_augment, context.generator)

    def logits(self, images: Tensor, labels: Tensor, context: Context) -> Tensor:
        """Return the discriminator's verdict on images it sees augmented, (N,)."""
        verdict: Tensor = self.networks["discriminator"](self.augmented(images, context), labels)
        return verdict

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return the generator's images of latent vectors at the sampler's temperature."""
        temperature = expect_sampler(sampler, DirectSampler).temperature
        z = noise.normal(self.gan_config.latent_dim) * temperature
        images: Tensor = networks["generator"](z, labels_or_zeros(labels, len(z), z.device))
        return images.clamp(-1, 1)


def verdicts(loss: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Return what to plot of a discriminator's step: its loss and its mean logits."""
    return {"discriminator": loss, "logit_real": real.mean(), "logit_fake": fake.mean()}
