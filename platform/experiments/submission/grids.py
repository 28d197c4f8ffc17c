"""Entries that differ by the values of a few options, written as one: `grid: {beta: [1, 4]}`.

Values are a list, or text: `1, 2, 4`, a range `1..8 step 1`, or `1e-4..1e-2 log 5` of five values
with one ratio between neighbours. Every combination of values makes an entry, whose label names them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

from experiments.submission.plain import read_number
from experiments.submission.reading import Reader, SearchSpec

MOST = 50  # entries of a grid, as of an experiment
RANGE = re.compile(r"\s*(?P<first>[^\s.]\S*?)\s*\.\.\s*(?P<last>\S+)(?:\s+(?P<how>.*\S))?\s*")
EXAMPLES = "expected values (1, 2, 4) or a range (1..8 step 1, 1e-4..1e-2 log 5)"


@dataclass(frozen=True)
class Placed:
    """An entry as plain data, where it was given, and what a grid varies of it, in words."""

    path: str
    entry: Any
    varied: str = ""
    search: SearchSpec | None = None  # that tries it, and as which trial
    trial: int | None = None


def expanded(reader: Reader, entries: list[Any]) -> list[Placed]:
    """Return each entry with its place, one that has a grid once for each combination of values.

    What is wrong with a value of a grid is reported at the grid.
    """
    return [made for place, entry in enumerate(entries) for made in _of(reader, place, entry)]


def _of(reader: Reader, place: int, entry: Any) -> list[Placed]:
    at = f"entries.{place}"
    if not isinstance(entry, Mapping) or "pipeline" in entry or "grid" not in entry:
        return [Placed(at, entry)]
    shared, given = {name: each for name, each in entry.items() if name != "grid"}, entry["grid"]
    if given in (None, {}):
        return [Placed(at, shared)]
    path = f"{at}.grid"
    if not isinstance(given, Mapping):
        reader.wrong(path, f"expected option: values pairs, got {given!r}"[:300])
        return []
    grid = {str(name): _values(reader, f"{path}.{name}", text) for name, text in given.items()}
    config = shared.get("config") or {}
    if not isinstance(config, Mapping):
        return [Placed(at, shared)]  # which is refused
    for name in grid:
        reader.moved[f"{at}.config.{name}"] = f"{path}.{name}"
        if name in config:
            reader.wrong(f"{path}.{name}", "expected it here or in config, not in both")
    count = math.prod(len(values) for values in grid.values())
    if count > MOST:
        reader.wrong(path, f"makes {count:,} entries, expected at most {MOST}")
        return []
    return [
        Placed(at, {**shared, "config": {**config, **chosen}}, _in_words(grid, chosen))
        for chosen in _combinations(grid)
    ]


def _combinations(grid: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _in_words(grid: Mapping[str, list[Any]], chosen: Mapping[str, Any]) -> str:
    """Return the options that have several values with the chosen one: `beta=1, latent_dim=8`."""
    return ", ".join(f"{name}={chosen[name]}" for name in grid if len(grid[name]) > 1)


def _values(reader: Reader, path: str, given: Any) -> list[Any]:
    """Return the values of an option; none, and wrong, where they cannot be read."""
    try:
        found = read_values(given)
    except ValueError as error:
        reader.wrong(path, str(error))
        return []
    if len({str(value) for value in found}) < len(found):
        reader.wrong(path, f"expected different values, got {given!r}"[:300])
    return found


def is_several(text: str) -> bool:
    """Return whether a text that was typed for one option stands for several values."""
    return "," in text or ".." in text


def read_values(given: Any) -> list[Any]:
    """Return the values that a list, one value, or a text such as `1..8 step 1` stands for.

    Raises:
        ValueError: if there are none, or more than a grid may have.
    """
    if isinstance(given, list):
        found = given
    elif isinstance(given, str) and ".." in given:
        found = _range(given)
    else:
        words = str(given).split(",")
        found = [word.strip() for word in words] if isinstance(given, str) else [given]
    if not found or any(value in ("", None) or isinstance(value, list | dict) for value in found):
        raise ValueError(f"{EXAMPLES}, got {given!r}"[:300])
    if len(found) > MOST:
        raise ValueError(f"expected at most {MOST} values, got {len(found):,}")
    return found


def _range(text: str) -> list[int | float]:
    found = RANGE.fullmatch(text)
    first, last = (_decimal(found[name]) for name in ("first", "last")) if found else (None, None)
    if found is None or first is None or last is None or last < first:
        raise ValueError(f"{EXAMPLES}, the smaller number first, got {text!r}"[:300])
    word, _, amount = (found["how"] or "step 1").partition(" ")
    size = _decimal(amount)
    if word == "step" and size is not None and size > 0:
        return _steps(first, last, size)
    if word == "log" and size is not None and size == int(size) >= 2 and first > 0:
        return _ratios(float(first), float(last), int(size))
    wanted = "step and a number above 0, or log, a count from 2 and numbers above 0"
    raise ValueError(f"expected {wanted}, got {text!r}"[:300])


def _decimal(text: str) -> Decimal | None:
    if read_number(text.strip()) is None:
        return None
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None


def _steps(first: Decimal, last: Decimal, step: Decimal) -> list[int | float]:
    count = int((last - first) / step) + 1
    if count > MOST:
        raise ValueError(f"expected at most {MOST} values, got {count:,}")
    return [_plain(float(first + step * i)) for i in range(count)]


def _ratios(first: float, last: float, count: int) -> list[int | float]:
    if count > MOST:
        raise ValueError(f"expected at most {MOST} values, got {count:,}")
    ratio = (last / first) ** (1 / (count - 1))
    return [_plain(float(f"{first * ratio**i:.6g}")) for i in range(count)]


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number
