"""WGAN-GP: a critic that estimates the Wasserstein distance, held to slope 1 by a penalty.

Gulrajani et al., 2017, "Improved training of Wasserstein GANs", eq. 3 and algorithm 1: lambda 10,
five critic steps, Adam with decay rates 0 and 0.9, no batch normalisation in the critic.
Deviations: the networks are the convolutional ones of SNGAN instead of the paper's ResNets; widths
and depth follow the resolution; labels enter by a projection head (Miyato and Koyama, 2018) and
conditional batch normalisation instead of an auxiliary classifier.
"""

import torch
from torch import Tensor

from generators.algorithm.contract import Context, Shape
from generators.gan.adversarial import GAN, Loss, verdicts
from generators.gan.backbones import Discriminator, Generator
from generators.specs.conditions import Conditions
from generators.specs.gan import WGANGPConfig


class WGANGP(GAN):
    """The critic's loss has a gradient penalty between real and generated images."""

    compilable = ("generator",)
    penalised = True

    def __init__(self, config: WGANGPConfig, *, shape: Shape, conditions: Conditions) -> None:
        self.config = config
        generator = Generator(shape, config, conditions)
        critic = Discriminator(shape, config, conditions, slope=0.2, between=True)
        super().__init__(config, generator, critic, shape=shape, conditions=conditions)

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: Tensor, context: Context
    ) -> Loss:
        """Return D(G(z)) - D(x) + lambda (|grad D| - 1)^2, the gradient taken between the two."""
        real, fake = self.augmented(real, context), self.augmented(fake, context)
        critic = self.networks["discriminator"]
        logits_real, logits_fake = critic(torch.cat([real, fake]), labels.repeat(2, 1)).chunk(2)
        weight = torch.rand(len(real), 1, 1, 1, generator=context.generator, device=real.device)
        between = torch.lerp(real, fake, weight).requires_grad_()
        penalty = gradient_penalty(critic(between, labels), between)
        loss = logits_fake.mean() - logits_real.mean() + self.config.gradient_penalty * penalty
        values = {"gradient_penalty": penalty, "distance": (logits_real - logits_fake).mean()}
        return loss, verdicts(loss, logits_real, logits_fake) | values

    def generator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, context: Context) -> Loss:
        """Return -D(G(z))."""
        loss = -self.logits(fake, labels, context).mean()
        return loss, {"generator": loss}


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return the mean of (|gradient of a logit by its image| - 1)^2; logits (N,) of the images."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    penalty: Tensor = (norms - 1).square().mean()
    return penalty
