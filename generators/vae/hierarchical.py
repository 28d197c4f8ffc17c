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

import torch
from torch import Tensor, nn

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
from generators.specs.conditions import Conditions
from generators.specs.options import SamplerConfig
from generators.specs.vae import HierarchicalSampler, HierarchicalVAEConfig
from generators.vae.hierarchical_latents import Latent, kl_divergence, kl_of_units, log_ratio
from generators.vae.hierarchical_networks import Decoder, Encoder
from generators.vae.hierarchical_sizes import Sizes, grids_of, patch_of, width_for
from generators.vae.logistic import LogisticMixtures, parameters_per_pixel

ACTIVE_NATS = 0.01  # a unit of less KL, on average over images, is not used


class HierarchicalVAE(Algorithm):
    """Encoder and decoder; sampling needs the decoder alone."""

    sampling_networks = ("decoder",)
    other_networks = ("encoder",)
    obeys_words = True
    compilable = ("decoder", "encoder")

    def __init__(
        self, config: HierarchicalVAEConfig, *, shape: Shape, conditions: Conditions
    ) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config = config
        grids = grids_of(config, shape[1:])
        width = config.width or width_for(max(shape[1:]))
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
            "decoder": Decoder(outputs, conditions, grids, sizes),
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


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of at least one tensor."""
    return torch.stack(list(tensors)).sum(0)
