"""SNGAN: spectral normalisation, hinge loss, class-conditional, on a DCGAN-size backbone.

Miyato et al., 2018, "Spectral normalization for generative adversarial networks", eqs. 16 and 17
and the networks of table 3; the projection discriminator and conditional batch normalisation are
Miyato and Koyama, 2018, "cGANs with projection discriminator". Deviations: widths and depth follow
the resolution, the generator has the class's embedding beside the latent vector as well, and the
discriminator sees real and generated images in one batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name
from torch.nn.utils.parametrizations import spectral_norm

from generators.algorithm.contract import Context, Shape
from generators.gan.adversarial import GAN, Loss, verdicts
from generators.gan.backbones import Discriminator, Generator
from generators.specs.conditions import Conditions
from generators.specs.gan import SNGANConfig


class SNGAN(GAN):
    """Every weight of the discriminator has spectral norm 1; hinge loss."""

    compilable = ("generator",)

    def __init__(self, config: SNGANConfig, *, shape: Shape, conditions: Conditions) -> None:
        generator = Generator(shape, config, conditions, class_beside_latent=True)
        discriminator = Discriminator(
            shape, config, conditions, slope=0.1, between=True, wrap=spectral_norm
        )
        super().__init__(config, generator, discriminator, shape=shape, conditions=conditions)

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: Tensor, context: Context
    ) -> Loss:
        """Return max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
        # one batch: each call refines the estimates of the spectral norms
        logits = self.logits(torch.cat([real, fake]), labels.repeat(2, 1), context)
        logits_real, logits_fake = logits.chunk(2)
        loss = F.relu(1 - logits_real).mean() + F.relu(1 + logits_fake).mean()
        return loss, verdicts(loss, logits_real, logits_fake)

    def generator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, context: Context) -> Loss:
        """Return -D(G(z))."""
        loss = -self.logits(fake, labels, context).mean()
        return loss, {"generator": loss}
