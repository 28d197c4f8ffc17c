"""What may be a name, of whatever it is."""

import unicodedata

# Marks of direction: what follows them is read in another order than it is written.
OVERRIDES = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

UNREADABLE = "\ufffd"  # stands for bytes that are no text


def name_problem(name: object, most: int) -> str:
    """Return why a text cannot be a name of at most so many characters, "" if it can.

    Control characters, ends of lines and marks of direction are in no name: two would look alike,
    or one like something else. Nor is what stands for text that could not be read.
    """
    if not isinstance(name, str) or not 0 < len(name.strip()) <= most:
        return f"expected a name of 1 to {most} characters, got {name!r}"[:300]
    for place, character in enumerate(name.strip()):
        if character == UNREADABLE:
            return f"expected text that can be read, got U+FFFD after {place} characters"
        if character in OVERRIDES or unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            unseen = f"U+{ord(character):04X} after {place} characters"
            return f"expected no control characters and no marks of direction, got {unseen}"
    return ""
