"""Kinds of values that the command line takes (torch-free)."""

import argparse
from collections.abc import Callable

LARGEST = 2**62 - 1  # a seed and those after it fit into int64


def natural(text: str) -> int:
    """Return a whole number from 0."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """Return a whole number from 1; thousands may be set apart as in 60_000."""
    return _whole(text, 1)


def positives(text: str) -> list[int]:
    """Return whole numbers from 1, as commas separate them."""
    return [positive(part) for part in text.split(",")]


def label_rule(text: str) -> str | list[int]:
    """Return "training", "uniform", or a share for each class, as commas separate them."""
    if text in ("training", "uniform"):
        return text
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(
            "expected training, uniform or a whole number for each class, as in 7,2,1; "
            f"got {text!r}"
        )
    return [natural(part) for part in parts]


def above_zero(text: str) -> float:
    """Return a finite number above 0."""
    return _number(text, lambda number: 0 < number < float("inf"), "a number above 0")


def fractions(text: str) -> list[float]:
    """Return numbers in 0..1, as commas separate them."""
    return [_number(part, lambda n: 0 <= n <= 1, "numbers in 0..1") for part in text.split(",")]


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= LARGEST:
        bounds = f"from {least} to {LARGEST}" if number > LARGEST else f"from {least}"
        raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {text!r}")
    return number


def _number(text: str, allowed: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not allowed(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return number
