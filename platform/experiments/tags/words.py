"""What may be a tag, and how tags are read: from plain data, from a field of a form, of a filter."""

import re

MOST = 10  # of an experiment
LONGEST = 30  # characters
WORD = re.compile(r"[a-z0-9][a-z0-9._-]*")
WANTED = f"1 to {LONGEST} letters a to z, digits, '-', '_' or '.', a letter or digit first"


def read_words(given: object) -> list[str]:
    """Return the tags of a list in the order of the alphabet, each once, in small letters.

    Raises:
        ValueError: if it is no list, is too long, or holds what is no tag.
    """
    if not isinstance(given, list):
        raise ValueError(f"expected a list of words, got {given!r}"[:300])
    for word in given:
        if problem := word_problem(word):
            raise ValueError(problem)
    words = sorted({in_small_letters(word) for word in given})
    if len(words) > MOST:
        raise ValueError(f"expected at most {MOST} tags, got {len(words)}")
    return words


def word_problem(word: object) -> str:
    """Return why a value is no tag, "" if it is one."""
    if not isinstance(word, str):
        return f"expected words, got {word!r}"[:300]
    small = in_small_letters(word)
    if len(small) <= LONGEST and WORD.fullmatch(small):
        return ""
    return f"expected a tag of {WANTED}, got {word[:100]!r}"


def in_small_letters(word: str) -> str:
    """Return a tag as it is kept; of letters beyond a to z nothing becomes one of these."""
    return word.strip(" ").lower() if word.isascii() else word


def typed_words(text: str) -> list[str]:
    """Return what stands between the commas and blanks of a field, none for an empty one."""
    return [word for word in re.split(r"[ ,]+", text) if word]
