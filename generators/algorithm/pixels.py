"""Between the shared format, uint8 in 0..255, and what networks see, float32 in [-1, 1]."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]; the inverse of `to_uint8`."""
    return images.to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Return float images in [-1, 1] as uint8, by the one rounding rule there is."""
    return (images.float() * 127.5 + 128).clip(0, 255).to(torch.uint8)
