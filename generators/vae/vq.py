"""VQ-VAE: images as grids of codes from a learned codebook, and a prior over these codes.

Van den Oord et al., 2017, "Neural discrete representation learning": eq. 1 and 2 (nearest vectors,
straight-through gradients), eq. 3 with its codebook term replaced by the exponential averages of
appendix A.1, commitment 0.25. The bound on the likelihood is the paper's: log p(x) is at least
log p(x|c) + log p(c) for the one code c of an image, as its posterior is deterministic.

Deviations: the prior is a causal transformer with the class as its first token (see `transformer`)
in place of a PixelCNN; one grid of codes of a quarter of the sides also on CIFAR-10, where the
paper has ten; the squared error is divided by the images' variance, as in the authors' code; codes
that are hardly used are restarted at random vectors of the batch, which makes the first batch the
initial codebook (Dhariwal et al., 2020, "Jukebox", section 3.1); vectors are standardised per
channel before they are mapped to codes, since without it all may drift to one code and stay there
(Lancucki et al., 2020, "Robust training of vector quantized bottleneck models"); initial weights
after He et al., 2015; tanh on the output.

One training has both parts: the autoencoder first, then the prior on codes of the averaged
autoencoder, which from there on is frozen, so that the codes it is sampled with are those that it
has learned. The codebook is updated in the loss, microbatch by microbatch, from the first process's
batches where there are several.
"""

import math
from collections.abc import Iterator, Mapping
from typing import cast

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
)
from generators.algorithm.layers import labels_or_zeros
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.options import SamplerConfig
from generators.specs.vae import AutoregressiveSampler, VQVAEConfig
from generators.vae.codebook import Codebook, perplexity
from generators.vae.grids import grid_of
from generators.vae.likelihoods import bits_per_value, log_discretised_gaussian
from generators.vae.transformer import CausalTransformer, choose
from generators.vae.vq_networks import Decoder, Encoder

LEAST_VARIANCE = 1e-3  # of a batch of images, which divides its squared error
FROZEN = ("encoder", "codebook", "decoder")  # while the prior is trained


