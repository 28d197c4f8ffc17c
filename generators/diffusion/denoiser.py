"""The network of every diffusion model: diffusers' U-Net, sized by resolution."""

import math

from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from generators.base import Shape
from generators.diffusion.configs import DenoiserConfig
from generators.layers import halvings


class Denoiser(nn.Module):
    """diffusers' U-Net with a narrower call and a zero start."""

    def __init__(self, config: DenoiserConfig, shape: Shape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        levels = 1 + halvings(height, width, most=3)
        narrowest = config.base_channels or (32 if max(height, width) < 32 else 64)
        widths = tuple(narrowest * (1 if level == 0 else 2) for level in range(levels))
        self.unet = UNet2DModel(
            in_channels=channels,
            out_channels=channels,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            block_out_channels=widths,
            layers_per_block=config.residual_blocks or (1 if max(height, width) < 32 else 2),
            norm_num_groups=math.gcd(narrowest, 32),
            attention_head_dim=math.gcd(widths[-1], 32),
            dropout=config.dropout,
            time_embedding_type="positional",  # fourier divides the output by t
            num_class_embeds=num_classes + 1 if num_classes else None,  # the last: no label
        )
        self._conditional = bool(num_classes)
        _start_at_zero(self.unet)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the prediction, (N, C, H, W); x likewise, t: (N,) timesteps on DDPM's scale 0..1000, labels: (N,) int64."""
        prediction: Tensor = self.unet(
            x, t, class_labels=labels if self._conditional else None, return_dict=False
        )[0]
        return prediction


def _start_at_zero(unet: nn.Module) -> None:
    """Set to zero the last layer of each residual branch and of the network, as DDPM's code does.

    diffusers leaves them random (its issue 639).
    """
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "conv_out", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
