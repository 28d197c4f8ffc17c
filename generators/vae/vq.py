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
from generators.specs.options import SamplerConfig
from generators.specs.vae import AutoregressiveSampler, VQVAEConfig
from generators.vae.grids import cropped, grid_of, padded
from generators.vae.likelihoods import RunningError, bits_per_value, log_discretised_gaussian
from generators.vae.transformer import CausalTransformer, choose

LEAST_VARIANCE = 1e-3  # of a batch of images, which divides its squared error
RESTART_SHARE = 0.1  # of an even share, that a restarted code begins with
MOMENTS_DECAY = 0.95  # of the running moments of vectors, per batch
FROZEN = ("encoder", "codebook", "decoder")  # while the prior is trained


class VQVAE(Algorithm):
    """Encoder, codebook and decoder, and the prior of the codes."""

    sampling_networks = ("prior", "codebook", "decoder")
    other_networks = ("encoder",)
    compilable = ("prior", "decoder", "encoder")

    def __init__(self, config: VQVAEConfig, *, shape: Shape, num_classes: int) -> None:
        super().__init__(shape=shape, num_classes=num_classes)
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
                num_classes=max(num_classes, 1),
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
        turn, config = 1 - self.config.prior_share, self.config
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


def perplexity(counts: Tensor) -> Tensor:
    """Return the number of evenly used codes with the same entropy, (); counts: (K,)."""
    shares = counts / counts.sum()
    return torch.exp(torch.special.entr(shares).sum())


def _level(shape: Shape) -> int:
    """Return the size class of an image: up to 16, 28, 32 or 64 pixels."""
    return sum(max(shape[1:]) > side for side in (16, 28, 32))


def _drawn(
    prior: CausalTransformer, labels: Tensor, uniforms: Tensor, sampler: AutoregressiveSampler
) -> Iterator[Tensor]:
    """Yield the tokens one after the other, (N,) int64 each; uniforms: (N, tokens)."""
    past = prior.room(len(labels))
    token = prior.beginning(labels)
    for uniform in uniforms.unbind(1):
        logits = prior(token[:, None], past)[:, -1]
        token = choose(logits, uniform, temperature=sampler.temperature, top_k=sampler.top_k)
        yield token


def _codes(networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Return the codes of images, (N, tokens) int64."""
    return _codebook(networks).nearest(networks["encoder"](images)).flatten(1)


def _prior(networks: Mapping[str, nn.Module]) -> CausalTransformer:
    return cast(CausalTransformer, networks["prior"])


def _codebook(networks: Mapping[str, nn.Module]) -> "Codebook":
    return cast(Codebook, networks["codebook"])


def _decoder(networks: Mapping[str, nn.Module]) -> "Decoder":
    return cast(Decoder, networks["decoder"])


def _as_rows(z: Tensor) -> Tensor:
    """Return the vectors of a grid one by one: (N, D, h, w) to (N * h * w, D)."""
    return z.permute(0, 2, 3, 1).flatten(0, 2)


def _as_grid(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return vectors as the decoder takes them: (N, h * w, D) to (N, D, h, w)."""
    n, _, dim = vectors.shape
    return vectors.reshape(n, *grid, dim).permute(0, 3, 1, 2)


# --- codebook -----------------------------------------------------------------------------------


class Codebook(nn.Module):
    """K vectors that follow the means of what is mapped to them; buffers alone, no gradients."""

    codes: Tensor  # (K, D)
    counts: Tensor  # (K,) vectors per batch mapped to each code, running mean
    sums: Tensor  # (K, D) of these vectors, running mean

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, dim))

    def nearest(self, z: Tensor) -> Tensor:
        """Return the nearest code of each vector, (N, h, w) int64; z: (N, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 cannot tell near codes apart
            rows = _as_rows(z.float())
            # |z - e|^2 without |z|^2, which all codes have in common
            distances = self.codes.square().sum(1) - 2 * rows @ self.codes.T
        return distances.argmin(1).view(len(z), *z.shape[2:])

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes, (N, D, h, w); codes: (N, h, w)."""
        vectors: Tensor = self.codes[codes].permute(0, 3, 1, 2)
        return vectors

    def mean_code(self) -> Tensor:
        """Return the mean of the vectors, as often as they are used, (D,)."""
        shares = (self.counts + 1e-6) / (self.counts + 1e-6).sum()
        mean: Tensor = shares @ self.codes
        return mean

    @torch.no_grad()
    def restart(self, z: Tensor, generator: torch.Generator, *, below: float) -> Tensor:
        """Put codes of less than `below` of an even share at random vectors; return how many.

        A restarted code has some share to lose before it can be restarted again. All are
        before their first batch.
        """
        rows = _as_rows(z)
        even = len(rows) / len(self.codes)
        dead = (self.counts < below * even) | (self.counts == 0)
        chosen = torch.randint(
            len(rows), self.counts.shape, generator=generator, device=rows.device
        )
        vectors = rows[chosen]
        dead &= torch.isfinite(vectors).all(1)
        self.codes.copy_(torch.where(dead[:, None], vectors, self.codes))
        count = RESTART_SHARE * even
        self.sums.copy_(torch.where(dead[:, None], vectors * count, self.sums))
        self.counts.copy_(torch.where(dead, count, self.counts))
        return dead.float().sum()

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor, *, decay: float) -> Tensor:
        """Move codes to the means of their vectors and return the vectors of each, (K,).

        Both running means are linear in the batch's; a batch that is not finite is left out.
        """
        with torch.autocast(z.device.type, enabled=False):
            rows = _as_rows(z.float())
            mapped = F.one_hot(codes.flatten(), len(self.codes)).float()
            counts, sums = mapped.sum(0), mapped.T @ rows
        finite = torch.isfinite(sums).all()
        for mean, value in ((self.counts, counts), (self.sums, sums)):
            mean.copy_(torch.where(finite, mean.lerp(value, 1 - decay), mean))
        used = finite & (self.counts > 1e-3)  # a code that fades away stays where it was
        moved = self.sums / self.counts.clamp_min(1e-3)[:, None]
        self.codes.copy_(torch.where(used[:, None], moved, self.codes))
        return counts