class VQVAE(Algorithm):
    """Encoder, codebook and decoder, and the prior of the codes."""

    sampling_networks = ("prior", "codebook", "decoder")
    other_networks = ("encoder",)
    obeys_words = True
    compilable = ("prior", "decoder", "encoder")

    def __init__(self, config: VQVAEConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config = config
        level = _level(shape)
        depth = config.halvings or (1, 2, 2, 2)[level]
        dim = config.code_dim or (16, 32, 64, 64)[level]
        channels = config.base_channels or (32, 64, 128, 128)[level]
        codes = config.codebook_size or (64, 128, 512, 512)[level]
        self.grid = grid_of(*shape[1:], depth)
        self.networks = {
            "prior": CausalTransformer(
                codes=codes,
                tokens=math.prod(self.grid),
                conditions=conditions,
                width=config.prior_width or config.prior_heads * (16, 32, 64, 64)[level],
                depth=config.prior_depth or (3, 4, 8, 8)[level],
                heads=config.prior_heads,
                dropout=config.prior_dropout,
            ),
            "codebook": Codebook(codes, dim),
            "decoder": Decoder(shape, dim, channels, depth, config.residual_blocks),
            "encoder": Encoder(shape, dim, channels, depth, config.residual_blocks),
        }

    def phases(self) -> list[Phase]:
        """Return the autoencoder's phase and, for the rest of the budget, the prior's."""
        turn, config = self.config.autoencoder_part, self.config
        return [
            Phase("autoencoder", ("encoder", "decoder"), config.learning_rate, end=turn),
            Phase("prior", ("prior",), config.prior_learning_rate, begin=turn),
        ]

    def begin(self, phase: str, averages: Mapping[str, nn.Module]) -> None:
        """Freeze the autoencoder at its averages, before the prior learns its codes."""
        if phase == "prior":
            for name in FROZEN:
                self.networks[name].load_state_dict(averages[name].state_dict())

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the autoencoder, or the prior's in nats per token."""
        if phase == "autoencoder":
            return self._autoencoder_loss(batch.images, context.generator)
        labels = labels_or_zeros(batch.labels, len(batch.images), batch.images.device)
        self.networks["encoder"].eval()  # its running moments are frozen as well
        with torch.no_grad():
            codes = _codes(self.networks, batch.images)
        loss = -_prior(self.networks).log_likelihood(codes, labels).mean()
        return loss, {"prior": loss}

    def _autoencoder_loss(
        self, x: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        codebook, decoder = _codebook(self.networks), _decoder(self.networks)
        z = self.networks["encoder"](x).float()  # (N, D, h, w)
        restarted = codebook.restart(z, generator, below=self.config.restart_below)
        codes = codebook.nearest(z)
        q = codebook.look_up(codes)
        counts = codebook.follow(z, codes, decay=self.config.codebook_decay)
        mse = F.mse_loss(decoder(z + (q - z).detach()), x)
        decoder.error.update(mse)
        commitment = F.mse_loss(z, q)
        scale = x.var(correction=0).clamp_min(LEAST_VARIANCE)
        loss = mse / scale + self.config.commitment * commitment
        values = {"autoencoder": loss, "mse": mse, "commitment": commitment}
        return loss, values | {"perplexity": perplexity(counts), "restarted": restarted}

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return decoded codes, each drawn from the prior given those before it."""
        options = expect_sampler(sampler, AutoregressiveSampler)
        labels = labels_or_zeros(labels, len(noise), noise.device)
        uniforms = noise.uniform(math.prod(self.grid))
        drawn = list[Tensor]()
        for token in _drawn(_prior(networks), labels, uniforms, options):
            drawn.append(token)
            if on_step is not None:
                on_step(self._step(networks, drawn))
        return self._decoded(networks, torch.stack(drawn, dim=1))

    def _step(self, networks: Mapping[str, nn.Module], drawn: list[Tensor]) -> Step:
        """Return the step that drew the last token; what is not drawn yet is the mean code.

        The walk's x has the tokens before the step, its x_0 the new one as well; the time is the
        number of tokens that x has.
        """
        codebook, count = _codebook(networks), math.prod(self.grid)
        tokens = torch.stack(drawn, dim=1)
        rest = codebook.mean_code().expand(len(tokens), count, -1)
        images = []
        for known in (len(drawn) - 1, len(drawn)):
            vectors = torch.cat([codebook.codes[tokens[:, :known]], rest[:, known:]], dim=1)
            images.append(_decoder(networks)(_as_grid(vectors, self.grid)))
        return Step(len(drawn) - 1, count, float(len(drawn) - 1), *images)

    def _decoded(self, networks: Mapping[str, nn.Module], codes: Tensor) -> Tensor:
        """Return the images of codes, (N, tokens)."""
        vectors = _codebook(networks).look_up(codes.view(-1, *self.grid))
        images: Tensor = networks["decoder"](vectors)
        return images

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the codes of each image, row by row, (N, tokens) int64."""
        return _codes(networks, images)

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the decoded codes of each image."""
        return self._decoded(networks, _codes(networks, images))

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return the bound by each image's one code; it is exact, so that draws play no part.

        The likelihood is a Gaussian's over 256 levels, of the variance that training has found.
        """
        labels = labels_or_zeros(labels, len(images), images.device)
        codes = _codes(networks, images)
        log_prior = _prior(networks).log_likelihood(codes, labels).double().sum(1)
        variance = _decoder(networks).error.variance()
        x_hat = self._decoded(networks, codes)
        elbo = log_prior + log_discretised_gaussian(images, x_hat, variance)
        return {"elbo": bits_per_value(elbo, images)}

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        """Return the part of the codebook that the images use, and how evenly."""
        size = len(_codebook(networks).codes)
        counts = torch.bincount(_codes(networks, images).flatten(), minlength=size)
        return {
            "active_units": "codes are discrete: see codebook_usage",
            "codebook_usage": float((counts > 0).float().mean()),
            "perplexity": float(perplexity(counts)),
        }


def _level(shape: Shape) -> int:
    """Return the size class of an image: up to 16, 28, 32 or 64 pixels."""
    return sum(max(shape[1:]) > side for side in (16, 28, 32))


def _drawn(
    prior: CausalTransformer, labels: Tensor, uniforms: Tensor, sampler: AutoregressiveSampler
) -> Iterator[Tensor]:
    """Yield the tokens one after the other, (N,) int64 each; uniforms: (N, tokens)."""
    past = prior.room(len(labels))
    vector = prior.beginning(labels)
    for uniform in uniforms.unbind(1):
        logits = prior(vector[:, None], past)[:, -1]
        token = choose(logits, uniform, temperature=sampler.temperature, top_k=sampler.top_k)
        vector = prior.embed(token)
        yield token


def _codes(networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Return the codes of images, (N, tokens) int64."""
    return _codebook(networks).nearest(networks["encoder"](images)).flatten(1)


def _prior(networks: Mapping[str, nn.Module]) -> CausalTransformer:
    return cast(CausalTransformer, networks["prior"])


def _codebook(networks: Mapping[str, nn.Module]) -> Codebook:
    return cast(Codebook, networks["codebook"])


def _decoder(networks: Mapping[str, nn.Module]) -> Decoder:
    return cast(Decoder, networks["decoder"])


def _as_grid(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return vectors as the decoder takes them: (N, h * w, D) to (N, D, h, w)."""
    n, _, dim = vectors.shape
    return vectors.reshape(n, *grid, dim).permute(0, 3, 1, 2)
