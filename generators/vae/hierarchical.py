"""A hierarchical variational autoencoder with several stochastic layers on each grid.

Child, 2021, "Very deep VAEs generalize autoregressive models and can outperform them on images"
(VDVAE): bottleneck residual blocks without normalisation, last convolutions scaled by
1/sqrt(number of blocks), nearest up-sampling, learned biases, AdamW with betas of 0.9, steps of
large gradients skipped. The likelihood is that of Salimans et al., 2017 (`logistic.py`).

Deviations: classes have an embedding that is added to each grid's bias; grids halve (rounded up)
from the image's to 1x1, so that any size works; on a grid without stochastic layers the decoder has
as many residual blocks as the encoder, and one without either is passed over (where it is the
image's own, each place of the finest grid describes a square of pixels); the posteriors' blocks belong to the encoder, as sampling needs none of them; the weight of the KL may
rise over the first part of the budget (Sønderby et al., 2016, "Ladder variational autoencoders"),
and a part of each layer's KL may be free (Kingma et al., 2016, "Improved variational inference with
inverse autoregressive flow", eq. 15): at small budgets latents are abandoned before they are of use.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.contract import (
    Algorithm,
    Batch,
    Context,
    OnStep,
    Phase,
    Shape,
    Step,
    expect_sampler,
    reported,
)
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.specs.options import SamplerConfig
from generators.specs.vae import HierarchicalSampler, HierarchicalVAEConfig, counts
from generators.vae.logistic import LogisticMixtures, parameters_per_pixel

ACTIVE_NATS = 0.01  # a unit of less KL, on average over images, is not used
SMALLEST_FOR_3X3 = 3  # pixels; on smaller grids convolutions are 1x1


class Grid(NamedTuple):
    """One resolution of the hierarchy."""

    height: int
    width: int
    layers: int  # stochastic layers of the decoder
    blocks: int  # residual blocks of the encoder, and of the decoder where it has no such layers


class Sizes(NamedTuple):
    """The sizes that are the same on every grid."""

    width: int  # channels of features
    middle: int  # channels within a block
    latent: int  # channels of a latent
    patch: int  # side of the square of pixels that a place of the finest grid describes


class Latent(NamedTuple):
    """A stochastic layer's draw, and the posterior and the prior it is between; (N, Z, H, W)."""

    z: Tensor
    mean: Tensor
    log_scale: Tensor
    prior_mean: Tensor
    prior_log_scale: Tensor


