"""Whether a protocol's extractor was tested on its dataset before use, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.models import Protocol
from leaderboards import rounding

DIGITS = 3  # of distances, which have no interval on a ladder


@dataclass(frozen=True)
class LadderRow:
    """Distances to clean real images as a corruption grows; all as text."""

    name: str
    levels: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class AdmissionBox:
    """The test of an extractor in words; `verdict` is "passed", "failed" or "not tested"."""

    verdict: str
    reasons: tuple[str, ...] = ()
    count: int | None = None  # images on each side
    floor: str = ""
    batches: str = ""
    ladders: tuple[LadderRow, ...] = ()


def admission_of(protocol: Protocol) -> AdmissionBox:
    """Return what registering the protocol found out about its extractor."""
    record = protocol.facts.get("admission")
    if not record:
        return AdmissionBox("not tested")
    return AdmissionBox(
        verdict="passed" if record["passed"] else "failed",
        reasons=tuple(record["reasons"]),
        count=record["count"],
        floor=_floor(record["floor"]),
        batches=f"{record['batch_invariance']:.2g}",
        ladders=tuple(_ladder(name, rungs) for name, rungs in record["ladders"].items()),
    )


@dataclass(frozen=True)
class _Estimate:
    value: float | None
    low: float | None
    high: float | None


def _floor(record: Mapping[str, Any]) -> str:
    """Return the distance between two halves of the real images, with its interval."""
    corrected = record.get("corrected")
    value = record.get("value") if corrected is None else corrected
    if value is None:
        return str(record.get("reason", ""))
    low, high = record.get("interval") or (None, None)
    estimate = _Estimate(value, low, high)
    places = rounding.decimals([estimate])
    return f"{rounding.number(value, places)} {rounding.spread(estimate, places)}".rstrip()


def _ladder(name: str, rungs: list[Mapping[str, Any]]) -> LadderRow:
    return LadderRow(
        name=name.replace("_", " "),
        levels=tuple(f"{rung['level']:g}" for rung in rungs),
        values=tuple(_number(rung["value"]) for rung in rungs),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return rounding.number(value, rounding.decimals([_Estimate(value, None, None)]))
