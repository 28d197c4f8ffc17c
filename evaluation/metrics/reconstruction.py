"""How faithfully images come back from an encoder and decoder: PSNR and SSIM of pairs."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evaluation.metrics.uncertainty import MetricResult, normal_quantile, undefined, within

DATA_RANGE = 255.0  # between the darkest and the brightest possible value
WINDOW = 11  # pixels, of the Gaussian of SSIM
SIGMA = 1.5  # pixels
K1, K2 = 0.01, 0.03
MIN_IMAGES = 30  # fewer: the mean over images is not near enough to normal for an interval
_PIXELS = 2**20  # compared at a time, in float64


def psnr(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    *,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the mean over images of 10 log₁₀(255² / MSE) in decibels, of uint8 (N, C, H, W) pairs.

    MSE is the mean over an image's channels and pixels. An image that comes back exactly has an
    infinite ratio: it is left out of the mean, and ``reason`` and ``details`` say how many are;
    where all come back exactly the mean is undefined. The interval is normal, over images.

    Raises:
        ValueError: if the two are not uint8 images of one shape.
    """
    errors = [
        ((x - y) ** 2).mean((1, 2, 3)) for x, y in _pairs(originals, reconstructions, keep_going)
    ]
    if not errors:
        return undefined("needs at least 1 image, got 0")
    mse = torch.cat(errors).numpy()
    exact = int((mse == 0).sum())
    if exact == len(mse):
        return undefined(f"infinite: all {exact} images come back exactly")
    reason = f"{exact} of {len(mse)} images come back exactly and are left out" if exact else ""
    ratios = signal_to_noise(mse[mse > 0], data_range=DATA_RANGE)
    return _mean(ratios, level, reason=reason, details={"exact": exact, "images": len(mse)})


def ssim(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    *,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the mean over images of the structural similarity of uint8 (N, C, H, W) pairs, -1..1.

    See ``structural_similarity``; the data range is 255. Undefined for images smaller than its
    window of 11 x 11. The interval is normal, over images.

    Raises:
        ValueError: if the two are not uint8 images of one shape.
    """
    _check(originals, reconstructions)
    height, width = originals.shape[2:]
    if min(height, width) < WINDOW:
        return undefined(
            f"images of {width}x{height} are smaller than the window of {WINDOW}x{WINDOW}"
        )
    similarities = [
        structural_similarity(x, y, data_range=DATA_RANGE)
        for x, y in _pairs(originals, reconstructions, keep_going)
    ]
    if not similarities:
        return undefined("needs at least 1 image, got 0")
    values = torch.cat(similarities).numpy()
    return _mean(values, level, minimum=-1.0, maximum=1.0, details={"images": len(values)})


def signal_to_noise(mse: np.ndarray, *, data_range: float) -> np.ndarray:
    """Return the peak signal-to-noise ratios 10 log₁₀(data_range² / mse), in decibels."""
    ratios: np.ndarray = 10 * np.log10(data_range**2 / mse)
    return ratios


def structural_similarity(x: Tensor, y: Tensor, *, data_range: float) -> Tensor:
    """Return SSIM (N,) of images (N, C, H, W) of at least 11 x 11 pixels.

    Local means, variances and covariance are weighted by a Gaussian of 11 x 11 pixels with sigma
    1.5; K₁ is 0.01 and K₂ is 0.03. The mean is over all windows that lie wholly in the image, and
    over channels, which are compared one by one.

    Source: Wang et al., 2004, "Image quality assessment: from error visibility to structural
    similarity", eq. 13 and 17. Deviation: colour by channel, where they take grey images.
    """
    c_1, c_2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mu_x, mu_y = _local_mean(x), _local_mean(y)
    sigma_xx = _local_mean(x * x) - mu_x**2
    sigma_yy = _local_mean(y * y) - mu_y**2
    sigma_xy = _local_mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + c_1) / (mu_x**2 + mu_y**2 + c_1)
    structure = (2 * sigma_xy + c_2) / (sigma_xx + sigma_yy + c_2)
    return (luminance * structure).mean((1, 2, 3))


def _local_mean(images: Tensor) -> Tensor:
    """Return the Gaussian mean of every window, (N, C, H - 10, W - 10)."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    flat = images.flatten(0, 1)[:, None]  # (N·C, 1, H, W)
    rows = functional.conv2d(flat, weights.view(1, 1, 1, WINDOW))
    windows = functional.conv2d(rows, weights.view(1, 1, WINDOW, 1))
    return windows.view(*images.shape[:2], *windows.shape[2:])


def _pairs(
    originals: np.ndarray, reconstructions: np.ndarray, keep_going: Callable[[], None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield parts of both sets in float64."""
    _check(originals, reconstructions)
    count = max(1, _PIXELS // math.prod(originals.shape[1:]))
    for start in range(0, len(originals), count):
        keep_going()
        part = slice(start, start + count)
        yield (
            torch.from_numpy(originals[part].astype(np.float64)),
            torch.from_numpy(reconstructions[part].astype(np.float64)),
        )


def _check(originals: np.ndarray, reconstructions: np.ndarray) -> None:
    for images in (originals, reconstructions):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"expected uint8 images (N, 1 or 3, H, W), got {images.dtype} {images.shape}"
            )
    if originals.shape != reconstructions.shape:
        raise ValueError(
            f"expected one reconstruction of each original, got {reconstructions.shape} "
            f"for {originals.shape}"
        )


def _mean(
    values: np.ndarray,
    level: float,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    reason: str = "",
    details: dict[str, int],
) -> MetricResult:
    """Return the mean with its standard error and normal interval; ``reason`` is kept."""
    value, count = float(values.mean()), len(values)
    reasons = [reason] if reason else []
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    if count < MIN_IMAGES:
        reasons.append(f"no interval: {count} images are fewer than {MIN_IMAGES}")
    elif error == 0:
        reasons.append(f"no interval: every image gives {value:g}, so the spread is unknown")
    valid = count >= MIN_IMAGES and error > 0
    half_width = normal_quantile(level) * error
    found = MetricResult(
        value=value,
        standard_error=error if valid else None,
        interval=(value - half_width, value + half_width) if valid else None,
        reason="; ".join(reasons),
        details=details,
    )
    return within(found, minimum=minimum, maximum=maximum)
