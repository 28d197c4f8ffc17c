"""What images are asked for by: nothing, one of several classes, or words (torch-free rim)."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Literal, Self, TypeVar

from evaluation.imagesets.texts import MAX_CAPTION, words as tokens

LARGEST_NUM_CLASSES = 10_000
MOST_WORDS = 4096  # of a vocabulary
LONGEST_WORD = 64  # characters
LONGEST_ROW = 64  # words of a caption
MOST_TOKENS = 512  # of a caption, where a frozen text encoder reads it
MOST_CAPTION_BYTES = 2 * 2**20  # of all that are classes, as a manifest has them

Kind = Literal["none", "classes", "words"]
RowT = TypeVar("RowT")


class ConditionError(ValueError):
    """Captions or conditions that cannot be used; the message says what came."""


@dataclass(frozen=True)
class FrozenText:
    """A text encoder that is not trained: what a manifest knows of it."""

    folder: str
    sha256: str  # of its files


@dataclass(frozen=True)
class Conditions:
    """What a model is told of an image, as a row of whole numbers.

    A class is a row of one number. A caption is a row of `length` words: word k of the vocabulary
    is k + 1, and what is left is 0. Or each distinct caption is a class, whose words say nothing; or
    a frozen text encoder reads it, whose tokenizer has numbers in place of a vocabulary.

    Raises:
        ConditionError: if there are too many classes or words, or both.
    """

    classes: int = 0
    words: tuple[str, ...] = ()  # the vocabulary, sorted
    length: int = 0  # numbers of a caption's row
    captions: tuple[str, ...] = ()  # that are the classes, sorted, as `plain` has them
    frozen: FrozenText | None = None
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        _check(self)
        ids = {word: k + 1 for k, word in enumerate(self.words)}
        ids |= {caption: k for k, caption in enumerate(self.captions)}
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def of_classes(cls, count: int) -> Self:
        """Return the conditions of a model of so many classes; 0 = it is unconditional."""
        return cls(classes=count)

    @classmethod
    def of_captions(cls, captions: Iterable[str]) -> Self:
        """Return the conditions of a model that learns these captions.

        Raises:
            ConditionError: if one holds no words or too many, or all hold too many; it says which.
        """
        found = _by_caption(captions, checked_tokens).values()
        words = {word for row in found for word in row}
        return cls(words=tuple(sorted(words)), length=max(map(len, found), default=0))

    @classmethod
    def of_distinct_captions(cls, captions: Iterable[str]) -> Self:
        """Return the conditions of a model to which each distinct caption is a class of its own.

        Raises:
            ConditionError: as `of_captions` has it, or if there are too many.
        """
        found = tuple(sorted(set(_by_caption(captions, plain).values())))
        return cls(classes=len(found), captions=found)

    @classmethod
    def of_frozen(cls, frozen: FrozenText, captions: Iterable[str]) -> Self:
        """Return the conditions of a model whose captions a frozen text encoder reads.

        Raises:
            ConditionError: if one is empty or has more tokens than the encoder reads.
        """
        found = _by_caption(captions, lambda caption: token_ids(frozen, caption)).values()
        return cls(frozen=frozen, length=max(map(len, found), default=1))

    @property
    def kind(self) -> Kind:
        """Return what a network is told of images."""
        if self.in_words:
            return "words"
        return "classes" if self.classes else "none"

    @property
    def given(self) -> bool:
        """Return whether images are asked for by anything."""
        return self.kind != "none"

    @property
    def in_words(self) -> bool:
        """Return whether rows are words one by one, of a vocabulary or of a tokenizer."""
        return bool(self.words) or self.frozen is not None

    @property
    def by_text(self) -> bool:
        """Return whether images are asked for by captions, whatever a network is told of these."""
        return self.in_words or bool(self.captions)

    @property
    def none(self) -> list[int]:
        """Return the row that says nothing, which guided models learn besides."""
        return [0] * self.length if self.in_words else [self.classes]

    def knows(self, caption: str) -> bool:
        """Return whether a model can be told a text; one of whole captions alone seldom can."""
        return not self.captions or plain(caption) in self._ids

    def row(self, caption: str) -> list[int]:
        """Return a caption's row.

        Raises:
            ConditionError: if it holds no words, more than rows have, or some that the vocabulary
                lacks; they are named. If captions are classes: if it is none of them.
        """
        if self.captions:
            return [self._class(caption)]
        if self.frozen is not None:
            return self._row_of([number + 1 for number in token_ids(self.frozen, caption)])
        found = checked_tokens(caption)
        unknown = list(dict.fromkeys(word for word in found if word not in self._ids))
        if unknown:
            named = ", ".join(repr(word) for word in unknown[:10])
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            raise ConditionError(
                f"expected words that the model was trained on, it does not know {named}{more}"
            )
        return self._row_of([self._ids[word] for word in found])

    def _row_of(self, found: list[int]) -> list[int]:
        if len(found) > self.length:
            what = "words" if self.frozen is None else "tokens"
            raise ConditionError(
                f"expected at most {self.length} {what}, as the longest caption that the model was "
                f"trained on, got {len(found)}"
            )
        return found + [0] * (self.length - len(found))

    def _class(self, caption: str) -> int:
        if not self.knows(caption):
            raise ConditionError(
                f"expected one of the {self.classes:,} captions that the model was trained on, as it "
                f"learned no words, got {caption!r}"[:300]
            )
        return self._ids[plain(caption)]

    def rows(self, captions: Sequence[str]) -> list[list[int]]:
        """Return the row of each caption.

        Raises:
            ConditionError: as `row` has it, with the caption's place.
        """
        found = _by_caption(captions, self.row)
        return [found[caption] for caption in captions]

    def as_record(self) -> dict[str, Any]:
        """Return the manifest's entries; those of classes and of none are as they always were."""
        record: dict[str, Any] = {"num_classes": self.classes}
        if self.words:
            record["conditions"] = {"words": list(self.words), "length": self.length}
        if self.captions:
            record["conditions"] = {"captions": list(self.captions)}
        if self.frozen is not None:
            record["conditions"] = {"frozen": asdict(self.frozen), "length": self.length}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the conditions of a manifest, of which `as_record` made entries.

        Raises:
            ConditionError: if it makes no sense.
        """
        given = record.get("conditions")
        if given is None:
            return cls(classes=record["num_classes"])
        if isinstance(given, dict) and isinstance(given.get("captions"), list):
            return cls(classes=record["num_classes"], captions=tuple(given["captions"]))
        if isinstance(given, dict) and isinstance(given.get("frozen"), dict):
            return cls(frozen=_read_frozen(given["frozen"]), length=given["length"])
        words = given.get("words") if isinstance(given, dict) else None
        length = given.get("length") if isinstance(given, dict) else None
        if not isinstance(words, list) or type(length) is not int or not words:
            raise ConditionError("'conditions': expected words and a length")
        return cls(classes=record["num_classes"], words=tuple(words), length=length)


def checked_tokens(caption: str) -> list[str]:
    """Return a caption's words.

    Raises:
        ConditionError: if there are none or too many, or one or the caption is too long.
    """
    found = tokens(checked_text(caption))
    if not found:
        raise ConditionError(f"expected words, got {caption!r}"[:200])
    if len(found) > LONGEST_ROW:
        raise ConditionError(f"expected at most {LONGEST_ROW} words, got {len(found)}")
    if longest := [word for word in found if len(word) > LONGEST_WORD]:
        raise ConditionError(
            f"expected words of at most {LONGEST_WORD} characters, got {longest[0]!r}"[:200]
        )
    return found


def checked_text(caption: str) -> str:
    """Return a caption.

    Raises:
        ConditionError: if it is no text, or too long.
    """
    if not isinstance(caption, str):
        raise ConditionError(f"expected text, got {caption!r}"[:200])
    if len(caption) > MAX_CAPTION:
        raise ConditionError(f"expected at most {MAX_CAPTION:,} characters, got {len(caption):,}")
    return caption


def token_ids(frozen: FrozenText, caption: str) -> list[int]:
    """Return a caption as an encoder's tokenizer has it.

    Raises:
        ConditionError: if there are more tokens than the encoder reads, or the caption is empty or
            too long.
    """
    if not checked_text(caption).strip():
        raise ConditionError(f"expected words, got {caption!r}")
    # By name: this rim loads neither torch nor transformers.
    encoder = import_module("generators.algorithm.frozen_text").FrozenEncoder.of(frozen)
    found: list[int] = encoder.ids(caption)
    return found


def plain(caption: str) -> str:
    """Return a caption's words, parted by single spaces: what tells one caption from another.

    Raises:
        ConditionError: as `checked_tokens` has it.
    """
    return " ".join(checked_tokens(caption))


def _by_caption(captions: Iterable[str], function: Callable[[str], RowT]) -> dict[str, RowT]:
    """Return what a function makes of each different caption; an error says the caption's place."""
    found: dict[str, RowT] = {}
    for index, caption in enumerate(captions):
        if caption not in found:
            try:
                found[caption] = function(caption)
            except ConditionError as error:
                raise ConditionError(f"caption {index}: {error}") from error
    return found


