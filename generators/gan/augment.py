"""DiffAugment: random changes of images that gradients pass through.

Zhao et al., 2020, "Differentiable augmentation for data-efficient GAN training": what the
discriminator sees, real or generated, is changed at random, so that it cannot learn a small data
set by heart. Strengths and order are the paper's; places are drawn uniformly, and pixels that come
from outside an image are 0, the middle grey.
"""

from collections.abc import Callable

import torch
from torch import Tensor

SHIFT = 1 / 8  # largest translation, of a side
CUT = 1 / 2  # side of the square that is cut out, of a side


def augment(images: Tensor, names: str, generator: torch.Generator) -> Tensor:
    """Return the images changed at random, each on its own; (N, C, H, W) in about [-1, 1].

    Args:
        images: what the discriminator is to see.
        names: `none`, or a comma list of `color`, `translation` and `cutout`.
        generator: on the images' device.
    """
    for name in names.split(","):
        images = _CHANGES[name](images, generator)
    return images


def change_colors(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of another brightness, saturation and contrast, in this order.

    A number in -0.5..0.5 is added, distances from a pixel's mean are multiplied by 0..2 (grey images
    stay as they are), and those from the image's mean by 0.5..1.5.
    """
    brightness, saturation, contrast = _uniform(3, images, generator)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    changed: Tensor = mean + (images - mean) * (contrast + 0.5)
    return changed


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images moved by whole pixels, up to an eighth of each side."""
    down, right = _uniform(2, images, generator)
    rows = _shift_matrix(images.shape[2], down, images)
    columns = _shift_matrix(images.shape[3], right, images)
    moved: Tensor = rows @ images @ columns.mT
    return moved


def cut_out(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with a rectangle of half their sides in grey, in part outside the image."""
    down, right = _uniform(2, images, generator)
    rows = _within_cut(images.shape[2], down)[:, :, :, None]
    columns = _within_cut(images.shape[3], right)[:, :, None, :]
    return images.masked_fill(rows & columns, 0.0)


def _uniform(count: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return `count` numbers in [0, 1) for each image, (count, N, 1, 1, 1)."""
    shape = (count, len(images), 1, 1, 1)
    return torch.rand(shape, generator=generator, device=images.device)


def _shift_matrix(side: int, uniform: Tensor, images: Tensor) -> Tensor:
    """Return what moves the pixels of a side, (N, 1, side, side): 1 where `to = from + shift`.

    A product with it, unlike a gather, has a gradient of the same bits on every run.
    """
    most = int(side * SHIFT + 0.5)
    shift = (uniform[:, 0] * (2 * most + 1)).long() - most  # (N, 1, 1)
    place = torch.arange(side, device=images.device)
    matrix: Tensor = place[:, None] == place[None, :] + shift  # (N, side, side)
    return matrix[:, None].to(images.dtype)


def _within_cut(side: int, uniform: Tensor) -> Tensor:
    """Return which pixels of a side are cut out, (N, 1, side) bool."""
    size = int(side * CUT + 0.5)
    first = (uniform[:, 0, :, 0] * (side + 1 - size % 2)).long() - size // 2  # (N, 1)
    place = torch.arange(side, device=uniform.device) - first
    return ((place >= 0) & (place < size))[:, None]


_CHANGES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": lambda images, _: images,
    "color": change_colors,
    "translation": translate,
    "cutout": cut_out,
}
