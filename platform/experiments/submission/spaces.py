"""Where a search draws values of options from, and what each of its trials draws.

An option has a list of values, or a range: `0.1..10` of all numbers between, `1e-4..1e-2 log` of
those with equal chances for each factor, `1..9 step 2` and `1e-4..1e-2 log 5` of a few. Trial k of a
seed draws the same values always, whichever trials there are besides.
"""

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.submission.grids import RANGE, read_values
from experiments.submission.plain import read_number
from generators.specs.options import FieldSpec

DIGITS = 6  # of a drawn number
ATTEMPTS = 1000  # at a trial that is like no other
HOW = "expected values (1, 2, 4) or a range (0.1..10, 1e-4..1e-2 log, 1..9 step 2)"

Space = dict[str, Any]  # {"values": […]} or {"low", "high", "log", "whole"}


def read_space(given: Any, spec: FieldSpec | None) -> Space:
    """Return where an option's values are from; a field that takes whole numbers gets no others.

    Raises:
        ValueError: if that cannot be understood.
    """
    found = RANGE.fullmatch(given) if isinstance(given, str) else None
    if found is None or (found["how"] or "log") != "log":
        return {"values": read_values(given)}
    low, high = read_number(found["first"]), read_number(found["last"])
    is_log = found["how"] is not None
    if low is None or high is None or low >= high or (is_log and low <= 0):
        wanted = ", the smaller number first" + ", above 0" * is_log
        raise ValueError(f"{HOW}{wanted}, got {given!r}"[:300])
    whole = spec is not None and spec.type == "int"
    return {"low": low, "high": high, "log": is_log, "whole": whole}


def count_of(space: Space) -> float:
    """Return how many values a space has."""
    if "values" in space:
        return len(space["values"])
    whole = math.floor(space["high"]) - math.ceil(space["low"]) + 1
    return whole if space["whole"] else math.inf


def drawn(space: Space, rng: random.Random) -> Any:
    """Return a value of a space."""
    if "values" in space:
        return rng.choice(space["values"])
    low, high = float(space["low"]), float(space["high"])
    if space["whole"]:
        low, high = math.ceil(low) - 0.5, math.floor(high) + 0.5  # the ends as likely as others
    if space["log"]:
        low = max(low, 0.5 if space["whole"] else low)
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    if space["whole"]:
        return int(min(max(round(value), math.ceil(space["low"])), math.floor(space["high"])))
    return min(max(float(f"{value:.{DIGITS}g}"), float(space["low"])), float(space["high"]))


def trials(options: Mapping[str, Space], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the values of each trial, no two alike where there are enough."""
    seen: set[tuple[str, ...]] = set()
    for number in range(1, count + 1):
        chosen = _unlike(options, seed, number, seen)
        seen.add(_key(chosen))
        yield chosen


def _unlike(
    options: Mapping[str, Space], seed: int, number: int, seen: set[tuple[str, ...]]
) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed}/{number}/{attempt}")  # noqa: S311  # not for secrets
        chosen = {name: drawn(options[name], rng) for name in sorted(options)}
        if _key(chosen) not in seen:
            break
    return chosen


def _key(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={chosen[name]}" for name in sorted(chosen))