# --- autoencoder --------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Image to a grid of vectors."""

    def __init__(self, shape: Shape, dim: int, channels: int, depth: int, blocks: int) -> None:
        super().__init__()
        self.depth = depth
        layers: list[nn.Module] = []
        for narrow in (shape[0], *[channels] * (depth - 1)):
            layers += [nn.Conv2d(narrow, channels, 4, stride=2, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        layers += [ResidualBlock(channels) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(channels, dim, 1))
        self.standardise = Standardise(dim)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return a vector for each place of the grid, (N, D, h, w)."""
        z: Tensor = self.standardise(self.layers(padded(images, self.depth)))
        return z


class Standardise(nn.Module):
    """Batch normalisation without scale and shift, that takes a batch of one vector as well.

    In training it goes by the batch's moments, else by their running means. A batch that is not
    finite leaves these as they are.
    """

    mean: Tensor  # (D,)
    variance: Tensor  # (D,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return vectors of mean 0 and variance 1 in each channel, shaped as z: (N, D, h, w)."""
        z = z.float()
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(z, (0, 2, 3), correction=0)
            self._follow(mean.detach(), variance.detach())
        deviation = (variance + 1e-5).sqrt()
        return (z - mean[:, None, None]) / deviation[:, None, None]

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        finite = torch.isfinite(variance).all()
        for running, value in ((self.mean, mean), (self.variance, variance)):
            running.copy_(torch.where(finite, running.lerp(value, 1 - MOMENTS_DECAY), running))


class Decoder(nn.Module):
    """A grid of vectors to the mean image; knows how far it was from real images."""

    def __init__(self, shape: Shape, dim: int, channels: int, depth: int, blocks: int) -> None:
        super().__init__()
        self.sides = shape[1], shape[2]
        self.error = RunningError()
        layers: list[nn.Module] = [nn.Conv2d(dim, channels, 3, padding=1)]
        layers += [ResidualBlock(channels) for _ in range(blocks)]
        for wide in (*[channels] * (depth - 1), shape[0]):
            layers += [nn.ReLU(), nn.ConvTranspose2d(channels, wide, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return mean images (N, C, H, W) in [-1, 1]; vectors: (N, D, h, w)."""
        return torch.tanh(cropped(self.layers(vectors), *self.sides))


class ResidualBlock(nn.Module):
    """The paper's: ReLU, 3x3 convolution, ReLU, 1x1 convolution, added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, channels, h, w), with what the block adds."""
        y: Tensor = x + self.layers(x)
        return y


def _initialise(module: nn.Module) -> None:
    """Let signals keep their variance, as He et al., 2015, "Delving deep into rectifiers", do."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        inputs = module.in_channels * math.prod(module.kernel_size)
        if module.transposed:
            inputs //= math.prod(module.stride)  # each output meets one part of the kernel
        nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        nn.init.zeros_(cast(Tensor, module.bias))
