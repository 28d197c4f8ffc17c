"""How images of any size become grids of features: padded to whole grids, and cropped again."""

import math

from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name


def depth_for(height: int, width: int, *, smallest: int = 4, most: int = 4) -> int:
    """Return how often the sides can be halved until the shorter one falls below `smallest`."""
    return max(0, min(most, int(math.log2(min(height, width) / smallest))))


def grid_of(height: int, width: int, depth: int) -> tuple[int, int]:
    """Return the sides after `depth` halvings, rounded up."""
    return math.ceil(height / 2**depth), math.ceil(width / 2**depth)


def padded(images: Tensor, depth: int) -> Tensor:
    """Return images whose sides can be halved `depth` times; their last row and column go on."""
    height, width = images.shape[2:]
    rows, columns = grid_of(height, width, depth)
    margins = (0, columns * 2**depth - width, 0, rows * 2**depth - height)
    return F.pad(images, margins, mode="replicate") if any(margins) else images


def cropped(images: Tensor, height: int, width: int) -> Tensor:
    """Return images without what padding has added."""
    return images[:, :, :height, :width]