class HierarchicalVAE(Algorithm):
    """Encoder and decoder; sampling needs the decoder alone."""

    sampling_networks = ("decoder",)
    other_networks = ("encoder",)
    compilable = ("decoder", "encoder")

    def __init__(self, config: HierarchicalVAEConfig, *, shape: Shape, num_classes: int) -> None:
        super().__init__(shape=shape, num_classes=num_classes)
        self.config = config
        grids = grids_of(config, shape[1:])
        width = config.width or _width_for(max(shape[1:]))
        latents = config.latent_channels
        outputs = parameters_per_pixel(shape[0], config.mixtures)
        patch = patch_of(grids, shape[1:])
        self.latent_shapes = [
            (latents, grid.height, grid.width) for grid in grids for _ in range(grid.layers)
        ]
        self._top = sum(self.latent_shapes[0] == other for other in self.latent_shapes)
        sizes = Sizes(width, max(1, round(config.bottleneck * width)), latents, patch)
        self.networks = {
            "encoder": Encoder(shape[0], grids, sizes),
            "decoder": Decoder(outputs, max(num_classes, 1), grids, sizes),
        }

    def phases(self) -> list[Phase]:
        """Return the one phase that moves both networks."""
        config = self.config
        return [
            Phase(
                "elbo",
                ("encoder", "decoder"),
                config.learning_rate,
                betas=(0.9, 0.9),
                weight_decay=config.weight_decay,
            )
        ]

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence lower bound, in nats per pixel value."""
        x = batch.images
        epsilons = [
            torch.randn(len(x), *shape, generator=context.generator, device=x.device)
            for shape in self.latent_shapes
        ]
        mixtures, latents = self._infer(self.networks, x, batch.labels, epsilons)
        size = math.prod(self.shape)
        distortion = -mixtures.log_probability(x).mean() / size
        rates = torch.stack([kl_divergence(latent).mean() for latent in latents])
        priced = rates.clamp_min(self.config.free_nats).sum() / size
        weight = min(1.0, context.fraction / self.config.kl_warmup) if self.config.kl_warmup else 1
        rate = rates.sum() / size
        elbo = distortion + rate
        values = {"elbo": elbo, "bpd": elbo / math.log(2), "distortion": distortion, "kl": rate}
        return distortion + weight * priced, values

    def _infer(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        epsilons: Sequence[Tensor] | None,
    ) -> tuple[LogisticMixtures, list[Latent]]:
        """Return the images' distribution and latents; without noise, the latents' means."""
        encoder = networks["encoder"]
        classes = labels_or_zeros(labels, len(images), images.device)
        noise = self._zeros(images) if epsilons is None else epsilons
        parameters, latents = networks["decoder"](
            classes, noise, encoder(images), encoder.posteriors
        )
        return self._mixtures(parameters), latents

    def _mixtures(self, parameters: Tensor) -> LogisticMixtures:
        """Return the distributions of the image's pixels; parameters may go beyond its edges."""
        _, height, width = self.shape
        return LogisticMixtures(parameters[..., :height, :width], self.shape[0])

    def _zeros(self, like: Tensor) -> list[Tensor]:
        return [like.new_zeros(len(like), *shape) for shape in self.latent_shapes]

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return images of latents from the priors, pixels as the sampler has it.

        Step k of n shows the mean image of the latents of k + 1 layers, the other layers' being at
        their means; its time is the part of the layers that are still so.
        """
        chosen = expect_sampler(sampler, HierarchicalSampler)
        epsilons = [chosen.temperature * noise.normal(*shape) for shape in self.latent_shapes]
        classes = labels_or_zeros(labels, len(noise), noise.device)
        if on_step is not None:
            self._report(networks["decoder"], classes, epsilons, on_step)
        parameters, _ = networks["decoder"](classes, epsilons)
        mixtures = self._mixtures(parameters)
        if chosen.pixels == "mean":
            return mixtures.mean()
        choice = noise.uniform(*mixtures.logits.shape[1:])
        return mixtures.sample(choice, noise.uniform(*self.shape))

    def _report(
        self, decoder: nn.Module, classes: Tensor, epsilons: list[Tensor], on_step: OnStep
    ) -> None:
        count, zeros = len(epsilons), [torch.zeros_like(epsilon) for epsilon in epsilons]
        images = []
        for known in range(count + 1):
            parameters, _ = decoder(classes, epsilons[:known] + zeros[known:])
            images.append(self._mixtures(parameters).mean())
        for index in range(count):
            time = (count - index - 1) / count
            reported(on_step, Step(index, count, time, x=images[index], x_0=images[index + 1]))

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the posterior means of the latents of the coarsest grid, (N, D)."""
        _, latents = self._infer(networks, images, labels, None)
        return torch.cat([latent.mean.flatten(1) for latent in latents[: self._top]], dim=1)

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the mean images of the latents' posterior means."""
        return self._infer(networks, images, labels, None)[0].mean()

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return `elbo` (the mean over samples, KL in closed form) and `iwae` of as many samples.

        Burda et al., 2016, "Importance weighted autoencoders", eq. 8.
        """
        bounds, weights = [], []
        for _ in range(samples):
            epsilons = [
                torch.randn(len(images), *shape, generator=generator, device=images.device)
                for shape in self.latent_shapes
            ]
            mixtures, latents = self._infer(networks, images, labels, epsilons)
            likelihood = mixtures.log_probability(images).double()
            bounds.append(likelihood - sum_of(kl_divergence(latent) for latent in latents).double())
            weights.append(likelihood + sum_of(log_ratio(latent) for latent in latents).double())
        iwae = torch.logsumexp(torch.stack(weights), 0) - math.log(samples)
        nats = {"elbo": torch.stack(bounds).mean(0), "iwae": iwae}
        return {
            name: -value / (math.prod(self.shape) * math.log(2)) for name, value in nats.items()
        }

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        """Return how many latent units, of all grids, have a KL above 0.01 nats on average.

        Sønderby et al., 2016: where a prior depends on the latents above it, the variance of a
        posterior's mean does not tell whether the unit is used; its KL does.
        """
        _, latents = self._infer(networks, images, labels, None)
        active = sum_of((kl_of_units(latent).mean(0) > ACTIVE_NATS).sum() for latent in latents)
        return {"active_units": float(active), "codebook_usage": "its codes are continuous"}


# --- Gaussians ----------------------------------------------------------------------------------


def kl_of_units(latent: Latent) -> Tensor:
    """Return KL(posterior || prior) of each unit in nats, (N, Z, H, W)."""
    log_scale = latent.log_scale - latent.prior_log_scale
    shift = (latent.mean - latent.prior_mean) * torch.exp(-latent.prior_log_scale)
    return 0.5 * (shift.square() + torch.exp(2 * log_scale) - 1) - log_scale


def kl_divergence(latent: Latent) -> Tensor:
    """Return KL(posterior || prior) in nats, (N,)."""
    return kl_of_units(latent).sum((1, 2, 3))


def log_ratio(latent: Latent) -> Tensor:
    """Return log prior(z) - log posterior(z) in nats, (N,)."""
    posterior = (latent.z - latent.mean) * torch.exp(-latent.log_scale)
    prior = (latent.z - latent.prior_mean) * torch.exp(-latent.prior_log_scale)
    log_scale = latent.log_scale - latent.prior_log_scale
    return (log_scale + 0.5 * (posterior.square() - prior.square())).sum((1, 2, 3))


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of at least one tensor."""
    return torch.stack(list(tensors)).sum(0)


