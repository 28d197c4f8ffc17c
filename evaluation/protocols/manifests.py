"""What somebody says of images that were made elsewhere: the manifest of an external submission.

It is plain data, `{"system": "DALL-E 3", "made_by": …}`. Whatever is not said stays unsaid, and is
shown so; costs are those that somebody declares, nobody here has measured them.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

from evaluation.protocols.checking import ProtocolError, expect

NOT_SAID = "not said"
MAX_NAME = 80  # characters of system and version together make a label of at most 100
MAX_VERSION = 19
MAX_TEXT = 1_000
MAX_SEEDS = 100_000
COSTS: Mapping[str, str] = {
    "images_per_second": "images drawn per second",
    "nfe": "network evaluations per image",
    "parameters": "weights needed to draw samples",
    "device_seconds": "seconds of device time of the training",
}
TEXTS: Mapping[str, str] = {  # name -> what it is, as pages and the template say it
    "system": "which system made the images",
    "version": "its version",
    "date": "when they were made, YYYY-MM-DD",
    "made_by": "who made them",
    "chosen": "how they were chosen: all of the first ones, the best of four, by hand",
    "post_processing": "what was done to them afterwards: resized, cropped, upscaled",
    "licence": "under which terms they may be shown",
    "hardware": "what the declared costs were measured on",
}


@dataclass(frozen=True)
class Manifest:
    """What is said of a submission; "" and {} where nothing is.

    costs: declared, by the names in COSTS. seeds: one for each image in the order of its set.
    """

    system: str
    version: str = ""
    date: str = ""
    made_by: str = ""
    chosen: str = ""
    post_processing: str = ""
    licence: str = ""
    hardware: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """Return the manifest of plain data; numbers may be text, as YAML read as text has them.

        Raises:
            ProtocolError: naming the field and what was expected there.
        """
        expect("manifest", isinstance(record, Mapping), "field: value pairs", record)
        known = (*TEXTS, "costs", "seeds")
        for name in record:
            if name not in known:
                raise ProtocolError(str(name)[:100], f"unknown; expected {', '.join(known)}")
        texts = {name: _text(name, record.get(name)) for name in TEXTS}
        if not texts["system"]:
            raise ProtocolError("system", f"missing; expected {TEXTS['system']}")
        if texts["date"]:
            _check_date(texts["date"])
        return cls(**texts, costs=_costs(record.get("costs")), seeds=_seeds(record.get("seeds")))

    @property
    def label(self) -> str:
        """Return the system with its version."""
        return f"{self.system} {self.version}".strip()

    @property
    def said(self) -> dict[str, str]:
        """Return every text by its name, NOT_SAID where nothing was."""
        return {name: getattr(self, name) or NOT_SAID for name in TEXTS}

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; what is not said is left out."""
        texts = {name: text for name in TEXTS if (text := getattr(self, name))}
        lists = {"costs": dict(self.costs), "seeds": list(self.seeds)}
        return texts | {name: value for name, value in lists.items() if value}


def template(comment: str = "", **said: str) -> str:
    """Return a manifest in YAML to fill in: every field is there, those given are said."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [
        f"{name}:{_in_yaml(said.get(name))}  # {what}{' (needed)' * (name == 'system')}"
        for name, what in TEXTS.items()
    ]
    lines += ["costs:  # as declared; leave out what nobody measured"]
    lines += [f"  # {name}: 1  # {what}" for name, what in COSTS.items()]
    lines += ["# seeds: [0, 1, 2]  # one for each image in the set's order, where you know them"]
    return "\n".join(lines) + "\n"


def _in_yaml(text: str | None) -> str:
    return "" if text is None else f" {json.dumps(text)}"


def _text(name: str, value: object) -> str:
    most = {"system": MAX_NAME, "version": MAX_VERSION}.get(name, MAX_TEXT)
    if value is None:
        return ""
    if isinstance(value, int | float | date) and not isinstance(value, bool):
        value = str(value)  # a version 1.5 and a date 2026-11-29, as YAML reads them
    is_plain = isinstance(value, str) and not any(map(_is_control, value))
    if not isinstance(value, str) or not is_plain or len(value) > most:
        raise ProtocolError(
            name, f"expected text of at most {most:,} printable characters, got {value!r}"[:300]
        )
    return value.strip()


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _check_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ProtocolError("date", f"expected a day, YYYY-MM-DD, got {text!r}"[:300]) from error


def _costs(given: object) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ProtocolError("costs", f"expected name: number pairs, got {given!r}"[:300])
    found = {}
    for name, value in given.items():
        if name not in COSTS:
            raise ProtocolError(f"costs.{name}"[:100], f"unknown; expected {', '.join(COSTS)}")
        number = _number(value)
        if number is None or not 0 < number < math.inf:
            message = f"expected a number above 0, or nothing; got {value!r}"[:300]
            raise ProtocolError(f"costs.{name}", message)
        found[name] = number
    return found


def _seeds(given: object) -> tuple[int, ...]:
    if given is None:
        return ()
    numbers = [_number(value) for value in given] if isinstance(given, list) else []
    whole = [int(n) for n in numbers if n is not None and n == int(n) and 0 <= n < 2**63]
    if not isinstance(given, list) or len(whole) < len(given) or len(whole) > MAX_SEEDS:
        raise ProtocolError(
            "seeds",
            f"expected at most {MAX_SEEDS:,} whole numbers, one for each image in the set's order",
        )
    return tuple(whole)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
