"""A convolutional variational autoencoder, class-conditional, in its beta and sigma variants.

Kingma and Welling, 2014, "Auto-encoding variational Bayes"; beta: Higgins et al., 2017,
"beta-VAE"; sigma: Rybkin et al., 2021, "Simple and effective VAE training with calibrated
decoders", the optimal variance of a batch in closed form (eq. 7). Bounds: Burda et al., 2016,
"Importance weighted autoencoders", eq. 8, and their active units. Sampler `gmm`: Ghosh et al.,
2020, see `mixture`.

Deviations: group normalisation and SiLU; the `paper` preset has Ghosh et al.'s widths and latent
size for CIFAR-10 but three halvings in place of four and at most 512 channels. Likelihoods are of
256 levels, with the variance that the loss implies: 1 in the beta variant (far from the errors, so
its bounds are loose), the mean squared error of recent batches in the sigma variant.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import ConditionEncoder, condition_layer
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
from generators.specs.conditions import Conditions
from generators.specs.options import DirectSampler, SamplerConfig
from generators.specs.vae import ConvVAEConfig, GMMSampler
from generators.vae.grids import cropped, depth_for, grid_of, padded
from generators.vae.likelihoods import (
    SMALLEST_VARIANCE,
    RunningError,
    bits_per_value,
    log_discretised_gaussian,
    log_normal,
)
from generators.vae.mixture import LatentMixture

MOST_CHANNELS = 512
LABEL_DIM = 32  # size of the class embedding
LEAST_ACTIVE = 0.01  # variance of the posterior's mean above which a unit is active


class ConvVAE(Algorithm):
    """Encoder, decoder and the mixture that is fitted to the codes after training."""

    sampling_networks = ("decoder", "mixture")
    other_networks = ("encoder",)
    obeys_words = True
    compilable = ("encoder", "decoder")

    def __init__(self, config: ConvVAEConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config = config
        side = max(shape[1:])
        self.latent_dim = config.latent_dim or (16 if side <= 16 else 32 if side <= 28 else 128)
        channels = config.base_channels or (32 if side <= 28 else 64)
        mixtures = 1 if conditions.by_text else max(conditions.classes, 1)
        self.networks = {
            "encoder": Encoder(shape, self.latent_dim, channels, conditions),
            "decoder": Decoder(shape, self.latent_dim, channels, conditions),
            "mixture": LatentMixture(self.latent_dim, config.mixture_components, mixtures),
        }

    def phases(self) -> list[Phase]:
        """Return the one phase that moves both networks."""
        return [Phase("elbo", ("encoder", "decoder"), self.config.learning_rate)]

    def begin(self, phase: str, averages: Mapping[str, nn.Module]) -> None:
        """Forget the mixture of the weights that the training begins with."""
        _mixture(self.networks).clear()

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence lower bound, in nats per pixel value."""
        x = batch.images
        labels = labels_or_zeros(batch.labels, len(x), x.device)
        mu, log_variance = _posterior(self.networks, x, labels)
        z = _drawn(mu, log_variance, context.generator)
        mse = F.mse_loss(self.networks["decoder"](z, labels), x)
        _decoder(self.networks).error.update(mse)
        kl = kl_to_standard_normal(mu, log_variance).mean() / math.prod(self.shape)
        likelihood = self._negative_log_likelihood(mse)
        loss = likelihood + self.config.beta * kl
        return loss, {"elbo": loss, "mse": mse, "kl": kl}

    def _negative_log_likelihood(self, mse: Tensor) -> Tensor:
        """Return -log p(x|z) per pixel value, up to a constant."""
        if self.config.variant == "beta":
            return 0.5 * mse
        return 0.5 * torch.log(mse.clamp_min(SMALLEST_VARIANCE))

    def finish(
        self, averages: Mapping[str, nn.Module], batches: Iterable[Batch], seed: int
    ) -> None:
        """Fit the mixture to one draw from the posterior of each training image."""
        if not self.config.mixture_components:
            return
        device = next(averages["encoder"].parameters()).device
        generator = torch.Generator(device).manual_seed(seed)

        def codes() -> Iterable[tuple[Tensor, Tensor | None]]:
            for batch in batches:
                labels = labels_or_zeros(batch.labels, len(batch.images), device)
                posterior = _posterior(averages, batch.images, labels)
                yield _drawn(*posterior, generator), self._classes(labels)

        _mixture(averages).fit(codes(), seed)

    def _classes(self, labels: Tensor) -> Tensor:
        """Return which mixture a row belongs to, (N,): captions have one in common."""
        return labels.new_zeros(len(labels)) if self.conditions.by_text else labels[:, 0]

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return the decoder's means of codes from the prior, or from the mixture."""
        labels = labels_or_zeros(labels, len(noise), noise.device)
        if isinstance(sampler, GMMSampler):
            z = _mixture(networks).draw(self._classes(labels), noise, sampler.temperature)
        else:
            z = noise.normal(self.latent_dim) * expect_sampler(sampler, DirectSampler).temperature
        images: Tensor = networks["decoder"](z, labels)
        return images

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the posterior's mean of each image, (N, latent_dim)."""
        labels = labels_or_zeros(labels, len(images), images.device)
        return _posterior(networks, images, labels)[0]

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the decoder's means of the posteriors' means."""
        labels = labels_or_zeros(labels, len(images), images.device)
        x_hat: Tensor = networks["decoder"](_posterior(networks, images, labels)[0], labels)
        return x_hat

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return the bounds of the ELBO and of IWAE-K with K = samples; the same draws for both."""
        labels = labels_or_zeros(labels, len(images), images.device)
        variance = _decoder(networks).error.variance() if self.config.variant == "sigma" else 1.0
        mu, log_variance = _posterior(networks, images, labels)
        likelihoods, log_weights = [], []
        for _ in range(samples):
            z = _drawn(mu, log_variance, generator)
            log_p = log_discretised_gaussian(images, networks["decoder"](z, labels), variance)
            zeros = torch.zeros_like(z)
            log_ratio = log_normal(z, zeros, zeros) - log_normal(z, mu, log_variance)
            likelihoods.append(log_p)
            log_weights.append(log_p + log_ratio)
        elbo = torch.stack(likelihoods).mean(0) - kl_to_standard_normal(
            mu.double(), log_variance.double()
        )
        iwae = torch.stack(log_weights).logsumexp(0) - math.log(samples)
        return {"elbo": bits_per_value(elbo, images), "iwae": bits_per_value(iwae, images)}

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        """Return the number of active units: those whose posterior's mean follows the image."""
        variances = self.encode(networks, images, labels).var(0, correction=0)
        return {
            "active_units": float((variances > LEAST_ACTIVE).sum()),
            "codebook_usage": "codes are continuous: there is no codebook",
        }


