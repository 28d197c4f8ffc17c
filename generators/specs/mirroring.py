"""What a training that mirrors its images learns wrongly (torch-free rim)."""

from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.imagesets.texts import vocabulary

SIDED = frozenset(  # words of which a mirrored image shows the contrary
    [
        "left",
        "right",
        "leftmost",
        "rightmost",
        "leftward",
        "rightward",
        "leftwards",
        "rightwards",
        "lefthand",
        "righthand",
        "clockwise",
        "counterclockwise",
        "anticlockwise",
    ]
)


def mirrored_words(config: Mapping[str, Any], texts: Iterable[str]) -> list[str]:
    """Return the words that become wrong where images are mirrored, sorted; none if none are.

    Args:
        config: of a training.
        texts: what it learns of images: their captions, or the names of their classes.
    """
    is_mirrored = config.get("horizontal_flip") and config.get("conditional")
    return sorted(SIDED.intersection(vocabulary(texts))) if is_mirrored else []


def mirror_warning(words: list[str], option: str) -> str:
    """Return what to say of such words."""
    named = ", ".join(repr(word) for word in words)
    return (
        f"{option} mirrors half of the images, and what is learned of them says {named}: of a "
        "mirrored image that is wrong, so a model can only learn what it says by halves"
    )
