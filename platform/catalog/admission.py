"""What the admission test said of a protocol: whether its values may be ranked, and why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from catalog.models import Protocol
from evaluation.protocols.record import images_needed

RULES = 2  # the version of `evaluation.scoring.admission`; those before asked for less


@dataclass(frozen=True)
class Verdict:
    """The test's answer.

    ``unranked``: metrics whose values have no ranks, each with the reason. They are all metrics of
    a protocol whose extractor failed, some where images are too few for these alone, and none
    where nobody tested. ``is_of_before``: by the rules of before, which asked neither for a
    classifier's accuracy nor for images per feature.
    """

    word: Literal["passed", "failed", "not tested"]
    reasons: tuple[str, ...] = ()
    unranked: Mapping[str, str] = field(default_factory=dict)
    is_of_before: bool = False

    @property
    def words(self) -> str:
        """Return the answer as pages and commands print it."""
        return f"{self.word} by the rules of before" if self.is_of_before else self.word


def verdict_of(protocol: Protocol) -> Verdict:
    """Return what the test that is kept with a protocol says; "not tested" if there is none."""
    record = protocol.facts.get("admission")
    if not record:
        return Verdict("not tested")
    reasons, unranked = tuple(record["reasons"]), dict(record.get("unranked", {}))
    if reasons:
        unranked = dict.fromkeys(protocol.metrics, "; ".join(reasons)) | unranked
    return Verdict(
        word="passed" if record["passed"] else "failed",
        reasons=(*reasons, *record.get("unranked", {}).values()),
        unranked=unranked,
        is_of_before=record.get("version", 1) < RULES,
    )


def images_to_rank(protocol: Protocol) -> int:
    """Return with how many scored images all its metrics have ranks; 0 where images are not the reason."""
    record = protocol.facts.get("admission") or {}
    unranked = record.get("unranked", {})
    if record.get("reasons") or not unranked:
        return 0
    parsed = protocol.parsed()
    needed = max(images_needed(parsed, name)[0] for name in unranked)
    return needed if protocol.num_images < needed <= parsed.reference.count else 0


def told(protocol: Protocol) -> list[str]:
    """Return the answer in lines, as commands print it."""
    found, record = verdict_of(protocol), protocol.facts.get("admission")
    if not record:
        return ["extractor: not tested"]
    if record["passed"]:
        return [f"extractor: {found.words}, its test on {record['count']} images"]
    return [
        *(f"extractor: {found.words}: {reason}" for reason in record["reasons"]),
        *(f"no ranks: {reason}" for reason in record.get("unranked", {}).values()),
        *([_advice(needed)] if (needed := images_to_rank(protocol)) else []),
    ]


def _advice(needed: int) -> str:
    return f"all metrics have ranks where {needed:,} images are scored: --num-images {needed}"