def kl_to_standard_normal(mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mu, exp(log_variance)) || N(0, 1)) in nats, (N,); both arguments (N, D)."""
    return 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance).sum(1)


def _posterior(
    networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and log variance of q(z|x), (N, D) each."""
    mu, log_variance = networks["encoder"](images, labels).chunk(2, dim=1)
    return mu, log_variance


def _drawn(mu: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw from each posterior, (N, D)."""
    epsilon = torch.randn(mu.shape, generator=generator, device=mu.device)
    return mu + torch.exp(0.5 * log_variance) * epsilon


def _decoder(networks: Mapping[str, nn.Module]) -> "Decoder":
    return cast(Decoder, networks["decoder"])


def _mixture(networks: Mapping[str, nn.Module]) -> LatentMixture:
    return cast(LatentMixture, networks["mixture"])


class Encoder(nn.Module):
    """Image and class to the mean and log variance of the posterior."""

    def __init__(
        self, shape: Shape, latent_dim: int, channels: int, conditions: Conditions
    ) -> None:
        super().__init__()
        image_channels, height, width = shape
        self.depth = depth_for(height, width)
        widths = _widths(channels, self.depth)
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), nn.SiLU()]
        for narrow, wide in itertools.pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), _norm(wide), nn.SiLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        features = widths[-1] * math.prod(grid_of(height, width, self.depth))
        self.condition = ConditionEncoder(conditions)
        self.embed = condition_layer(conditions, LABEL_DIM)
        self.posterior = nn.Linear(features + LABEL_DIM, 2 * latent_dim)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return mean and log variance side by side, (N, 2 * latent_dim)."""
        features = self.convolutions(padded(images, self.depth))
        told = self.embed(self.condition(labels).pooled)
        posterior: Tensor = self.posterior(torch.cat([features, told], dim=1))
        return posterior


class Decoder(nn.Module):
    """Latent vector and class to the mean image; knows how far it was from real images."""

    def __init__(
        self, shape: Shape, latent_dim: int, channels: int, conditions: Conditions
    ) -> None:
        super().__init__()
        image_channels, height, width = shape
        self.sides = height, width
        ups = depth_for(height, width)
        widths = _widths(channels, ups)[::-1]
        start = (widths[0], *grid_of(height, width, ups))
        self.error = RunningError()
        self.condition = ConditionEncoder(conditions)
        self.embed = condition_layer(conditions, LABEL_DIM)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim + LABEL_DIM, math.prod(start)),
            nn.Unflatten(1, start),
            _norm(widths[0]),
            nn.SiLU(),
        ]
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), _norm(narrow), nn.SiLU()]
        layers.append(nn.Conv2d(widths[-1], image_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return mean images (N, C, H, W) in [-1, 1]; z: (N, latent_dim), labels: (N, L) int64."""
        told = self.embed(self.condition(labels).pooled)
        x: Tensor = self.layers(torch.cat([z, told], dim=1))
        return torch.tanh(cropped(x, *self.sides))


def _widths(channels: int, levels: int) -> list[int]:
    return [min(channels * 2**level, MOST_CHANNELS) for level in range(levels + 1)]


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 8), channels)
