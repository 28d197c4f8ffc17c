"""Looks over a set of images for what spoils a score: copies, blank images, lossy files.

Captions are counted too; they spoil nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from evaluation.imagesets.decoding import Pixels
from evaluation.imagesets.stream import ImageStream
from evaluation.imagesets.texts import CaptionFacts, caption_facts


@dataclass(frozen=True)
class Lint:
    """What was found in a set of images.

    count, shape: images, and (C, H, W) of each. digest: of the set.
    duplicates: images that are exact copies of an earlier one; first_duplicate: names of the first
        such image and of the one it is a copy of.
    constant: images of one colour; first_constant: the name of the first.
    lossy: images from lossy files.
    captions: what they are, None of images without.
    """

    count: int
    shape: tuple[int, int, int]
    digest: str
    duplicates: int
    first_duplicate: tuple[str, str] | None
    constant: int
    first_constant: str | None
    lossy: int
    captions: CaptionFacts | None = None

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was found."""
        return not (self.duplicates or self.constant or self.lossy)

    def warnings(self) -> list[str]:
        """Return what was found in words, [] if nothing was."""
        found = []
        if self.first_duplicate is not None:
            copy, original = self.first_duplicate
            found.append(
                f"{_of(self.duplicates, self.count)} exact copies of earlier ones; "
                f"the first is {copy}, a copy of {original}"
            )
        if self.first_constant is not None:
            found.append(
                f"{_of(self.constant, self.count)} of one colour; the first is "
                f"{self.first_constant}"
            )
        if self.lossy:
            found.append(f"{_of(self.lossy, self.count)} from lossy files")
        return found

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "count": self.count,
            "channels": self.shape[0],
            "height": self.shape[1],
            "width": self.shape[2],
            "digest": self.digest,
            "duplicates": self.duplicates,
            "first_duplicate": list(self.first_duplicate) if self.first_duplicate else None,
            "constant": self.constant,
            "first_constant": self.first_constant,
            "lossy": self.lossy,
            **({} if self.captions is None else {"captions": vars(self.captions)}),
        }


def lint(stream: ImageStream, *, keep_going: Callable[[], None] = lambda: None) -> Lint:
    """Return what is found in one pass over the images; the stream then knows its digest.

    keep_going: called after each chunk; it may raise to end the work.

    Raises:
        ImageError: if the images cannot be read.
    """
    constant = 0
    first_constant: int | None = None
    seen = 0
    for chunk in stream.chunks():
        blank = is_constant(chunk)
        if first_constant is None and blank.any():
            first_constant = seen + int(blank.argmax())
        constant += int(blank.sum())
        seen += len(chunk)
        keep_going()
    duplicates, first = find_duplicates(stream.digests())
    return Lint(
        count=seen,
        shape=stream.shape,
        digest=stream.digest(),
        duplicates=duplicates,
        first_duplicate=first and (stream.image_name(first[0]), stream.image_name(first[1])),
        constant=constant,
        first_constant=None if first_constant is None else stream.image_name(first_constant),
        lossy=stream.lossy_count,
        captions=None if stream.captions is None else caption_facts(stream.captions),
    )


def is_constant(pixels: Pixels) -> Any:
    """Return for each of (N, C, H, W) whether all of its pixels have one colour, (N,) bool."""
    return (pixels == pixels[:, :, :1, :1]).all(axis=(1, 2, 3))


def find_duplicates(digests: Iterable[bytes]) -> tuple[int, tuple[int, int] | None]:
    """Return how many images are copies of an earlier one, and the first such pair of indices."""
    known: dict[bytes, int] = {}
    count = 0
    first: tuple[int, int] | None = None
    for index, digest in enumerate(digests):
        original = known.setdefault(digest, index)
        if original != index:
            count += 1
            first = first or (index, original)
    return count, first


def shared_images(generated: Iterable[bytes], reference: Iterable[bytes]) -> int:
    """Return how many generated images are exact copies of a reference image, by their digests."""
    known = set(reference)
    return sum(digest in known for digest in generated)


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} images are"
