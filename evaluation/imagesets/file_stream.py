"""Reads many image files as one stream, decoded in several threads with few in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from evaluation.imagesets.decoding import Picture, Pixels, Target, decode
from evaluation.imagesets.sources import Member, MixedImages, Source
from evaluation.imagesets.stream import ImageStream, Indices

PIECE = 16  # images that a thread decodes at a time
AHEAD = 2  # chunks that are decoded while the caller has another

# Called with ascending indices in one thread; what it returns gives their bytes in any thread.
Fetch = Callable[[Sequence[int]], Callable[[int], bytes]]


@dataclass(frozen=True)
class ImageFiles:
    """Image files in their order, wherever they are stored.

    name: of the folder, archive or table. titles: what errors call the files. are_named: whether
    the titles are file names, whose endings must agree with the content.
    """

    name: str
    titles: Sequence[str]
    are_named: bool
    opened: Callable[[], AbstractContextManager[Fetch]]


def files_of(source: Source, members: list[Member]) -> ImageFiles:
    """Return members of a folder or archive as image files."""

    @contextmanager
    def opened() -> Iterator[Fetch]:
        with source.opened() as read:
            yield lambda _indices: lambda index: read(members[index])

    return ImageFiles(source.name, [member.name for member in members], True, opened)


class FileStream(ImageStream):
    """Images in files; the first decides size and colour."""

    def __init__(self, files: ImageFiles, target: Target) -> None:
        self.name = files.name
        self.count = len(files.titles)
        self._files, self._target = files, target
        self._lossy: set[int] = set()
        with files.opened() as fetch:
            self.shape = self._decode(0, fetch([0])(0)).shape

    @property
    def lossy_indices(self) -> list[int]:
        """Return which of the images that have been read came from lossy files, ascending."""
        return sorted(self._lossy)

    def image_name(self, index: int) -> str:
        """Return what errors call an image."""
        return self._files.titles[index]

    def read(self, indices: Indices | None) -> Iterator[Pixels]:
        """Yield the images of these indices; None = all."""
        wanted = range(len(self._files.titles)) if indices is None else indices.tolist()
        with self._files.opened() as fetch, ThreadPoolExecutor(_threads()) as pool:
            pending: deque[_Pending] = deque()
            try:
                for start in range(0, len(wanted), self.chunk_size):
                    pending.append(
                        self._begin(pool, fetch, wanted[start : start + self.chunk_size])
                    )
                    if len(pending) == AHEAD:
                        yield self._end(pending.popleft())
                while pending:
                    yield self._end(pending.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, fetch: Fetch, indices: Sequence[int]) -> "_Pending":
        """Let threads decode the images of one chunk, some each."""
        pixels = np.empty((len(indices), *self.shape), np.uint8)
        load = fetch(indices)
        return _Pending(
            pixels,
            [
                pool.submit(self._fill, pixels[at : at + PIECE], indices[at : at + PIECE], load)
                for at in range(0, len(indices), PIECE)
            ],
        )

    def _end(self, pending: "_Pending") -> Pixels:
        for lossy in pending.pieces:
            self._lossy.update(lossy.result())
        return pending.pixels

    def _fill(
        self, pixels: Pixels, indices: Sequence[int], load: Callable[[int], bytes]
    ) -> list[int]:
        """Decode images into ``pixels`` (n, C, H, W); return which of them were lossy."""
        lossy = []
        for row, index in enumerate(indices):
            picture = self._decode(index, load(index))
            if picture.shape != self.shape:
                raise self._unlike(index, picture)
            if picture.is_lossy:
                lossy.append(index)
            pixels[row] = picture.pixels()
        return lossy

    def _decode(self, index: int, data: bytes) -> Picture:
        title = self._files.titles[index]
        name = title if self._files.are_named else None
        return decode(f"{self.name}: {title}", data, self._target, name=name)

    def _unlike(self, index: int, picture: Picture) -> MixedImages:
        first = self._files.titles[0]
        where = f"{self.name}: {self._files.titles[index]}"
        (channels, height, width), (_, first_height, first_width) = picture.shape, self.shape
        if (height, width) != (first_height, first_width):
            return MixedImages(
                f"{where}: {width}x{height} pixels where {first} has "
                f"{first_width}x{first_height}; expected one size, or a resolution to resize to",
                option="resolution",
            )
        words = ("grey", "colour") if channels == 1 else ("colour", "grey")
        return MixedImages(
            f"{where}: {words[0]} where {first} is {words[1]}; "
            "expected all alike, or a number of channels to convert to",
            option="channels",
        )


@dataclass(frozen=True)
class _Pending:
    """A chunk that threads are filling."""

    pixels: Pixels
    pieces: list[Future[list[int]]]


def _threads() -> int:
    return min(8, os.cpu_count() or 1)
