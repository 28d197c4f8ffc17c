"""The result of one metric, and how intervals and features are handled by all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

Features = Tensor | np.ndarray

CHUNK = 4096  # rows worked on at a time


@dataclass(frozen=True)
class MetricResult:
    """One measured number with what is known of its error.

    A number that is undefined is ``None`` and never 0; ``reason`` then says why, and also why an
    interval is absent. ``value`` is the plain plug-in estimate of the textbook definition;
    ``corrected`` is that without its leading sample-size bias, and ``interval`` (low, high) is
    around it: see ``within``. ``details`` holds what stands behind the number, such as a histogram,
    as plain JSON values.
    """

    value: float | None
    corrected: float | None = None
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def estimate(self) -> float | None:
        """The number that the interval is of: ``corrected`` if there is one, else ``value``."""
        return self.value if self.corrected is None else self.corrected

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values: the numbers, or ``absent`` with the reason."""
        if self.value is None:
            absent: dict[str, Any] = {"absent": True, "reason": self.reason}
            return absent | ({"details": dict(self.details)} if self.details else {})
        record: dict[str, Any] = {
            "value": self.value,
            "corrected": self.corrected,
            "standard_error": self.standard_error,
            "interval": None if self.interval is None else list(self.interval),
        }
        if self.reason:
            record["reason"] = self.reason
        if self.details:
            record["details"] = dict(self.details)
        return record


def undefined(reason: str) -> MetricResult:
    """Return a result without a value."""
    return MetricResult(value=None, reason=reason)


class Estimate(float):
    """The value of a metric, used as a number, which still knows what is known of its error.

    ``estimate == 0.5`` compares the value; ``estimate.interval`` and the like are those of
    ``estimate.result``.

    Raises:
        ValueError: if the result has no value.
    """

    result: MetricResult

    def __new__(cls, result: MetricResult) -> Self:
        """Return the value of ``result`` with the rest of it."""
        if result.value is None:
            raise ValueError(f"expected a result with a value, got none: {result.reason}")
        estimate = super().__new__(cls, result.value)
        estimate.result = result
        return estimate

    def __getnewargs__(self) -> tuple[MetricResult]:  # type: ignore[override]  # for copies
        return (self.result,)

    @property
    def value(self) -> float:
        """The plain plug-in estimate, as a plain number."""
        return float(self)

    @property
    def corrected(self) -> float | None:
        """The value without its leading sample-size bias."""
        return self.result.corrected

    @property
    def standard_error(self) -> float | None:
        """The spread that the value has from sampling."""
        return self.result.standard_error

    @property
    def interval(self) -> tuple[float, float] | None:
        """The bounds (low, high) around ``corrected``, or else around the value."""
        return self.result.interval

    @property
    def reason(self) -> str:
        """Why there is no interval; empty if there is one."""
        return self.result.reason


def estimated(result: MetricResult) -> Estimate | None:
    """Return the result as a number; None if it is undefined."""
    return None if result.value is None else Estimate(result)


def normal_quantile(level: float) -> float:
    """Return z such that a normal variable lies within ±z with probability ``level``."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(level: float, *, degrees_of_freedom: int) -> float:
    """Return t such that Student's variable lies within ±t with probability ``level``."""
    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))


def within(
    result: MetricResult, *, minimum: float | None = None, maximum: float | None = None
) -> MetricResult:
    """Return the result with its interval moved into the range that the quantity can have.

    The rule of all metrics: an interval is clipped at both ends, and holds the estimate clipped
    alike. The estimate itself, which may be out of range by chance, stays as it is: a mean over
    seeds of clipped ones would be biased. An interval that lies wholly out of range, or does not
    hold its estimate, is absent with a reason.

    Raises:
        ValueError: if the interval ends below where it begins.
    """
    if result.interval is None:
        return result
    low, high = result.interval
    if low > high:
        raise ValueError(f"expected an interval from low to high, got {low} to {high}")
    if reason := _out_of_range(result, minimum, maximum):
        return replace(result, interval=None, reason=f"no interval: {reason}")
    moved = clipped(low, minimum, maximum), clipped(high, minimum, maximum)
    return replace(result, interval=moved)


