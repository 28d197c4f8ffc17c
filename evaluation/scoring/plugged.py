"""Metrics of other packages: what such a function is given, and what it must return."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from evaluation.features.base import ExtractionStopped
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.plugins import PluginError, implementation
from evaluation.scoring.checks import EvaluationError


@dataclass(frozen=True)
class MetricInputs:
    """What a metric of another package is measured on; all tensors are float32 on one device.

    ``generated`` (N, D), ``reference`` (M, D) and ``held_out`` (L, D) are features, one row per
    image; ``held_out`` is None unless the metric needs it and the protocol has such images. The
    logits (N, K) and (M, K) are None where the extractor has no classes. ``parameters`` and
    ``uncertainty`` are the metric's in the protocol; intervals are of the confidence ``level``.
    All randomness is of ``seed``, the parameter of that name (0 without one). ``keep_going``
    is to be called now and then: it ends the work where someone asked for that.
    """

    generated: Tensor
    reference: Tensor
    held_out: Tensor | None
    generated_logits: Tensor | None
    reference_logits: Tensor | None
    parameters: Mapping[str, Any]
    uncertainty: Mapping[str, Any]
    level: float
    keep_going: Callable[[], None]

    @property
    def seed(self) -> int:
        """Return the parameter `seed`, 0 without one."""
        return int(self.parameters.get("seed", 0))


def measure_plugged(spec: MetricSpec, inputs: MetricInputs) -> MetricResult:
    """Return what the function of another package measures.

    Raises:
        EvaluationError: if it cannot be had, fails, or returns no finite result; with its package.
        ExtractionStopped: if ``inputs.keep_going`` said so.
    """
    brought = f"{spec.name} of {spec.package['name']} {spec.package['version']}"
    try:
        found = implementation(spec)(inputs)
    except (ExtractionStopped, torch.OutOfMemoryError):
        raise
    except PluginError as error:
        raise EvaluationError(f"{brought}: {error}") from error
    except Exception as error:
        raise EvaluationError(f"{brought}: {type(error).__name__}: {error}") from error
    if fault := _fault(found):
        raise EvaluationError(f"{brought}: {fault}")
    result: MetricResult = found
    return result


def _fault(found: object) -> str:
    """Return what is wrong with a result, "" if nothing is."""
    if not isinstance(found, MetricResult):
        return f"expected a MetricResult, got {type(found).__name__}"
    numbers = (found.value, found.corrected, found.standard_error, *(found.interval or ()))
    if any(number is not None and not _is_finite(number) for number in numbers):
        return f"expected finite numbers, or undefined() with a reason; got {numbers}"
    if found.value is None and not found.reason:
        return "expected a reason where there is no value"
    if found.interval is not None and (
        found.value is None or found.interval[0] > found.interval[1]
    ):
        return f"expected an interval from low to high around a value, got {found.interval}"
    try:
        json.dumps(dict(found.details), allow_nan=False)
    except (TypeError, ValueError):
        return "expected details of plain JSON values with finite numbers"
    return ""


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and isfinite(number)