# --- sizes --------------------------------------------------------------------------------------


def grids_of(config: HierarchicalVAEConfig, size: tuple[int, int]) -> list[Grid]:
    """Return the grids that have stochastic layers or blocks, the coarsest first."""
    layers = counts(config.stochastic_layers) or _layers_for(max(size))
    blocks = counts(config.encoder_blocks) or layers
    sides = _sides(*size)
    parts = zip(sides, _padded(layers, len(sides)), _padded(blocks, len(sides)), strict=True)
    grids = [Grid(*side, here, there) for side, here, there in parts if here or there]
    return grids[::-1]


def patch_of(grids: list[Grid], size: tuple[int, int]) -> int:
    """Return the side of the square of pixels that a place of the finest grid describes."""
    finest = (grids[-1].height, grids[-1].width)
    halved = _sides(*size).index(finest)
    return 1 << halved


def _sides(height: int, width: int) -> list[tuple[int, int]]:
    """Return heights and widths, each half of the one before (rounded up), until 1x1."""
    sides = [(height, width)]
    while max(sides[-1]) > 1:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides


def _padded(numbers: list[int], count: int) -> list[int]:
    """Return the first `count` numbers, with zeros where there are fewer."""
    return [*numbers, *[0] * count][:count]


def _layers_for(side: int) -> list[int]:
    return (
        [1, 2, 2, 1] if side <= 16 else [1, 2, 3, 2, 0, 1] if side <= 28 else [2, 3, 3, 2, 1, 0, 1]
    )


def _width_for(side: int) -> int:
    return 32 if side <= 16 else 48 if side <= 28 else 96


def _kernel(grid: Grid) -> int:
    return 3 if min(grid.height, grid.width) >= SMALLEST_FOR_3X3 else 1


# --- networks -----------------------------------------------------------------------------------


class Block(nn.Sequential):
    """The bottleneck: four convolutions to fewer channels and back, each after a GELU."""

    def __init__(
        self, channels: int, outputs: int, middle: int, kernel: int, *, scale: float = 1.0
    ) -> None:
        last = _conv(middle, outputs, 1)
        with torch.no_grad():
            last.weight.mul_(scale)
        super().__init__(
            nn.GELU(),
            _conv(channels, middle, 1),
            nn.GELU(),
            _conv(middle, middle, kernel),
            nn.GELU(),
            _conv(middle, middle, kernel),
            nn.GELU(),
            last,
        )


class ResidualBlock(nn.Module):
    """Features plus their block."""

    def __init__(self, sizes: Sizes, kernel: int, scale: float) -> None:
        super().__init__()
        self.block = Block(sizes.width, sizes.width, sizes.middle, kernel, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, width, H, W), as x is."""
        changed: Tensor = x + self.block(x)
        return changed


class Encoder(nn.Module):
    """Image to features on every grid; it holds the blocks of the posteriors as well."""

    def __init__(self, image_channels: int, grids: list[Grid], sizes: Sizes) -> None:
        super().__init__()
        scale = _depth_scale(sum(grid.blocks for grid in grids))
        self.patch = sizes.patch
        self.sides = [(grid.height, grid.width) for grid in grids]
        self.first = _conv(image_channels * sizes.patch**2, sizes.width, 3)
        self.blocks = nn.ModuleList(  # by grid, the coarsest first
            nn.Sequential(*(ResidualBlock(sizes, _kernel(grid), scale) for _ in range(grid.blocks)))
            for grid in grids
        )
        self.posteriors = nn.ModuleList(  # by stochastic layer, from the top
            Block(2 * sizes.width, 2 * sizes.latent, sizes.middle, _kernel(grid))
            for grid in grids
            for _ in range(grid.layers)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features by grid, the coarsest first, each (N, width, H, W)."""
        beyond = (0, -images.shape[3] % self.patch, 0, -images.shape[2] % self.patch)
        x = self.first(F.pixel_unshuffle(F.pad(images, beyond), self.patch))
        features = []
        for side, blocks in zip(reversed(self.sides), reversed(self.blocks), strict=True):
            if side != x.shape[2:]:
                x = F.adaptive_avg_pool2d(x, side)
            x = blocks(x)
            features.append(x)
        return features[::-1]


