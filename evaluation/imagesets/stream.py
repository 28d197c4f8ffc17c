"""What a set of images offers that is read in chunks, and how its images are identified.

An image is identified by the sha256 of the line "C H W" with its pixels after it, channel by
channel and row by row; a set by the sha256 of these digests, 32 bytes each, in the set's order. The
kind of file, the names, the labels and the captions are in neither.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluation.imagesets.decoding import Pixels
from evaluation.imagesets.sources import ImageError

CHUNK = 256  # most images of a chunk
CHUNK_BYTES = 64 * 2**20  # of the pixels of a chunk, where more than one image fits

Indices = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]  # images done, images in all


def image_digests(pixels: Pixels) -> list[bytes]:
    """Return the sha256 of each image of (N, C, H, W) uint8, 32 bytes each."""
    header = "{} {} {}\n".format(*pixels.shape[1:]).encode()
    start = hashlib.sha256(header)
    digests = []
    for image in np.ascontiguousarray(pixels):
        digest = start.copy()
        digest.update(image.data)
        digests.append(digest.digest())
    return digests


def images_digest(pixels: Pixels) -> str:
    """Return the digest of a set in memory, (N, C, H, W) uint8, 64 hexadecimal digits."""
    return set_digest(image_digests(pixels))


def set_digest(digests: Iterable[bytes]) -> str:
    """Return the digest of a set by those of its images, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def chunk_size(shape: tuple[int, int, int]) -> int:
    """Return how many images (C, H, W) are held at a time, 1 to 256."""
    return min(CHUNK, max(1, CHUNK_BYTES // int(np.prod(shape))))


class ImageStream(ABC):
    """Images of one size and colour that are read in chunks, again and again, never all at once.

    name: what errors call the images.
    count: how many there are; None = not known before they have been read.
    shape: (C, H, W) of every image.
    labels: (N,) int64, indices into `classes`; None = unlabelled.
    classes: names in label order; () = unlabelled.
    captions: a text for each image; None = without.
    left_out: what the source holds beside the images, how much of it and why: "3 hidden files (…)".
    """

    name: str
    count: int | None
    shape: tuple[int, int, int]
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    on_progress: Progress | None = None
    _digests: list[bytes] | None = None

    @abstractmethod
    def read(self, indices: Indices | None) -> Iterator[Pixels]:
        """Yield the images of these indices, which are sorted and exist; None = all."""

    def image_name(self, index: int) -> str:
        """Return what errors call an image."""
        return f"image {index}"

    @property
    def lossy_indices(self) -> list[int]:
        """Return which of the images that have been read came from lossy files, ascending."""
        return []

    @property
    def lossy_count(self) -> int:
        """Return how many lossy files were among the images that have been read."""
        return len(self.lossy_indices)

    @property
    def chunk_size(self) -> int:
        """Return the most images of a chunk."""
        return chunk_size(self.shape)

    def chunks(self, indices: Sequence[int] | Indices | None = None) -> Iterator[Pixels]:
        """Yield images (n, C, H, W) uint8 in their order, at most 256 at a time.

        indices: which, ascending; only these are decoded. None = all.

        Raises:
            ImageError: if an image is damaged, refused or unlike the others, or there are not as
                many as announced.
            ValueError: if the indices do not ascend or one does not exist.
        """
        chosen = None if indices is None else self._checked(np.asarray(indices, np.int64))
        return self._pass(chosen)

    @property
    def is_repeatable(self) -> bool:
        """Return whether the images can be read again."""
        return True

    def digests(self, keep_going: Callable[[], None] = lambda: None) -> list[bytes]:
        """Return the sha256 of each image; read them all, if that has not been done before.

        keep_going: called after each chunk; it may raise to end the work.
        """
        if self._digests is None:
            for _ in self.chunks():
                keep_going()
        assert self._digests is not None, "a whole pass leaves the digests"
        return self._digests

    def digest(self) -> str:
        """Return the digest of the set, 64 hexadecimal digits."""
        return set_digest(self.digests())

    def _pass(self, indices: Indices | None) -> Iterator[Pixels]:
        digests: list[bytes] | None = [] if indices is None and self._digests is None else None
        total = self.count if indices is None else len(indices)
        done = 0
        for chunk in self.read(indices):
            if digests is not None:
                digests += image_digests(chunk)
            done += len(chunk)
            if self.on_progress is not None:
                self.on_progress(done, done if total is None else total)
            yield chunk
        if digests is not None:
            self._digests = digests

    def _checked(self, indices: Indices) -> Indices:
        if indices.ndim != 1 or (np.diff(indices) <= 0).any():
            raise ValueError("expected indices that ascend")
        if len(indices) and (indices[0] < 0 or indices[-1] >= (self.count or 2**62)):
            raise ValueError(f"{self.name}: expected indices of 0 to {(self.count or 2**62) - 1}")
        return indices


def rechunked(parts: Iterable[Pixels], size: int) -> Iterator[Pixels]:
    """Yield the images of all parts, ``size`` at a time but for the last."""
    waiting: list[Pixels] = []
    for part in parts:
        start = 0
        while start < len(part):
            taken = part[start : start + size - sum(map(len, waiting))]
            waiting.append(taken)
            start += len(taken)
            if sum(map(len, waiting)) == size:
                yield _joined(waiting)
                waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Pixels]) -> Pixels:
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)


def check_count(name: str, found: int, announced: int | None) -> None:
    """Raise ImageError unless as many images were found as were announced, if that was so."""
    if announced is not None and found != announced:
        raise ImageError(f"{name}: {found:,} images; expected the announced {announced:,}")
