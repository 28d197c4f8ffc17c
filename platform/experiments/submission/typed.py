"""What was typed in the form, read as plain data; what cannot be read stays text, to be refused."""

import math
import re


def read_sampler(line: str) -> dict[str, str]:
    """Return `ddim steps=50 eta=0` as a mapping; a word that is no `key=value` is its own key."""
    first, *others = line.split()
    words = others if "=" not in first else [first, *others]
    sampler = {} if "=" in first else {"name": first}
    return sampler | {word.partition("=")[0]: word.partition("=")[2] for word in words}


def read_seeds(text: str) -> int | list[int] | str:
    """Return a count, a list, or the text when it is neither."""
    words = re.split(r"[\s,]+", text.strip(" ,"))
    if not all(re.fullmatch(r"[0-9]{1,18}", word) for word in words):
        return text
    numbers = [int(word) for word in words]
    return numbers[0] if re.fullmatch(r"\s*\d+\s*", text) else numbers


def read_amount(text: str) -> float | str:
    """Return a finite number, or the text when it is none."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def read_count(text: str) -> int | str:
    """Return a whole number, 0 for nothing, or the text when it is none."""
    return int(text or "0") if text.isdecimal() or not text else text
