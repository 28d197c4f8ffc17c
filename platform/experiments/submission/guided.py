"""Samplers at several guidance scales, written as one: `{"name": "ddim", "guidance": [0, 1, 2]}`."""

from collections.abc import Mapping, Sequence
from typing import Any

GUIDANCE = "guidance"  # the field of a sampler that has one


def one_by_one(samplers: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return each sampler with its place, one that lists scales once for each of them."""
    return [(place, each) for place, sampler in enumerate(samplers) for each in _spread(sampler)]


def _spread(sampler: Any) -> list[Any]:
    scales = sampler.get(GUIDANCE) if isinstance(sampler, Mapping) else None
    if not isinstance(scales, list) or not scales:
        return [sampler]
    return [{**sampler, GUIDANCE: scale} for scale in scales]
