"""Checks of a protocol's fields, each with the field's name in its refusal."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

HEX_64 = re.compile(r"[0-9a-f]{64}")
FOR_PEOPLE: Mapping[str, Any] = {"dataset": "", "recipe": {}, "lossy": 0}
OPTIONAL: Mapping[str, Any] = {
    **FOR_PEOPLE,
    "labels": None,
    "prompts": None,
}  # what a record may leave out


class ProtocolError(ValueError):
    """A record is no protocol; the message begins with the name of the field."""

    def __init__(self, name: str, message: str) -> None:
        """Keep the dotted name of the field beside the message."""
        super().__init__(f"{name}: {message}")
        self.field = name


def known_fields(kind: type, record: object, prefix: str) -> dict[str, Any]:
    """Return the values of a dataclass's fields; what is optional may be missing."""
    if not isinstance(record, Mapping):
        raise ProtocolError(prefix.rstrip(".") or "record", f"expected an object, got {record!r}")
    names = [item.name for item in fields(kind)]
    for name in record:
        if name not in names:
            raise ProtocolError(f"{prefix}{name}", f"unknown; expected {', '.join(names)}")
    for name in names:
        if name not in record and name not in OPTIONAL:
            raise ProtocolError(f"{prefix}{name}", "missing")
    return {**{name: OPTIONAL[name] for name in OPTIONAL if name in names}, **record}


def check_plain(name: str, value: object) -> None:
    """Raise ProtocolError unless the value is an object of plain JSON values."""
    expect(name, isinstance(value, Mapping), "an object", value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProtocolError(name, "expected plain JSON values with finite numbers") from error


def expect(name: str, holds: bool, expected: str, value: object) -> None:
    """Raise ProtocolError with what was expected unless it holds."""
    if not holds:
        raise ProtocolError(name, f"expected {expected}, got {value!r}")


def expect_digest(name: str, value: object) -> None:
    """Raise ProtocolError unless the value is a sha256."""
    is_digest = isinstance(value, str) and HEX_64.fullmatch(value) is not None
    expect(name, is_digest, "64 lower-case hexadecimal digits", value)


def expect_count(name: str, value: object, *, minimum: int) -> None:
    """Raise ProtocolError unless the value is a whole number of at least `minimum`."""
    holds = isinstance(value, int) and is_count(value) and value >= minimum
    expect(name, holds, f"a whole number of at least {minimum}", value)


def is_count(value: object) -> bool:
    """Return whether the value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)
