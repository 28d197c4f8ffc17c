"""What was typed in the form, read as plain data; what cannot be read stays text, to be refused."""

import re

from experiments.submission.plain import read_number


def read_seeds(text: str) -> int | list[int] | str:
    """Return a count, a list, or the text when it is neither."""
    words = re.split(r"[\s,]+", text.strip(" ,"))
    numbers = [number for word in words if isinstance(number := read_number(word), int)]
    if len(numbers) < len(words):
        return text
    return numbers if len(numbers) > 1 or "," in text else numbers[0]
