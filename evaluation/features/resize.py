"""Bilinear resizing as TensorFlow 1 does it, fast: what Inception and its kin are defined on."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Axis:
    """The two source lines that each target line lies between, and how far along it is (0..1)."""

    low: Tensor
    high: Tensor
    weight: Tensor


def resize_bilinear(images: Tensor, side: int) -> Tensor:
    """Return uint8 images (N, C, H, W) as float32 (N, C, side, side), values in 0..255.

    Target pixel i lies at i * H / side: no half-pixel centres and no antialiasing, as in TensorFlow
    1.x with ``align_corners=False``. Every product and sum is the one of torch-fidelity's
    ``interpolate_bilinear_2d_like_tensorflow1x``, so that values are equal bit for bit; but each
    line is interpolated once, and only if it is needed. The result is laid out channels last.
    """
    x = images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
    rows = _axis(images.shape[2], side, images.device)
    columns = _axis(images.shape[3], side, images.device)
    few = rows is not None and images.shape[2] > 2 * side
    if rows is not None and few:
        x = x.index_select(1, torch.cat([rows.low, rows.high]))
    x = x.float() if columns is None else _between(*_pair(x, columns, 2), columns, 2)
    if rows is not None:
        pair = (x[:, :side], x[:, side:]) if few else _pair(x, rows, 1)
        x = _between(*pair, rows, 1)
    return x.permute(0, 3, 1, 2)


def _pair(x: Tensor, axis: _Axis, dim: int) -> tuple[Tensor, Tensor]:
    return x.index_select(dim, axis.low).float(), x.index_select(dim, axis.high).float()


def _between(low: Tensor, high: Tensor, axis: _Axis, dim: int) -> Tensor:
    weight = axis.weight.view([-1 if d == dim else 1 for d in range(4)])
    return (high - low).mul_(weight).add_(low)


@lru_cache(maxsize=64)
def _axis(length: int, side: int, device: torch.device) -> _Axis | None:
    """Return how ``length`` lines become ``side``; ``None`` if they stay as they are."""
    if length == side:
        return None
    # float32 for the positions too: TensorFlow computes them so, and weights are their fractions.
    position = torch.arange(side, dtype=torch.float32) * torch.tensor(length / side)
    low = position.long()
    return _Axis(
        low=low.to(device),
        high=(low + 1).clamp_max(length - 1).to(device),
        weight=(position - low).to(device),
    )