def _read_frozen(record: Mapping[str, Any]) -> FrozenText:
    folder, sha256 = record.get("folder"), record.get("sha256")
    if not isinstance(folder, str) or not isinstance(sha256, str):
        raise ConditionError("'conditions': expected a text encoder's folder and sha256")
    return FrozenText(folder, sha256)


def _check(conditions: Conditions) -> None:
    classes, words = conditions.classes, conditions.words
    if not 0 <= classes <= LARGEST_NUM_CLASSES:
        kind = "distinct captions, to be classes" if conditions.captions else "classes"
        raise ConditionError(f"expected 0..{LARGEST_NUM_CLASSES} {kind}, got {classes}")
    if classes and words:
        raise ConditionError(f"expected classes or words, got {classes} and {len(words):,}")
    if len(words) > MOST_WORDS:
        raise ConditionError(f"expected at most {MOST_WORDS:,} different words, got {len(words):,}")
    if type(conditions.length) is not int:
        raise ConditionError(f"expected a length, got {conditions.length!r}"[:300])
    most = LONGEST_ROW if conditions.frozen is None else MOST_TOKENS
    if not conditions.in_words <= conditions.length <= most * conditions.in_words:
        raise ConditionError(f"expected rows of 1..{most} words, got {conditions.length}")
    if not all(isinstance(word, str) for word in words) or list(words) != sorted(set(words)):
        raise ConditionError("expected a vocabulary of different words in their order")
    if conditions.captions:
        _check_captions(conditions)


def _check_captions(conditions: Conditions) -> None:
    captions = conditions.captions
    if not all(isinstance(c, str) for c in captions) or list(captions) != sorted(set(captions)):
        raise ConditionError("expected different captions in their order")
    if conditions.words or len(captions) != conditions.classes:
        raise ConditionError(
            f"expected {len(captions):,} classes, as there are captions, and no words"
        )
    if len(json.dumps(captions)) > MOST_CAPTION_BYTES:
        raise ConditionError(
            f"expected captions of at most {MOST_CAPTION_BYTES:,} bytes in all to be classes, got "
            f"{len(json.dumps(captions)):,}"
        )
