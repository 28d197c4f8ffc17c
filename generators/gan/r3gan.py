"""R3GAN: a relativistic loss with penalties at real and generated images, and plain ResNets.

Huang et al., 2024, "The GAN is dead; long live the GAN! A modern GAN baseline". The loss pairs each
real image with a generated one, f(D(G(z)) - D(x)) with f = softplus (RpGAN, Jolicoeur-Martineau,
2019), and adds gamma / 2 times R1 + R2, the squared gradients at real and at generated images, in
every step. Learning rate, Adam's beta2 and gamma follow cosines over the budget. The networks have
no normalisation, no style and no tanh: residual blocks of a 1x1, a grouped 3x3 and a 1x1
convolution, initialised in the manner of Fixup (Zhang et al., 2019), bilinear resampling between
resolutions, and a learned basis at the smallest one.

Deviations: the stages follow the resolution, and the widths too unless they are given; labels enter
the discriminator by a linear logit and the class's embedding side by side; augmentation is
DiffAugment, constant over the budget, instead of an adaptive pipeline with a growing probability;
the half-life of the average grows in proportion to the images seen instead of by a cosine.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import ConditionEncoder, condition_layer
from generators.algorithm.contract import Context, Phase, Shape
from generators.algorithm.layers import halvings
from generators.gan.adversarial import GAN, Loss, verdicts
from generators.gan.backbones import ProjectionHead
from generators.specs.conditions import Conditions
from generators.specs.gan import R3GANConfig

SLOPE = 0.2  # of the leaky ReLU below 0
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU (He et al., 2015)
LAYERS_PER_BLOCK = 3


class R3GAN(GAN):
    """Relativistic pairing loss, R1 and R2, no normalisation."""

    compilable = ("generator",)
    penalised = True

    def __init__(self, config: R3GANConfig, *, shape: Shape, conditions: Conditions) -> None:
        self.config = config
        generator = Generator(shape, config, conditions)
        discriminator = Discriminator(shape, config, conditions)
        super().__init__(config, generator, discriminator, shape=shape, conditions=conditions)

    def phases(self) -> list[Phase]:
        """Return both networks' phases, with learning rate and beta2 going to their last values."""
        config = self.config
        last = (config.beta1, config.final_beta2)
        return [
            dataclasses.replace(phase, final_betas=last, final_rate=config.final_rate)
            for phase in super().phases()
        ]

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: Tensor, context: Context
    ) -> Loss:
        """Return softplus(D(G(z)) - D(x)) + gamma / 2 (R1 + R2)."""
        images = torch.cat([real, fake]).requires_grad_()
        logits = self.logits(images, labels.repeat(2, 1), context)
        logits_real, logits_fake = logits.chunk(2)
        r1, r2 = (part.mean() for part in squared_gradients(logits, images).chunk(2))
        gamma = falling(self.config.gamma, self.config.final_gamma, context.fraction)
        adversarial = relativistic(logits_real, logits_fake)
        loss = adversarial + gamma / 2 * (r1 + r2)
        values = {"adversarial": adversarial, "r1": r1, "r2": r2}
        return loss, verdicts(loss, logits_real, logits_fake) | values

    def generator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, context: Context) -> Loss:
        """Return softplus(D(x) - D(G(z)))."""
        with torch.no_grad():
            logits_real = self.logits(real, labels, context)
        loss = relativistic(self.logits(fake, labels, context), logits_real)
        return loss, {"generator": loss}


def relativistic(higher: Tensor, lower: Tensor) -> Tensor:
    """Return how far the first logits are from being above the second, pair by pair, in nats."""
    return F.softplus(lower - higher).mean()


def squared_gradients(logits: Tensor, images: Tensor) -> Tensor:
    """Return the squared norm of each logit's gradient by its image, (N,); logits (N,)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def falling(first: float, last: float, fraction: float) -> float:
    """Return the value at a part of the budget, on a half cosine from the first to the last."""
    return last + (first - last) * (0.5 + 0.5 * math.cos(math.pi * fraction))


class Generator(nn.Module):
    """Latent vector and class to image: a basis, then blocks and doublings."""

    def __init__(self, shape: Shape, config: R3GANConfig, conditions: Conditions) -> None:
        super().__init__()
        image_channels, height, width = shape
        widths = stage_widths(shape, config, config.generator_channels)[::-1]
        ups = len(widths) - 1
        self.condition = ConditionEncoder(conditions)
        self.embed = condition_layer(conditions, config.latent_dim)
        self.basis = nn.Parameter(torch.randn(widths[0], height >> ups, width >> ups))
        self.weigh = _linear(2 * config.latent_dim, widths[0])
        self.stages = nn.ModuleList(
            Stage(wide, narrow, config, blocks=config.blocks * len(widths))
            for wide, narrow in zip([widths[0], *widths], widths, strict=False)
        )
        self.to_image = _convolution(widths[-1], image_channels)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return images (N, C, H, W), about [-1, 1]; z: (N, latent_dim), labels: (N, L) int64."""
        told = self.embed(self.condition(labels).pooled)
        weights = self.weigh(torch.cat([z, told], dim=1))
        x = self.basis * weights[:, :, None, None]  # (batch, channels, height, width)
        for index, stage in enumerate(self.stages):
            x = stage(doubled(x) if index else x)
        images: Tensor = self.to_image(x)
        return images


