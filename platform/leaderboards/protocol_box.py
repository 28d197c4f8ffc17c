"""A protocol in words: what a board's page says of how its numbers were made."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from catalog.models import Protocol
from evaluation.protocols.metrics import arrow
from leaderboards.admission_box import admission_of

Pairs = list[tuple[str, str]]
RULES = ("quantisation", "selection", "lossy", "alpha")  # of images; others have lines of their own
MOST_PROMPTS = 200  # that are shown of a set
MANY = 4  # differences; of more, the most telling are shown and the rest folded away
TELLING = ("version", "extractor name", "num images", "reference", "extractor weights", "images")


@dataclass(frozen=True)
class MetricInWords:
    """One metric with every parameter of its value and of its interval."""

    label: str
    arrow: str
    help: str
    parameters: Pairs
    uncertainty: Pairs


@dataclass(frozen=True)
class Apart:
    """Why the boards of two protocols stand apart, in words: first `protocol`'s, then `other`'s."""

    protocol: Protocol
    other: Protocol
    differences: list[str]

    @property
    def is_long(self) -> bool:
        return len(self.differences) > MANY

    @property
    def telling(self) -> list[str]:
        """Return those that say most, as far as a short list goes."""
        return sorted(self.differences, key=_place)[: MANY - 1]


def _place(difference: str) -> int:
    found = [place for place, name in enumerate(TELLING) if difference.startswith(name)]
    return found[0] if found else len(TELLING)


def apart(protocol: Protocol, others: Iterable[Protocol]) -> list[Apart]:
    """Return what sets a protocol apart from each of the others."""
    return [
        Apart(protocol, other, [*_differences(_key(protocol), _key(other))]) for other in others
    ]


def _key(protocol: Protocol) -> tuple[str, str, str]:
    return protocol.name, protocol.fingerprint, json.dumps(protocol.record)


@lru_cache(maxsize=256)  # records never change, and pages of experiments set the same few apart
def _differences(one: tuple[str, str, str], other: tuple[str, str, str]) -> tuple[str, ...]:
    pair = [Protocol(name=n, fingerprint=f, record=json.loads(text)) for n, f, text in (one, other)]
    return tuple(pair[0].differences(pair[1]))


def describe(protocol: Protocol) -> dict[str, Any]:
    """Return the context of the protocol box."""
    return {
        "protocol": protocol,
        "admission": admission_of(protocol),
        "facts": [
            (_words(name), _fact(value))
            for name, value in protocol.facts.items()
            if name != "admission"  # told by its own part of the page
        ],
        "metrics": [_metric(protocol, name) for name in protocol.metrics],
        "rules": [
            *((rule, text) for rule, text in pairs(protocol.record["images"]) if rule in RULES),
            *pairs(protocol.record.get("numerics", {})),  # version 1 had none
        ],
        "prompts": protocol.prompt_set.record["prompts"][:MOST_PROMPTS]
        if protocol.prompt_set
        else [],
        "recipe": pairs(protocol.record["extractor"]["recipe"]),
    }


def _metric(protocol: Protocol, name: str) -> MetricInWords:
    record, spec = protocol.record, protocol.metric(name)
    parameters = {key: value for key, value in record["metrics"][name].items() if key != "board"}
    return MetricInWords(
        label=protocol.label_of(spec),
        arrow=arrow(spec),
        help=spec.help,
        parameters=pairs(parameters),  # without what its arrow and its place on a board say
        uncertainty=[
            ("level", f"{record['uncertainty']['level']:g}"),
            *pairs(record["uncertainty"].get(name, {})),
        ],
    )


def pairs(values: Mapping[str, Any], prefix: str = "") -> Pairs:
    """Return nested values as flat pairs of words, in their order."""
    found: Pairs = []
    for name, value in values.items():
        words = f"{prefix}{_words(name)}"
        found += pairs(value, f"{words}: ") if isinstance(value, Mapping) else [(words, str(value))]
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_share = isinstance(value, float) and 0 <= value <= 1
    return f"{100 * value:.2f} %" if is_share else str(value)
