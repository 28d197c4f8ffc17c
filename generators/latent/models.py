"""Latent diffusion: an autoencoder first, then any diffusion model of what it encodes.

Rombach et al., 2022, "High-resolution image synthesis with latent diffusion models".

One training has both parts: the autoencoder for `autoencoder_share` of the budget, then the diffusion
model on latents of the averaged autoencoder, which from there on is frozen. Images are encoded batch
by batch, as they come. With `autoencoder` the first part is that of another training.

Deviations: the latents are standardised, each channel by its mean and deviation over the training
set (4,096 evenly spaced images of a larger one), where Rombach et al. divide by the deviation of the
first batch; they are the posterior's means, not draws from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from generators.algorithm.contract import (
    Algorithm,
    Batch,
    Context,
    NotFinite,
    OnStep,
    Phase,
    Shape,
    Step,
)
from generators.algorithm.noise import NoiseSource
from generators.diffusion.base import DiffusionModel
from generators.diffusion.ddpm import DDPM
from generators.diffusion.ect import ECT
from generators.diffusion.edm import EDM
from generators.diffusion.flow import Flow
from generators.latent.autoencoder import (
    Decoder,
    Encoder,
    PatchDiscriminator,
    Scale,
    discriminator_loss,
    kl_to_standard_normal,
    make_autoencoder,
)
from generators.specs.conditions import Conditions
from generators.specs.latent import LatentOptions
from generators.specs.options import SamplerConfig

FROZEN = ("encoder", "decoder")  # while the diffusion model is trained
ADVERSARIAL_BEGIN = 0.5  # of the autoencoder's part of the budget
LEAST_ACTIVE = 0.01  # variance of a latent above which it is active


class Latent(Algorithm):
    """Encoder, decoder and the scale of the latents, and a diffusion model that is shown them."""

    sampling_networks = ("denoiser", "scale", "decoder")
    counted_networks = ("denoiser",)
    other_networks = ("encoder",)
    compilable = ("denoiser", "decoder", "encoder")
    obeys_words = True
    prior_class: ClassVar[type[DiffusionModel]]

    def __init__(self, config: Any, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.config: LatentOptions = config
        self.prior = self.prior_class(
            config, shape=self.config.latent_shape(shape), conditions=conditions
        )
        self.prior.value_range = None
        whole = make_autoencoder(config, shape)
        self.networks = {
            **self.prior.networks,
            "scale": Scale(self.config.latent_channels),
            "decoder": Decoder(whole, self.config.autoencoder_patch),
            "encoder": Encoder(whole, self.config.autoencoder_patch),
        }
        if self.config.autoencoder_part and self.config.adversarial_weight:
            channels = whole.config["block_out_channels"][0]
            self.networks["discriminator"] = PatchDiscriminator(shape, channels)

    def phases(self) -> list[Phase]:
        """Return the autoencoder's phases and, for the rest of the budget, the diffusion model's."""
        turn, rate = self.config.autoencoder_part, self.config.autoencoder_learning_rate
        found = [Phase("autoencoder", FROZEN, rate, end=turn)] if turn else []
        if "discriminator" in self.networks:
            begin = turn * ADVERSARIAL_BEGIN
            found.append(
                Phase("discriminator", ("discriminator",), rate, (0.5, 0.9), begin=begin, end=turn)
            )
        return found + [_later(phase, turn) for phase in self.prior.phases() if turn < 1]

    def begin_with(
        self, phase: str, averages: Mapping[str, nn.Module], batches: Iterable[Batch]
    ) -> None:
        """Freeze the autoencoder at its averages and find the latents' scale, once.

        Raises:
            NotFinite: if latents are not finite.
        """
        if phase in ("autoencoder", "discriminator"):
            return
        if phase == self.prior.phases()[0].name:
            for name in FROZEN:
                self.networks[name].load_state_dict(averages[name].state_dict())
            _scale(self.networks).fit(_means(self.networks, batch.images) for batch in batches)
            if not _scale(self.networks).is_finite():
                raise NotFinite("the autoencoder's latents are not finite")
        self.prior.begin_with(phase, averages, ())

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the autoencoder, of the discriminator, or of the diffusion model."""
        if phase == "autoencoder":
            return self._autoencoder_loss(batch.images, context)
        if phase == "discriminator":
            return self._discriminator_loss(batch.images, context)
        latents = self._encoded(self.networks, batch.images)
        return self.prior.loss(phase, replace(batch, images=latents), context)

    def _autoencoder_loss(self, x: Tensor, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute difference, and what the latents' divergence and patches cost."""
        mean, log_variance = self.networks["encoder"](x)
        x_hat = self.networks["decoder"](_drawn(mean, log_variance, context.generator))
        distance = (x_hat - x).abs().mean()
        kl = kl_to_standard_normal(mean, log_variance).mean() / x[0].numel()
        loss = distance + self.config.kl_weight * kl
        values = {"mse": (x_hat - x).square().mean(), "kl": kl}
        if "discriminator" in self.networks and context.fraction >= ADVERSARIAL_BEGIN:
            loss = (
                loss - self.config.adversarial_weight * self.networks["discriminator"](x_hat).mean()
            )
        return loss, {"autoencoder": loss, **values}

    def _discriminator_loss(self, x: Tensor, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            mean, log_variance = self.networks["encoder"](x)
            x_hat = self.networks["decoder"](_drawn(mean, log_variance, context.generator))
        discriminator = self.networks["discriminator"]
        loss = discriminator_loss(discriminator(x).float(), discriminator(x_hat).float())
        return loss, {"discriminator": loss}

    @torch.no_grad()
    def _encoded(self, networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Return the standardised latents of images, (N, D, h, w) float32."""
        return _scale(networks).standardise(_means(networks, images))

    def _decoded(self, networks: Mapping[str, nn.Module], latents: Tensor) -> Tensor:
        """Return the images of standardised latents, (N, C, H, W) float32, within their range."""
        images: Tensor = networks["decoder"](_scale(networks).restore(latents.float()))
        return self.within_range(images)

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return decoded latents from the diffusion model's walk; its steps are told decoded.

        Raises:
            NotFinite: if latents are not finite.
        """

        def told(step: Step) -> None:
            assert on_step is not None, "nobody else is told"
            x, x_0 = (self._decoded(networks, latents) for latents in (step.x, step.x_0))
            on_step(replace(step, x=x, x_0=x_0))

        latents = self.prior.sample(networks, labels, noise, sampler, told if on_step else None)
        if not torch.isfinite(latents).all():
            raise NotFinite("the latents at the end of the walk are not finite")
        return self._decoded(networks, latents)

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the standardised latents of each image, (N, D * h * w)."""
        return self._encoded(networks, images).flatten(1)

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return the decoded latents of each image: as good as a sample can get."""
        return self._decoded(networks, self._encoded(networks, images))

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        """Return images whose latents have the noise that the forward process has added."""
        if time == 0:
            return images
        latents = self._encoded(self.networks, images)
        return self._decoded(self.networks, self.prior.add_noise(latents, time, noise))

    def signal_and_noise_at(self, time: float) -> tuple[float, float]:
        """Return those of the latents, which are standardised: the process never sees pixels."""
        return self.prior.signal_and_noise_at(time)

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        """Return the number of active units: latents that follow the image, before their scaling."""
        variances = _means(networks, images).var(0, correction=0)
        return {
            "active_units": float((variances > LEAST_ACTIVE).sum()),
            "codebook_usage": "codes are continuous: there is no codebook",
        }

    def borrowed(self) -> dict[str, Path]:
        """Return the checkpoint whose autoencoder is taken, if there is one."""
        return {"autoencoder": Path(self.config.autoencoder)} if self.config.autoencoder else {}

    def borrow(
        self, option: str, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take a trained autoencoder.

        Raises:
            ValueError: if the checkpoint has none that fits.
        """
        config, shape = manifest["config"], tuple(manifest["shape"])
        if not manifest["algorithm"].startswith("latent."):
            raise ValueError(f"expected a latent model's, it is of {manifest['algorithm']}")
        if shape != self.shape:
            raise ValueError(f"expected images of {_by(self.shape)}, it is for {_by(shape)}")
        if misfit := self.config.misfit(config, self.shape):
            raise ValueError(misfit)
        for name in FROZEN:
            prefix = f"ema/{name}/"
            weights = {
                k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)
            }
            self.networks[name].load_state_dict(weights)


class LatentDDPM(Latent):
    """DDPM of latents."""

    prior_class = DDPM


class LatentEDM(Latent):
    """EDM of latents."""

    prior_class = EDM


class LatentFlow(Latent):
    """Flow matching of latents."""

    prior_class = Flow


class LatentECT(Latent):
    """ECT of latents."""

    prior_class = ECT


def _later(phase: Phase, turn: float) -> Phase:
    """Return a phase in the part of the budget after the turn."""
    begin, end = (turn + (1 - turn) * part for part in (phase.begin, phase.end))
    return replace(phase, begin=begin, end=1.0 if phase.end == 1 else end)


def _scale(networks: Mapping[str, nn.Module]) -> Scale:
    return cast(Scale, networks["scale"])


@torch.no_grad()
def _means(networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Return the posterior's means of images as the encoder gives them, (N, D, h, w)."""
    mean, _ = networks["encoder"](images)
    return cast(Tensor, mean)


def _drawn(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw from each posterior, shaped as its mean."""
    epsilon = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + (0.5 * log_variance).exp() * epsilon


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
