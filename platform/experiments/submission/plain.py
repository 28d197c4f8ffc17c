"""Plain data that strangers hand in, JSON, YAML or typed: what no database can keep is refused."""

import math
from collections.abc import Iterable
from typing import Any

import yaml

MAX_VALUES = 20_000  # a submission of 50 entries has some 3,000
MAX_DEPTH = 50


class PlainDataError(ValueError):
    """Data that cannot be kept; the message says why."""


class _Loader(yaml.SafeLoader):
    """YAML whose values are text as they are written, but for nothing at all: null.

    The field that takes a value says what it means. YAML itself reads `1e3` as text, `1:30` as 90,
    `012` as 10, `no` as false and a fingerprint without letters as a number.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag.endswith((":null", ":merge"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)  # a list's is of nodes: itself
            if name in lines:
                first = lines[name]
                raise PlainDataError(f"line {line}: {name!r} is there already, in line {first}")
            lines[name] = line
        return node


def read_yaml(text: str) -> Any:
    """Return what YAML or JSON says, its numbers as text.

    Raises:
        PlainDataError: if a key is there twice, or it holds what `check_plain` refuses.
        yaml.YAMLError, ValueError, TypeError: if it is no YAML.
    """
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except RecursionError as error:
        raise PlainDataError("nested too deeply") from error
    check_plain(data)
    return data


def distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's fields.

    Raises:
        PlainDataError: if one is there twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise PlainDataError(f"{key[:100]!r} is there twice")
        found[key] = value
    return found


def read_number(value: object) -> int | float | None:
    """Return the finite number that a value is or writes, an int where it is whole; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not value.isascii():  # digits of other scripts
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if isinstance(value, int):
        return value  # exact
    return int(number) if number.is_integer() else number


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
