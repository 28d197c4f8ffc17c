"""Whether a protocol's extractor was tested on its dataset before use, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.admission import verdict_of
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
    """The test of a protocol in words; `verdict` is "passed", "failed" or "not tested".

    `unranked` are metrics whose values have no ranks, each with the reason: all of a protocol
    whose extractor failed, those that lack images otherwise. A protocol that nobody tested, or
    that passed by the rules of before (`is_of_before`), is ranked and says so: see `words`.
    """

    verdict: str
    words: str = "not tested"
    reasons: tuple[str, ...] = ()
    unranked: Mapping[str, str] = field(default_factory=dict)
    is_of_before: bool = False
    count: int | None = None  # images on each side
    accuracy: str = ""  # of a classifier, with the least it must be
    floor: str = ""
    batches: str = ""
    ladders: tuple[LadderRow, ...] = ()


def admission_of(protocol: Protocol) -> AdmissionBox:
    """Return what registering the protocol, or testing it again, found out about it."""
    record, found = protocol.facts.get("admission"), verdict_of(protocol)
    if not record:
        return AdmissionBox(found.word)
    return AdmissionBox(
        verdict=found.word,
        words=found.words,
        reasons=found.reasons,
        unranked=found.unranked,
        is_of_before=found.is_of_before,
        count=record["count"],
        accuracy=_accuracy(record.get("classifier")),
        floor=_floor(record["floor"]),
        batches=f"{record['batch_invariance']:.2g}",
        ladders=tuple(_ladder(name, rungs) for name, rungs in record["ladders"].items()),
    )


def _accuracy(classifier: Mapping[str, Any] | None) -> str:
    if not classifier:
        return ""
    return (
        f"{classifier['accuracy']:.1%} of {classifier['images']:,} held-out images, at least "
        f"{classifier['low']:.1%} with 95% confidence; expected {classifier['floor']:.1%}"
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
