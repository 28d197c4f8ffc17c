"""Which text names a class or describes an image, and the words of captions.

A word is a run of letters, marks and digits of any script, in lower case; all else parts words.
Only the standard library is needed here.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.imagesets.sources import ImageError, is_plain

LABEL_COLUMNS = ("label", "labels")  # of tables, in this order
CAPTION_COLUMNS = ("text", "caption")
MAX_CLASS_NAME = 255  # characters
MAX_CAPTION = 1_000  # characters


@dataclass(frozen=True)
class CaptionFacts:
    """What captions are, in numbers.

    count: captions. distinct: of them. words: distinct words of all. shortest, mean, longest: words
    of a caption.
    """

    count: int
    distinct: int
    words: int
    shortest: int
    mean: float
    longest: int

    def __str__(self) -> str:
        return (
            f"{self.count:,} captions, {self.distinct:,} distinct, of {self.words:,} distinct "
            f"words; {self.shortest:,} to {self.longest:,} words each, {self.mean:.3g} on average"
        )


def caption_facts(captions: Sequence[str]) -> CaptionFacts:
    """Return what captions are, in numbers; there is at least one."""
    times = Counter(captions)
    lengths = {caption: len(words(caption)) for caption in times}
    total = sum(lengths[caption] * number for caption, number in times.items())
    return CaptionFacts(
        count=len(captions),
        distinct=len(times),
        words=len(vocabulary(times)),
        shortest=min(lengths.values()),
        mean=total / len(captions),
        longest=max(lengths.values()),
    )


def words(caption: str) -> list[str]:
    """Return the words of a caption in their order, composed (NFC) and in lower case."""
    text = unicodedata.normalize("NFC", caption).lower()
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()


def vocabulary(captions: Iterable[str]) -> list[str]:
    """Return the distinct words of captions, sorted."""
    return sorted({word for caption in set(captions) for word in words(caption)})


def check_class(where: str, name: str) -> str:
    """Return the name of a class; raise ImageError unless it is plain and of bearable length."""
    if not 1 <= len(name) <= MAX_CLASS_NAME or not is_plain(name):
        raise ImageError(
            f"{where}: the class {name[:MAX_CLASS_NAME]!a}; expected 1 to {MAX_CLASS_NAME} "
            "printable characters"
        )
    return name


def check_caption(where: str, caption: Any) -> str:
    """Return a caption; raise ImageError unless it is plain text of bearable length."""
    expected = f"expected text of 1 to {MAX_CAPTION:,} printable characters"
    if not isinstance(caption, str):
        raise ImageError(f"{where}: the caption {ascii(caption)[:100]}; {expected}")
    if not caption.strip():
        raise ImageError(f"{where}: an empty caption; {expected}")
    if len(caption) > MAX_CAPTION:
        raise ImageError(f"{where}: a caption of {len(caption):,} characters; {expected}")
    if not is_plain(caption):
        raise ImageError(
            f"{where}: the caption {caption[:100]!a} has control characters; {expected}"
        )
    return caption


def check_captions(name: str, captions: Sequence[Any], titles: Sequence[str]) -> tuple[str, ...]:
    """Return the captions of images; titles: what errors call the images.

    Raises:
        ImageError: if there is not a plain one of bearable length for each.
    """
    if len(captions) != len(titles):
        raise ImageError(
            f"{name}: {len(captions):,} captions for {len(titles):,} images; expected one for each"
        )
    missing = [i for i, caption in enumerate(captions) if caption is None]
    if missing:
        raise missing_texts(name, "caption", len(missing), len(titles), titles[missing[0]])
    return tuple(
        check_caption(f"{name}: {title}", caption)
        for title, caption in zip(titles, captions, strict=True)
    )


def missing_texts(name: str, what: str, missing: int, count: int, first: str) -> ImageError:
    """Return the error of images that have no label or caption where others have one."""
    have = "has" if missing == 1 else "have"
    return ImageError(
        f"{name}: {missing:,} of {count:,} images {have} no {what}, the first is {first}; "
        "expected one for every image or for none"
    )