class Discriminator(nn.Module):
    """Image and class to logit: blocks and halvings, then a basis and a projection head."""

    def __init__(self, shape: Shape, config: R3GANConfig, conditions: Conditions) -> None:
        super().__init__()
        image_channels, height, width = shape
        widths = stage_widths(shape, config, config.discriminator_channels)
        downs = len(widths) - 1
        self.from_image = _convolution(image_channels, widths[0])
        self.stages = nn.ModuleList(
            Stage(narrow, wide, config, blocks=config.blocks * len(widths))
            for narrow, wide in zip([widths[0], *widths], widths, strict=False)
        )
        self.basis = nn.Conv2d(
            widths[-1], widths[-1], (height >> downs, width >> downs), groups=widths[-1], bias=False
        )
        nn.init.normal_(self.basis.weight, std=_fan_in(self.basis.weight) ** -0.5)
        self.condition = ConditionEncoder(conditions)
        self.head = ProjectionHead(widths[-1], conditions)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (N,); images: (N, C, H, W) in [-1, 1], labels: (N, L) int64."""
        x = self.from_image(images)
        for index, stage in enumerate(self.stages):
            x = stage(F.avg_pool2d(x, 2) if index else x)
        logits: Tensor = self.head(self.basis(x).flatten(1), self.condition(labels))
        return logits


class Stage(nn.Sequential):
    """The blocks of one resolution, after a 1x1 convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int, config: R3GANConfig, *, blocks: int) -> None:
        change = [] if inputs == outputs else [_convolution(inputs, outputs)]
        own = [ResidualBlock(outputs, config, blocks=blocks) for _ in range(config.blocks)]
        super().__init__(*change, *own)


class ResidualBlock(nn.Module):
    """x plus a 1x1, a grouped 3x3 and a 1x1 convolution of it; the last begins at zero.

    The others begin smaller by blocks^(-1/(2m-2)), m = 3 layers: Zhang et al., 2019, "Fixup
    initialization", so that a network of any depth begins as one without blocks and learns at the
    same speed.
    """

    def __init__(self, channels: int, config: R3GANConfig, *, blocks: int) -> None:
        super().__init__()
        inner = channels * config.expansion
        groups = max(inner // config.group_channels, 1)
        while inner % groups:
            groups -= 1
        gain = GAIN * blocks ** (-1 / (2 * LAYERS_PER_BLOCK - 2))
        self.widen = _convolution(channels, inner, gain=gain, bias=True)
        self.mix = _convolution(inner, inner, 3, groups=groups, gain=gain, bias=True)
        self.narrow = _convolution(inner, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (N, C, H, W)."""
        h = F.leaky_relu(self.widen(x), SLOPE)
        h = F.leaky_relu(self.mix(h), SLOPE)
        y: Tensor = x + self.narrow(h)
        return y


def stage_widths(shape: Shape, config: R3GANConfig, channels: int) -> list[int]:
    """Return the channels at each resolution from the full one down, a halving apart."""
    levels = halvings(*shape[1:])
    channels = channels or (16 if max(shape[1:]) <= 32 else 32)
    most = config.most_channels or 8 * channels
    return [min(channels * 2**level, most) for level in range(levels + 1)]


def doubled(x: Tensor) -> Tensor:
    """Return images of twice the height and width by bilinear interpolation, (N, C, 2H, 2W).

    As `F.interpolate` does it, whose gradient on GPUs differs in its last bits from run to run.
    """
    for dim in (2, 3):
        last = x.shape[dim] - 1
        before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, last)], dim)
        after = torch.cat([x.narrow(dim, 1, last), x.narrow(dim, last, 1)], dim)
        halves = torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], dim + 1)
        x = halves.flatten(dim, dim + 1)
    return x


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    groups: int = 1,
    gain: float = 1.0,
    bias: bool = False,
) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, std=gain * _fan_in(layer.weight) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=_fan_in(layer.weight) ** -0.5)
    return layer


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()
