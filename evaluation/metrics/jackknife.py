"""The grouped jackknife: bias correction and interval from leaving out one group at a time."""

import numpy as np

from evaluation.metrics.uncertainty import MetricResult, student_quantile, within


def seeded_groups(count: int, groups: int, *, seed: int) -> list[np.ndarray]:
    """Return a partition of 0..count-1 into groups of equal size, at most one image apart.

    Shuffled, because images sorted by class would make the groups unlike each other.
    """
    return np.array_split(np.random.default_rng(seed).permutation(count), groups)


def jackknifed(
    value: float,
    left_out: np.ndarray,
    *,
    level: float,
    corrected: float | None = None,  # known in another way; None = from the groups left out
    minimum: float | None = None,
    maximum: float | None = None,
) -> MetricResult:
    """Return ``value`` without its 1/N bias, and a Student interval around that.

    ``left_out``: (B,), the same estimate with one of B groups left out. The interval is clipped to
    ``minimum`` and ``maximum``, and absent where it lies wholly beyond one of them.

    Source: Tukey, 1958, "Bias and confidence in not-quite large samples", with groups.
    """
    groups = len(left_out)
    if corrected is None:
        corrected = groups * value - (groups - 1) * float(left_out.mean())
    variance = (groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum())
    half_width = variance**0.5 * student_quantile(level, degrees_of_freedom=groups - 1)
    found = MetricResult(
        value=value,
        corrected=corrected,
        standard_error=variance**0.5,
        interval=(corrected - half_width, corrected + half_width),
    )
    return within(found, minimum=minimum, maximum=maximum)
