"""The network of every diffusion model: diffusers' U-Net or a transformer, sized by resolution."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import WIDTH, ConditionEncoder, Encoded, WordLayer
from generators.algorithm.contract import Shape
from generators.algorithm.layers import halvings
from generators.diffusion.dit import DiT
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DenoiserConfig, multipliers, norm_groups
from generators.specs.options import ConfigError

if TYPE_CHECKING:  # imported where a U-Net is made: it takes seconds, and other networks do without
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

LARGEST_DEPTH = 4  # resolutions of the U-Net by default


class Denoiser(nn.Module):
    """A U-Net or a transformer on patches of pixels, both with a zero start.

    Each patch of p x p pixels becomes one place with p^2 times the channels (p = 1: a pixel). Where
    sides are no multiples of what the network needs, zeros are added below and to the right, and
    cut off again. With two inputs it is shown an estimate of the clean image besides the noisy one.
    """

    def __init__(
        self, config: DenoiserConfig, shape: Shape, conditions: Conditions, inputs: int = 1
    ) -> None:
        super().__init__()
        if config.cross_attention and not conditions.in_words:
            raise ConfigError({"cross_attention": "expected false: there are no captions"})
        channels, height, width = shape
        self.patch = config.patch or _patch(config.backbone, max(height, width))
        rows, columns = (_places(side, self.patch, config.backbone) for side in (height, width))
        inner = (channels * self.patch**2, rows, columns)
        self.condition = ConditionEncoder(conditions)
        self.unet, self.dit, self.told = None, None, None
        if config.backbone == "unet":
            self.unet = make_unet(config, inner, conditions, inputs)
            if conditions.in_words:
                self.told = WordLayer(self.unet.time_embedding.linear_2.out_features)
        else:
            self.dit = make_dit(config, inner, conditions, inputs)
        self.margins = (rows * self.patch - height, columns * self.patch - width)
        self._conditional, self.attends = conditions.given, config.cross_attention
        self.inputs = inputs

    def forward(
        self, x: Tensor, t: Tensor, labels: Tensor, estimate: Tensor | None = None
    ) -> Tensor:
        """Return the prediction, (N, C, H, W).

        Args:
            x: (N, C, H, W), of about unit variance.
            t: (N,) times on DDPM's scale 0..1000, whole or not.
            labels: (N, L) int64 rows of `Conditions`; ignored when unconditional.
            estimate: (N, C, H, W) of the clean images, for a network of two inputs; None = zeros.
        """
        if self.inputs > 1:
            x = torch.cat([x, torch.zeros_like(x) if estimate is None else estimate], dim=1)
        below, right = self.margins
        height, width = x.shape[2:]
        if below or right:
            x = F.pad(x, (0, right, 0, below))
        places = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        prediction = self._predict(places, t, self.condition(labels) if self._conditional else None)
        if self.patch > 1:
            prediction = F.pixel_shuffle(prediction, self.patch)
        return prediction[:, :, :height, :width] if below or right else prediction

    def _predict(self, places: Tensor, t: Tensor, encoded: Encoded | None) -> Tensor:
        if self.unet is None:
            assert self.dit is not None, "there is one or the other"
            transformed: Tensor = self.dit(places, t, encoded)
            return transformed
        told: dict[str, Tensor] = {}
        if encoded is not None:
            told["class_labels"] = self._pooled(encoded)
        if encoded is not None and self.attends:
            told["encoder_hidden_states"], told["encoder_attention_mask"] = encoded.attended()
        prediction: Tensor = self.unet(places, t, **told, return_dict=False)[0]
        return prediction

    @torch.no_grad()
    def added_to_time(self, labels: Tensor) -> Tensor:
        """Return what rows (N, L) add to the U-Net's embedding of times, (N, D)."""
        assert self.unet is not None, "a transformer modulates"
        added: Tensor = self.unet.class_embedding(self._pooled(self.condition(labels)))
        return added

    def _pooled(self, encoded: Encoded) -> Tensor:
        """Return what the U-Net's class embedding takes: classes, or words as what they add."""
        told: Tensor = encoded.pooled if self.told is None else self.told(encoded.pooled)
        return told


