"""Which files beside images are left out, and how that is said: hidden files and text.

Everything else that is no image is refused, for an image of a kind that nobody reads must not
vanish without a word.
"""

from collections.abc import Sequence

HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")  # and whatever begins with a dot
TEXT_SUFFIXES = (
    ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".cff",
)  # fmt: skip
TEXT_NAMES = ("readme", "license", "licence", "copying", "notice", "authors", "changelog")


def is_hidden(steps: Sequence[str]) -> bool:
    """Return whether a file or folder of this path is hidden, or lies in what is."""
    return any(step.startswith(".") or step in HIDDEN for step in steps)


def is_text(name: str) -> bool:
    """Return whether a file of this name is text about images: a README, a licence, metadata."""
    last = name.rpartition("/")[2].lower()
    return last in TEXT_NAMES or last.endswith(TEXT_SUFFIXES)


def counted(what: str, names: Sequence[str]) -> list[str]:
    """Return in words how many of something there are and the first name, [] if there are none."""
    if not names:
        return []
    if len(names) == 1:
        return [f"1 {what} ({names[0]})"]
    noun, _, rest = what.partition(" of ")
    plural = f"{noun}s of {rest}" if rest else f"{noun}s"
    return [f"{len(names):,} {plural} ({names[0]}, …)"]
