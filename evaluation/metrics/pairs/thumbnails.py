"""Small grey pictures of images, and which of many is nearest to one whatever was done to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32  # pixels, the largest side of a thumbnail: 1 KiB an image
CANDIDATES = 16  # compared exactly for an image, and as many for its mirror image
FREQUENCIES = 7  # along each axis, that the search for candidates looks at
TILE = 256  # thumbnails whose neighbours are looked for at a time
BLOCK = 32_768  # thumbnails among which they are looked for at a time
SCALE = 4  # a distance is measured by that of the fourth nearest
ROUNDING = 0.01  # distance of crops that differ by less than one of 255 grey levels
MIN_SIDE, SIDE_OF_TWO = 4, 16  # pixels: smaller ones are not shifted, or by one pixel only


@dataclass(frozen=True)
class NearestThumbnails:
    """The nearest other of each of N thumbnails.

    distances: (N,) float64, 0..2, to the nearest one.
    positions: (N,) int64, of the nearest one.
    ratios: (N,) float64, 0..1, of that distance to that of the fourth nearest one.
    """

    distances: np.ndarray
    positions: np.ndarray
    ratios: np.ndarray


def shift_of(height: int, width: int, *, largest: int = 2) -> int:
    """Return by how many pixels thumbnails of this size are shifted: 0, 1, or ``largest``."""
    shortest = min(height, width)
    return 0 if shortest < MIN_SIDE else min(largest, 1 if shortest < SIDE_OF_TWO else 2)


def thumbnails(
    chunks: Iterable[np.ndarray],
    *,
    side: int = SIDE,
    keep_going: Callable[[int], None] = lambda _count: None,
) -> Tensor:
    """Return the thumbnails (N, h, w), uint8, of images uint8 (n, C, H, W) that come in chunks.

    The mean of the channels, area-averaged to at most ``side`` pixels along each axis, rounded.
    ``keep_going`` receives how many are done after each chunk and may raise to end the work.
    """
    found: list[Tensor] = []
    done = 0
    for chunk in chunks:
        grey = torch.from_numpy(chunk.mean(1, dtype=np.float32))
        rows, columns = (_areas(length, min(length, side)) for length in grey.shape[1:])
        small = grey if max(grey.shape[1:]) <= side else rows @ grey @ columns.T
        found.append(small.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8))
        done += len(chunk)
        keep_going(done)
    return torch.cat(found) if found else torch.zeros((0, 1, 1), dtype=torch.uint8)


def _areas(length: int, parts: int) -> Tensor:
    """Return what share of each of ``parts`` equal parts a pixel covers, (parts, length)."""
    edges = torch.arange(length + 1, dtype=torch.float64)
    ends = torch.arange(parts + 1, dtype=torch.float64)[:, None] * length / parts
    covered = (torch.minimum(edges[1:], ends[1:]) - torch.maximum(edges[:-1], ends[:-1])).clamp(0)
    return (covered * parts / length).float()


def nearest_thumbnails(
    thumbs: Tensor,
    others: Tensor,
    *,
    shift: int = 2,
    candidates: int = CANDIDATES,
    keep_going: Callable[[int], None] = lambda _count: None,
) -> NearestThumbnails:
    """Return the nearest of ``others`` (M, h, w) for each of ``thumbs`` (N, h, w), both uint8.

    The centre of a thumbnail and that of its mirror image are compared with all crops of their size
    of another: s pixels are left off on each side, and the crops are the (2 s + 1)² shifts by at
    most s pixels; see ``shift_of``. Each crop is brought to mean 0 and norm 1, which takes brightness
    and contrast away; a flat one becomes 0. The distance is the least Euclidean one: 0 for a copy,
    √2 for crops that do not correlate, exactly 0 for a copy bit for bit.

    Its ratio to the distance of the fourth nearest other tells a copy from an image that has much
    of its kind around it: plain images are near to many others. It is 1 where the fourth is a copy
    too.

    Only the likeliest others are compared so: those whose spectra are nearest, see ``_spectra``, as
    many for the mirror image as for the image. ``keep_going`` receives how many are done after each
    tile and may raise to end the work.

    Source: Carlini et al., 2023, "Extracting training data from diffusion models", for the ratio.
    Deviation: the fourth nearest distance in place of the mean of the 50 nearest; three copies of
    one image among the others hide nothing.

    Raises:
        ValueError: if the thumbnails are of two sizes, or there are no others.
    """
    if thumbs.shape[1:] != others.shape[1:] or len(others) == 0:
        raise ValueError(
            f"expected others, and of one size, got {tuple(thumbs.shape)} and {tuple(others.shape)}"
        )
    shift = shift_of(*thumbs.shape[1:], largest=shift)
    spectra = _spectra(others)
    found = []
    for start in range(0, len(thumbs), TILE):
        part = thumbs[start : start + TILE]
        likely = _candidates(_spectra(part), spectra, candidates)
        found.append(_nearest(part, others, likely, shift))
        keep_going(start + len(part))
    return NearestThumbnails(
        distances=np.concatenate([np.zeros(0), *(each.distances for each in found)]),
        positions=np.concatenate([np.zeros(0, np.int64), *(each.positions for each in found)]),
        ratios=np.concatenate([np.zeros(0), *(each.ratios for each in found)]),
    )


# --- Candidates -------------------------------------------------------------------------------


def _spectra(thumbs: Tensor) -> tuple[Tensor, Tensor]:
    """Return even (N, F) and odd (N, F) parts of the spectra of thumbnails, of norm 1 together.

    Roots of the absolute values of the lowest frequencies under a Hann window: a shift hardly
    changes them. Mirroring an image swaps those of frequencies (v, u) and (-v, u): it keeps their
    even part and negates the odd one. A flat image has a frequency of its own.
    """
    parts = [_spectra_of(part) for part in thumbs.split(TILE)]
    return torch.cat([even for even, _ in parts]), torch.cat([odd for _, odd in parts])


def _spectra_of(thumbs: Tensor) -> tuple[Tensor, Tensor]:
    height, width = thumbs.shape[1:]
    window = _hann(height)[:, None] * _hann(width)
    x = thumbs.float()
    x = (x - (x * window).sum((1, 2), keepdim=True) / window.sum()) * window
    spectrum = torch.fft.rfft2(x).abs()
    v = torch.arange(min(FREQUENCIES, height // 2) + 1)
    up = spectrum[:, v, : FREQUENCIES + 1].flatten(1)
    down = spectrum[:, -v, : FREQUENCIES + 1].flatten(1)
    flat = thumbs.flatten(1).amin(1) == thumbs.flatten(1).amax(1)
    up[:, 0], down[:, 0] = flat.float(), flat.float()  # of what is no frequency: the mean
    even, odd = up.sqrt() + down.sqrt(), up.sqrt() - down.sqrt()
    norm = (even.square().sum(1) + odd.square().sum(1)).sqrt()[:, None]
    return even / norm, odd / norm


def _hann(length: int) -> Tensor:
    return torch.hann_window(length + 2, periodic=False)[1:-1]


def _candidates(
    spectra: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], count: int
) -> tuple[Tensor, Tensor]:
    """Return the positions (n, K) of the most similar spectra to those of images, and mirrored."""
    likeness: tuple[list[Tensor], list[Tensor]] = ([], [])
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for start in range(0, len(others[0]), BLOCK):
        even, odd = (
            mine @ theirs[start : start + BLOCK].T
            for mine, theirs in zip(spectra, others, strict=True)
        )
        for side, likes in enumerate((even + odd, even - odd)):
            best = likes.topk(min(count, likes.shape[1]), dim=1)
            likeness[side].append(best.values)
            found[side].append(best.indices + start)
    first, mirrored = (
        _best(torch.cat(likes, dim=1), torch.cat(at, dim=1), count)
        for likes, at in zip(likeness, found, strict=True)
    )
    return first, mirrored


def _best(likeness: Tensor, positions: Tensor, count: int) -> Tensor:
    return positions.gather(1, likeness.topk(min(count, likeness.shape[1]), dim=1).indices)


# --- Comparisons ------------------------------------------------------------------------------


def _nearest(
    thumbs: Tensor, others: Tensor, likely: tuple[Tensor, Tensor], shift: int
) -> NearestThumbnails:
    """Return the nearest of the likely others of thumbnails (n, h, w)."""
    height, width = thumbs.shape[1:]
    centre = thumbs[:, shift : height - shift, shift : width - shift]
    plain, mirrored = (
        _nearest_crop(crops, others, positions)
        for crops, positions in zip((centre, centre.flip(2)), likely, strict=True)
    )
    nearer = mirrored.distances < plain.distances
    distances = torch.where(nearer, mirrored.distances, plain.distances)
    squares = _of_different(
        torch.cat(likely, dim=1), torch.cat([plain.squares, mirrored.squares], 1)
    )
    scale = squares.kthvalue(min(SCALE, len(others)), dim=1).values.clamp_min(0).sqrt()
    ratios = torch.where(scale > ROUNDING, distances / scale.clamp_min(ROUNDING), 1.0)
    return NearestThumbnails(
        distances=distances.numpy(),
        positions=torch.where(nearer, mirrored.positions, plain.positions).numpy(),
        ratios=ratios.clamp_max(1).numpy(),
    )


def _of_different(positions: Tensor, squares: Tensor) -> Tensor:
    """Return the squared distances (n, K), infinite but for the least of each position."""
    order = squares.argsort(dim=1, stable=True)
    positions, squares = positions.gather(1, order), squares.gather(1, order)
    same = (positions[:, :, None] == positions[:, None, :]).tril(-1).any(2)  # as one that is nearer
    return squares.masked_fill(same, torch.inf)


@dataclass(frozen=True)
class _Compared:
    """The nearest crop of others (n,), and the squared distances (n, K) of all that are likely."""

    distances: Tensor
    positions: Tensor
    squares: Tensor


def _nearest_crop(crops: Tensor, others: Tensor, likely: Tensor) -> _Compared:
    """Return how near the likely others (n, K) come to crops (n, h, w)."""
    squares = _squared_distances(crops.float(), others[likely].float())  # (n, K, S, S)
    best = squares.flatten(1).argmin(1)
    shifts = squares.shape[3]
    which, shifted = best // shifts**2, best % shifts**2
    positions = likely.gather(1, which[:, None])[:, 0]
    height, width = crops.shape[1:]
    windows = others[positions].unfold(1, height, 1).unfold(2, width, 1)  # (n, S, S, h, w)
    nearest = windows[torch.arange(len(crops)), shifted // shifts, shifted % shifts]
    return _Compared(_exact_distances(crops, nearest), positions, squares.flatten(2).amin(2))


def _squared_distances(crops: Tensor, others: Tensor) -> Tensor:
    """Return the squared distances of crops (n, h, w) to all crops of others (n, K, H, W)."""
    size = crops.shape[1:]
    a = crops - crops.mean((1, 2), keepdim=True)
    b = others - others.mean((2, 3), keepdim=True)
    products = functional.conv2d(b.transpose(0, 1), a[:, None], groups=len(a)).transpose(0, 1)
    norm_a = a.square().sum((1, 2))[:, None, None, None]
    mean, square = (functional.avg_pool2d(each, size, stride=1) for each in (b, b.square()))
    norm_b = (square - mean.square()) * size.numel()
    varies_a, varies_b = norm_a > 0.5, norm_b > 0.5  # one pixel that differs by 1 gives about 1
    correlation = products / (norm_a * norm_b).clamp_min(0.25).sqrt()
    both = varies_a & varies_b
    return varies_a.float() + varies_b.float() - 2 * torch.where(both, correlation, 0.0)


def _exact_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the distances (n,) of crops (n, h, w), uint8: products of whole numbers in float64."""
    x, y = a.flatten(1).double(), b.flatten(1).double()
    size, of_x, of_y = x.shape[1], x.sum(1), y.sum(1)
    var_x, var_y = size * x.square().sum(1) - of_x**2, size * y.square().sum(1) - of_y**2
    covariance = size * (x * y).sum(1) - of_x * of_y
    correlation = covariance / (var_x * var_y).clamp_min(1).sqrt()
    squares = (var_x > 0).double() + (var_y > 0).double() - 2 * correlation
    return squares.clamp_min(0).sqrt()
