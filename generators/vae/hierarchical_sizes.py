"""The grids of a hierarchical VAE, and the sizes of its networks by the image's."""

from typing import NamedTuple

from generators.specs.vae import HierarchicalVAEConfig, counts

SMALLEST_FOR_3X3 = 3  # pixels; on smaller grids convolutions are 1x1


class Grid(NamedTuple):
    """One resolution of the hierarchy."""

    height: int
    width: int
    layers: int  # stochastic layers of the decoder
    blocks: int  # residual blocks of the encoder, and of the decoder where it has no such layers


class Sizes(NamedTuple):
    """The sizes that are the same on every grid."""

    width: int  # channels of features
    middle: int  # channels within a block
    latent: int  # channels of a latent
    patch: int  # side of the square of pixels that a place of the finest grid describes


def grids_of(config: HierarchicalVAEConfig, size: tuple[int, int]) -> list[Grid]:
    """Return the grids that have stochastic layers or blocks, the coarsest first."""
    layers = counts(config.stochastic_layers) or _layers_for(max(size))
    blocks = counts(config.encoder_blocks) or layers
    sides = _sides(*size)
    parts = zip(sides, _padded(layers, len(sides)), _padded(blocks, len(sides)), strict=True)
    grids = [Grid(*side, here, there) for side, here, there in parts if here or there]
    return grids[::-1]


def patch_of(grids: list[Grid], size: tuple[int, int]) -> int:
    """Return the side of the square of pixels that a place of the finest grid describes."""
    finest = (grids[-1].height, grids[-1].width)
    halved = _sides(*size).index(finest)
    return 1 << halved


def _sides(height: int, width: int) -> list[tuple[int, int]]:
    """Return heights and widths, each half of the one before (rounded up), until 1x1."""
    sides = [(height, width)]
    while max(sides[-1]) > 1:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides


def _padded(numbers: list[int], count: int) -> list[int]:
    """Return the first `count` numbers, with zeros where there are fewer."""
    return [*numbers, *[0] * count][:count]


def _layers_for(side: int) -> list[int]:
    return (
        [1, 2, 2, 1] if side <= 16 else [1, 2, 3, 2, 0, 1] if side <= 28 else [2, 3, 3, 2, 1, 0, 1]
    )


def width_for(side: int) -> int:
    """Return the channels of features for images of this longer side."""
    return 32 if side <= 16 else 48 if side <= 28 else 96


def kernel_of(grid: Grid) -> int:
    """Return the side of the convolutions on a grid, in its places."""
    return 3 if min(grid.height, grid.width) >= SMALLEST_FOR_3X3 else 1
