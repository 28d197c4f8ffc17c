"""DCGAN: the convolutional GAN everything after it builds on, with the non-saturating loss.

Radford et al., 2016, "Unsupervised representation learning with deep convolutional generative
adversarial networks"; the loss is that of Goodfellow et al., 2014, section 3: the generator raises
log D(G(z)) instead of lowering log(1 - D(G(z))). Deviations: widths and depth follow the
resolution; a 3x3 convolution at full resolution begins the discriminator and ends the generator;
where labels exist, the generator has conditional batch normalisation and the discriminator a
projection head (Miyato and Koyama, 2018). The `paper` preset's budget is that of StudioGAN's CIFAR-10 table, for the paper has no CIFAR-10 samples.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import WordLayer
from generators.algorithm.contract import Context, Shape
from generators.gan.adversarial import GAN, Loss, verdicts
from generators.gan.backbones import Discriminator, Generator
from generators.specs.conditions import Conditions
from generators.specs.gan import DCGANConfig

INITIAL_STD = 0.02  # of weights


class DCGAN(GAN):
    """Batch normalisation in both networks, non-saturating loss."""

    compilable = ("generator", "discriminator")

    def __init__(self, config: DCGANConfig, *, shape: Shape, conditions: Conditions) -> None:
        generator = Generator(shape, config, conditions)
        discriminator = Discriminator(
            shape, config, conditions, slope=0.2, between=False, norm=nn.BatchNorm2d
        )
        super().__init__(config, generator, discriminator, shape=shape, conditions=conditions)
        for network in (generator, discriminator):
            network.apply(_initialise)

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: Tensor, context: Context
    ) -> Loss:
        """Return -log D(x) - log(1 - D(G(z))), with a batch's statistics for each of the two."""
        logits_real = self.logits(real, labels, context)
        logits_fake = self.logits(fake, labels, context)
        loss = F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()
        return loss, verdicts(loss, logits_real, logits_fake)

    def generator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, context: Context) -> Loss:
        """Return -log D(G(z))."""
        loss = F.softplus(-self.logits(fake, labels, context)).mean()
        return loss, {"generator": loss}


def _initialise(layer: nn.Module) -> None:
    """Draw weights from N(0, 0.02), as in section 4 of the paper, but for those of conditions."""
    if isinstance(layer, WordLayer):
        return
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, std=INITIAL_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