def make_unet(
    config: DenoiserConfig, shape: Shape, conditions: Conditions, inputs: int = 1
) -> "UNet2DModel | UNet2DConditionModel":
    """Return diffusers' U-Net for so many inputs of this shape, at its start predicting zeros.

    With cross-attention it is the one of text-to-image models, whose transformers are where places
    attend to each other, and at the lowest resolution as well.
    """
    from diffusers.models.unets.unet_2d import UNet2DModel  # noqa: PLC0415  # as said above
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: PLC0415

    channels, height, width = shape
    side = max(height, width)
    narrowest = config.base_channels or (32 if side < 32 else 64)
    multiples = multipliers(config.channel_multipliers) or (1, *(2,) * (LARGEST_DEPTH - 1))
    levels = 1 + halvings(height, width, most=len(multiples) - 1)
    small = [side / 2**level <= config.attention_side for level in range(levels)]
    attends = [is_small and not any(small[:level]) for level, is_small in enumerate(small)]
    widths = tuple(narrowest * multiple for multiple in multiples[:levels])
    head = math.gcd(narrowest, 32)
    network, kind = UNet2DModel, "Attn"
    heads: int | tuple[int, ...] = head
    if config.cross_attention:
        network, kind = UNet2DConditionModel, "CrossAttn"
        attends[-1] = True
        heads = tuple(width // head for width in widths)  # that class takes their number
    unet: UNet2DModel | UNet2DConditionModel = network(
        in_channels=inputs * channels,
        out_channels=channels,
        down_block_types=tuple(f"{kind}DownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple(f"{kind}UpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
        block_out_channels=widths,
        layers_per_block=config.residual_blocks or (1 if side < 32 else 2),
        norm_num_groups=norm_groups(narrowest, config.norm_channels),
        resnet_time_scale_shift="scale_shift" if config.adaptive_norm else "default",
        attention_head_dim=heads,
        dropout=config.dropout,
        time_embedding_type="positional",  # fourier divides the output by t
        num_class_embeds=conditions.classes + 1
        if conditions.classes
        else None,  # the last: no label
        class_embed_type="identity" if conditions.in_words else None,
        **({"cross_attention_dim": WIDTH} if config.cross_attention else {}),
    )
    _start_at_zero(unet)
    return unet


def make_dit(config: DenoiserConfig, shape: Shape, conditions: Conditions, inputs: int = 1) -> DiT:
    """Return a transformer for inputs of this shape: DiT-S from 16 x 16 places on, else smaller."""
    large = max(shape[1:]) >= 16
    return DiT(
        shape,
        conditions=conditions,
        width=config.base_channels or (384 if large else 128),
        depth=config.residual_blocks or (12 if large else 6),
        dropout=config.dropout,
        cross_attention=config.cross_attention,
        inputs=inputs,
    )


def _patch(backbone: str, side: int) -> int:
    """Return the side of a patch: a pixel for U-Nets, at most 16 x 16 patches for transformers."""
    return 1 if backbone == "unet" else math.ceil(side / 16)


def _places(side: int, patch: int, backbone: str) -> int:
    """Return how many patches cover a side; for U-Nets an odd number is raised to a multiple of 4.

    An odd side can never be halved, and attention among all its places would be slow.
    """
    places = math.ceil(side / patch)
    return 4 * math.ceil(places / 4) if backbone == "unet" and places % 2 else places


def _start_at_zero(unet: nn.Module) -> None:
    """Set to zero the last layer of each residual branch and of the network, as DDPM's code does.

    diffusers leaves them random (its issue 639).
    """
    for name, module in unet.named_modules():
        within = "transformer_blocks" in name  # whose branch ends in proj_out
        if not within and name.endswith(("conv2", "conv_out", "to_out.0", "proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
