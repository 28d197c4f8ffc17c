"""The mean of one metric over several networks of an extractor."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from evaluation.metrics.uncertainty import MetricResult
from evaluation.scoring.measures import in_range


def averaged(name: str, results: Sequence[MetricResult]) -> MetricResult:
    """Return the mean of one metric over several networks of a kind.

    Errors are averaged too: that bounds the error of the mean whatever their correlation.
    """
    if len(results) == 1:
        return results[0]
    absent = [found for found in results if found.value is None]
    if absent:
        return absent[0]
    bare = next((found.reason for found in results if found.interval is None), "")
    value = _mean([found.value for found in results])
    corrected = _mean([found.corrected for found in results])
    mean = MetricResult(
        value=value,
        corrected=corrected,
        standard_error=_mean([found.standard_error for found in results]),
        reason=bare,
        details={"each": [found.value for found in results]} | _mean_spreads(results),
    )
    if bare:
        return mean
    assert mean.estimate is not None, "absent values were sorted out"
    arm = fmean(map(_half_width, results))  # clipped once, not for each network
    return in_range(name, replace(mean, interval=(mean.estimate - arm, mean.estimate + arm)))


def _mean_spreads(results: Sequence[MetricResult]) -> dict[str, float]:
    """Return the means of what is known of a value's spread where nothing is wrong."""
    names = [name for name in results[0].details if name.startswith("null_")]
    return {name: fmean(found.details[name] for found in results) for name in names}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _half_width(found: MetricResult) -> float:
    """Return the longer arm of an interval: the other one may have been clipped."""
    assert found.interval is not None, "results without intervals were sorted out"
    assert found.estimate is not None, "absent values were sorted out"
    return max(found.estimate - found.interval[0], found.interval[1] - found.estimate)