def _out_of_range(result: MetricResult, minimum: float | None, maximum: float | None) -> str:
    """Return why an interval cannot be moved into the range, "" if it can."""
    assert result.interval is not None, "an interval was given"
    assert result.estimate is not None, "an interval is around a number"
    low, high = result.interval
    if minimum is not None and high < minimum:
        return f"all of it lies below {minimum:g}, the least possible value"
    if maximum is not None and low > maximum:
        return f"all of it lies above {maximum:g}, the largest possible value"
    if not low <= clipped(result.estimate, minimum, maximum) <= high:
        return f"it does not hold the estimate, {result.estimate:g}"
    return ""


def clipped(value: float, minimum: float | None, maximum: float | None) -> float:
    """Return ``value`` moved into the range that the estimated quantity can have."""
    lower = -math.inf if minimum is None else minimum
    upper = math.inf if maximum is None else maximum
    return min(max(value, lower), upper)


def wilson_interval(right: int, count: int, *, level: float) -> tuple[float, float]:
    """Return the score interval of a proportion, within 0..1, of ``right`` in ``count`` trials.

    Source: Wilson, 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z_squared = normal_quantile(level) ** 2
    p = right / count
    centre = (p + z_squared / (2 * count)) / (1 + z_squared / count)
    spread = math.sqrt(z_squared * (p * (1 - p) / count + z_squared / (4 * count**2)))
    half_width = spread / (1 + z_squared / count)
    # min, max: rounding may leave 0 or 1, which the interval holds, just outside.
    return min(p, max(0.0, centre - half_width)), max(p, min(1.0, centre + half_width))


def as_rows(features: Features, *, device: torch.device | str | None = None) -> Tensor:
    """Return ``features`` of shape (N, D), one row per image, as float32 or float64.

    They are neither copied nor widened if they are of these types already and on the device.

    Raises:
        ValueError: if the shape is another, there is no column, or a value is not finite.
    """
    tensor = _as_tensor(features).to(device=device)
    if tensor.dtype not in (torch.float32, torch.float64):
        narrow = tensor.dtype in (torch.float16, torch.bfloat16)
        tensor = tensor.to(torch.float32 if narrow else torch.float64)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise ValueError(f"expected features of shape (N, D), got {tuple(tensor.shape)}")
    if not all(_is_finite(part) for part in tensor.split(CHUNK)):
        raise ValueError("expected finite features, got NaN or infinity")
    return tensor


def as_row_pair(first: Features, second: Features) -> tuple[Tensor, Tensor]:
    """Return both sets as (N, D) and (M, D), float32 or float64, on the device of the first.

    Raises:
        ValueError: if one is not a finite (N, D) set or their widths differ.
    """
    x = as_rows(first)
    y = as_rows(second, device=x.device)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"expected features of equal width, got {x.shape[1]} and {y.shape[1]}")
    return x, y


def as_features(features: Features, *, device: torch.device | str | None = None) -> Tensor:
    """Return ``features`` as float64 of shape (N, D), one row per image: a copy if narrower.

    Raises:
        ValueError: if the shape is another, there is no column, or a value is not finite.
    """
    # float64: differences of covariances and of squared norms lose their digits in float32.
    return as_rows(features, device=device).double()


def as_feature_pair(generated: Features, reference: Features) -> tuple[Tensor, Tensor]:
    """Return both sets as float64 (N, D) and (M, D) on the device of the generated ones.

    Raises:
        ValueError: if one is not a finite (N, D) set or their widths differ.
    """
    first, second = as_row_pair(generated, reference)
    return first.double(), second.double()


def _is_finite(part: Tensor) -> bool:
    # A sum is faster to look at and never finite with NaN or infinity in it, but may overflow.
    return bool(part.sum().isfinite()) or bool(part.isfinite().all())


def _as_tensor(features: Features) -> Tensor:
    if isinstance(features, Tensor):
        return features
    array = np.ascontiguousarray(features, dtype=features.dtype.newbyteorder("="))
    # A tensor may be written to: over a read-only array it has to be a copy.
    return torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)
