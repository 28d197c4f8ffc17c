"""What was typed in the form, read as plain data; what cannot be read stays text, to be refused."""

import re

from experiments.submission.guided import GUIDANCE, typed_scales
from experiments.submission.plain import read_number


def read_sampler(line: str) -> dict[str, str | list[str]]:
    """Return `ddim steps=50 eta=0` as a mapping; a word that is no `key=value` is its own key.

    A key that is there twice has both values, which no field takes. Several guidance scales have
    commas between them.
    """
    first, *others = line.split()
    sampler: dict[str, str] = {}
    for word in [first if "=" in first else f"name={first}", *others]:
        key, _, value = word.partition("=")
        sampler[key] = f"{sampler[key]}, {value}" if key in sampler else value
    return {
        key: typed_scales(value) if key == GUIDANCE else value for key, value in sampler.items()
    }


def read_seeds(text: str) -> int | list[int] | str:
    """Return a count, a list, or the text when it is neither."""
    words = re.split(r"[\s,]+", text.strip(" ,"))
    numbers = [number for word in words if isinstance(number := read_number(word), int)]
    if len(numbers) < len(words):
        return text
    return numbers if len(numbers) > 1 or "," in text else numbers[0]


def is_place(text: str) -> bool:
    """Whether the text may be the number of an entry."""
    return bool(re.fullmatch(r"\d{1,3}", text))
