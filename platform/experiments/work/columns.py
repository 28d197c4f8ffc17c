"""What an engine found, as a row keeps it."""

import math
from typing import Any


def columns(found: Any) -> dict[str, Any]:
    """Return the columns of a MetricValue; found: a MetricResult of the engine."""
    low, high = found.interval or (None, None)
    return {
        "value": found.value,
        "bias_corrected": found.corrected,
        "standard_error": found.standard_error,
        "low": low,
        "high": high,
        "reason": found.reason,
        "details": _storable(dict(found.details)),
    }


def _storable(value: Any) -> Any:
    """Return JSON values as a database keeps them: what is not finite becomes None."""
    if isinstance(value, dict):
        return {name: _storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
