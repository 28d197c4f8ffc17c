"""Plain data that strangers hand in, JSON or YAML: what no database can keep is refused."""

import math
from typing import Any

MAX_VALUES = 20_000  # a submission of 50 entries has some 3,000
MAX_DEPTH = 50


class PlainDataError(ValueError):
    """Data that cannot be kept; the message says why."""


def check_plain(data: Any) -> None:
    """Refuse data that is too large, too deep, or holds what cannot be stored.

    A part that is referred to more than once, as in YAML, counts each time; one in itself is endless.

    Raises:
        PlainDataError: if it does.
    """
    pending = [(data, 0)]
    count = 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > MAX_VALUES:
            raise PlainDataError(f"holds more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise PlainDataError("nested too deeply")
        if isinstance(value, dict):
            pending.extend((part, depth + 1) for item in value.items() for part in item)
        elif isinstance(value, list):
            pending.extend((part, depth + 1) for part in value[: MAX_VALUES + 1])
        else:
            _check_leaf(value)


def _check_leaf(value: Any) -> None:
    if isinstance(value, str) and not _is_storable(value):
        raise PlainDataError("text holds a NUL or half a surrogate pair")
    if isinstance(value, float) and not math.isfinite(value):
        raise PlainDataError("a number is out of range")


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