class Decoder(nn.Module):
    """Classes and noise to the parameters of every pixel's distribution."""

    def __init__(self, outputs: int, num_classes: int, grids: list[Grid], sizes: Sizes) -> None:
        super().__init__()
        scale = _depth_scale(sum(grid.layers or grid.blocks for grid in grids))
        width = sizes.width
        self.biases = nn.ParameterList(
            torch.zeros(1, width, grid.height, grid.width) for grid in grids
        )
        self.embeds = nn.ModuleList(nn.Embedding(num_classes, width) for _ in grids)
        self.layers = nn.ModuleList(  # by grid, the coarsest first
            nn.ModuleList(_decoder_layers(grid, sizes, scale)) for grid in grids
        )
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))
        self.last = _conv(width, outputs * sizes.patch**2, 1)
        self.patch = sizes.patch

    def forward(
        self,
        labels: Tensor,
        noise: Sequence[Tensor],
        features: Sequence[Tensor] | None = None,
        posteriors: nn.ModuleList | None = None,
    ) -> tuple[Tensor, list[Latent]]:
        """Return the parameters of the pixels (N, outputs, H, W), and the latents from the top.

        Args:
            labels: (N,) int64.
            noise: of each stochastic layer from the top, (N, Z, H, W); zeros mean its mean.
            features: of the encoder; None draws from the priors.
            posteriors: blocks of the encoder, one for each stochastic layer.
        """
        h, latents = torch.zeros_like(self.gain), list[Latent]()
        for grid, (bias, embed) in enumerate(zip(self.biases, self.embeds, strict=True)):
            h = F.interpolate(h, bias.shape[2:], mode="nearest")
            h = h + bias + embed(labels)[:, :, None, None]
            for layer in self.layers[grid]:  # type: ignore[attr-defined]  # a ModuleList
                if isinstance(layer, ResidualBlock):
                    h = layer(h)
                    continue
                index = len(latents)
                believed = None
                if features is not None and posteriors is not None:
                    believed = posteriors[index](torch.cat([h, features[grid]], dim=1))
                h, latent = layer(h, noise[index], believed)
                latents.append(latent)
        return F.pixel_shuffle(self.last(h * self.gain), self.patch), latents


def _decoder_layers(grid: Grid, sizes: Sizes, scale: float) -> list[nn.Module]:
    if not grid.layers:
        return [ResidualBlock(sizes, _kernel(grid), scale) for _ in range(grid.blocks)]
    return [StochasticLayer(sizes, _kernel(grid), scale) for _ in range(grid.layers)]


class StochasticLayer(nn.Module):
    """A latent on a grid: its prior, and what its value adds to the features."""

    def __init__(self, sizes: Sizes, kernel: int, scale: float) -> None:
        super().__init__()
        width, latent = sizes.width, sizes.latent
        self.parts = [latent, latent, width]
        self.prior = Block(width, sum(self.parts), sizes.middle, kernel, scale=0)
        self.project = _conv(latent, width, 1)
        self.residual = ResidualBlock(sizes, kernel, scale)
        with torch.no_grad():
            self.project.weight.mul_(scale)

    def forward(self, h: Tensor, noise: Tensor, posterior: Tensor | None) -> tuple[Tensor, Latent]:
        """Return the features with the latent's value in them, (N, width, H, W), and the latent.

        Args:
            h: (N, width, H, W).
            noise: (N, Z, H, W).
            posterior: mean and log scale, (N, 2 Z, H, W); None draws from the prior.
        """
        mean, log_scale, shift = self.prior(h).split(self.parts, dim=1)
        prior = (mean.float(), log_scale.float())  # a sum of many small terms follows
        mean, log_scale = prior if posterior is None else posterior.float().chunk(2, dim=1)
        z = mean + torch.exp(log_scale) * noise
        h = h + shift + self.project(z)
        return self.residual(h), Latent(z, mean, log_scale, *prior)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps the size; its bias begins at 0."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return layer


def _depth_scale(blocks: int) -> float:
    """Return the scale of a residual block's last convolution."""
    return 1 / math.sqrt(max(1, blocks))
