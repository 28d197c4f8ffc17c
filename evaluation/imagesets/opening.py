"""Opens images of any kind as a stream: files, arrays in files and in memory, and iterators.

Every kind yields the same: uint8 (n, C, H, W), 0..255, C is 1 or 3, of one size and colour.
`evaluation.imagesets.decoding` says which image files are read and how they are fitted, `evaluation.imagesets.sources`
what else is refused, `evaluation.imagesets.layouts` how classes lie in folders, `evaluation.imagesets.arrays` which
arrays are images and how their axes are told.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.imagesets.arrays import (
    ABOUT_THEM,
    CAPTIONS,
    MAX_WHOLE_IMAGES,
    NAMES,
    Layout,
    StoredArray,
    find_layout,
    label_array,
    open_npy,
    open_npz,
    read_captions,
    read_labels,
)
from evaluation.imagesets.decoding import Lossy, Pixels, Target, fit
from evaluation.imagesets.file_stream import FileStream, files_of
from evaluation.imagesets.layouts import arrange, check_labels_alike, every_file
from evaluation.imagesets.parquet import is_table, open_table, table_parts
from evaluation.imagesets.sources import (
    PARTS,
    ImageError,
    Source,
    counted,
    list_folder,
    list_zip,
)
from evaluation.imagesets.stream import (
    ImageStream,
    Indices,
    Progress,
    check_count,
    chunk_size,
    image_digests,
    images_digest,
    rechunked,
)
from evaluation.imagesets.tars import is_tar, list_tar

__all__ = [
    "ImageError",
    "ImageStream",
    "image_digests",
    "images_digest",
    "open_images",
    "read_parts",
]


def open_images(
    images: Path | str | npt.NDArray[Any] | Iterable[Any],
    *,
    name: str | None = None,  # what errors call the images; None = the file's name
    resolution: int | None = None,  # resize to this side by RESIZE_RULE; None = all as they come
    channels: int | None = None,  # 1 or 3; None = as they come, all alike
    part: str | None = None,  # "train" or "test", where the source has these parts
    labelled: bool = True,  # find classes and captions; False = every image at any depth, sorted by path
    lossy: Lossy = "refuse",  # JPEG and lossy WebP files: refuse the first, or accept and count
    count: int | None = None,  # how many images are announced; None = any number
    on_progress: Progress | None = None,  # called in every pass, after each chunk
) -> ImageStream:
    """Return the images of a folder, a file, an array or an iterable of chunks.

    A file is a zip or tar archive (`.tar`, `.tar.gz`, `.tgz`), an array in `.npy` or `.npz`, or a
    parquet table with a column of image files; a folder holds image files, parquet tables, or
    `train.npz` and `test.npz`. An `.npz` holds the images as `arr_0` (or `images`, or `samples`)
    and perhaps integer `labels` (N,), or these as `arr_1`; its classes are then "0", "1", ... up to
    the highest label; and perhaps `captions` (N,), text of fixed width. Chunks are arrays or tensors
    of uint8, of any number of images each; an iterator is read once, and its ``count`` is known
    only afterwards.

    Raises:
        ImageError: if anything is damaged, hostile, mixed or laid out in another way; what only
            decoding shows is raised by `chunks`.
    """
    is_path = isinstance(images, Path | str)
    name = name or (Path(images).absolute().name if is_path else "images")  # type: ignore[arg-type]
    target = Target(resolution=resolution, channels=channels, lossy=lossy)
    target.check(name)
    if isinstance(images, Path | str):
        stream = _open_path(Path(images), target, part, labelled)
    elif part is not None:
        raise ImageError(f"{name}: has no part {part!r}; arrays have no parts")
    elif isinstance(images, np.ndarray) or hasattr(images, "detach"):
        stream = ArrayStream(name, as_array(name, images), target)
    else:
        stream = IteratorStream(name, images, target, announced=count)
    if stream.count is not None:
        check_count(stream.name, stream.count, count)
    stream.on_progress = on_progress
    return stream


def _open_path(path: Path, target: Target, part: str | None, labelled: bool) -> ImageStream:
    if arrays := stored_parts(path):
        return _open_parts(path, arrays, target, part, labelled)
    if is_table(path):
        return _open_tables(path, target, part, labelled)
    if path.is_dir() or (suffix := path.suffix.lower()) not in (".npz", ".npy"):
        return _open_source(list_source(path), target, part, labelled)
    if part is not None:
        raise ImageError(f"{path.name}: has no part {part!r}; an {suffix} file has no parts")
    if suffix == ".npy":
        return _open_stored(open_npy(path), path.name, target)
    return _open_npz(path, target, labelled)


def list_source(path: Path) -> Source:
    """Return the files of a folder, a tar or a zip archive.

    Raises:
        ImageError: if it is none of these, is damaged, breaks a bound or holds no visible file.
    """
    if path.is_dir():
        return list_folder(path)
    return list_tar(path) if is_tar(path) else list_zip(path)


def read_parts(path: Path | str) -> tuple[str, ...]:
    """Return the parts of what `open_images` opens: (), ("train",) or ("train", "test").

    Raises:
        ImageError: as `open_images`, but for what only decoding shows.
    """
    path = Path(path)
    if path.suffix.lower() in (".npz", ".npy") and not path.is_dir():
        return ()
    if arrays := stored_parts(path):
        return tuple(arrays)
    layout = table_parts(path) if is_table(path) else arrange(list_source(path)).parts
    return tuple(part for part in PARTS if part in layout)


def stored_parts(path: Path) -> dict[str, Path]:
    """Return `train.npz`, and `test.npz` if there is one, of a folder that holds it, else {}."""
    arrays = {part: path / f"{part}.npz" for part in PARTS if (path / f"{part}.npz").is_file()}
    return arrays if "train" in arrays else {}


def _open_tables(path: Path, target: Target, part: str | None, labelled: bool) -> ImageStream:
    table = open_table(path, part=part, labelled=labelled)
    if labelled and part in PARTS and {*PARTS} <= table_parts(path).keys():
        train, test = (open_table(path, part=each, labelled=True).classes for each in PARTS)
        check_labels_alike(path.absolute().name, train, test)
    stream = FileStream(table.files, target)
    stream.labels, stream.classes, stream.left_out = table.labels, table.classes, table.left_out
    stream.captions = table.captions
    return stream


def _open_source(source: Source, target: Target, part: str | None, labelled: bool) -> ImageStream:
    if not labelled:
        stream = FileStream(files_of(source, every_file(source, part)), target)
        stream.left_out = tuple(source.left_out())
        return stream
    arranged = arrange(source)
    classes = arranged.choose(part)
    members = list(chain.from_iterable(classes.values()))
    stream = FileStream(files_of(source, members), target)
    stream.left_out = arranged.left_out(part)
    if arranged.captions:
        stream.captions = tuple(arranged.captions[member.name] for member in members)
    stream.classes = tuple(name for name in classes if name)
    if stream.classes:
        sizes = [len(files) for files in classes.values()]
        stream.labels = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return stream


def _open_parts(
    path: Path, arrays: dict[str, Path], target: Target, part: str | None, labelled: bool
) -> ImageStream:
    """Return the images of a folder of arrays, one for each part."""
    if part is None and len(arrays) == 1:
        part = "train"
    if part not in arrays:
        has = " and ".join(array.name for array in arrays.values())
        asked = "no part was chosen" if part is None else f"{part!r} was asked for"
        name = path.absolute().name
        raise ImageError(f"{name}: has {has}, but {asked}; expected one of its parts")
    stream = _open_npz(arrays[part], target, labelled)
    if labelled and len(arrays) == 2:
        train, test = (_open_npz(array, target, labelled=True).classes for array in arrays.values())
        check_labels_alike(path.absolute().name, train, test)
    others = sorted(file.name for file in path.iterdir() if file not in arrays.values())
    stream.left_out += tuple(counted("other file", others))
    return stream


def _open_npz(path: Path, target: Target, labelled: bool) -> ImageStream:
    arrays = open_npz(path)
    found = next((name for name in NAMES if name in arrays), None)
    if found is None:
        raise ImageError(
            f"{path.name}: holds no arr_0; expected images as {', '.join(NAMES[:-1])} or "
            f"{NAMES[-1]}"
        )
    stream = _open_stored(arrays[found], path.name, target)
    labels = label_array(arrays, found)
    if labelled and labels is not None:
        stream.labels = read_labels(path.name, arrays[labels], stream.count)
        stream.classes = tuple(str(label) for label in range(stream.labels.max() + 1))
    if labelled and CAPTIONS in arrays:
        stream.captions = read_captions(path.name, arrays[CAPTIONS], stream.count)
    others = sorted(arrays.keys() - {found, labels, CAPTIONS} - ABOUT_THEM)
    stream.left_out = tuple(counted("array", others))
    return stream


def _open_stored(array: StoredArray, name: str, target: Target) -> ImageStream:
    layout = find_layout(array.where, array.dtype, array.shape, likely="NHWC", pieces=array.pieces)
    if array.fortran_order:  # its first image is spread over the whole file
        whole = layout.to_nchw(array.whole(max_bytes=MAX_WHOLE_IMAGES))
        return ArrayStream(name, whole, target)
    return StoredStream(name, array, layout, target)


# --- Arrays -----------------------------------------------------------------------------------


def as_array(where: str, images: Any) -> npt.NDArray[Any]:
    """Return an array, or a tensor of torch as one.

    Raises:
        ImageError: if it is neither.
    """
    if hasattr(images, "detach"):  # a tensor; torch itself is not needed here
        images = images.detach().cpu()
        # numpy has no bfloat16
        images = (images.float() if "bfloat16" in str(images.dtype) else images).numpy()
    if not isinstance(images, np.ndarray):
        raise ImageError(
            f"{where}: {type(images).__name__}; expected a uint8 array or tensor of images"
        )
    return images


def layout_in_memory(where: str, array: npt.NDArray[Any]) -> Layout:
    """Return how images lie in an array in memory."""
    return find_layout(where, array.dtype, array.shape, likely="NCHW", pieces=lambda: iter([array]))


class ArrayStream(ImageStream):
    """Images in memory."""

    def __init__(self, name: str, array: npt.NDArray[Any], target: Target) -> None:
        layout = layout_in_memory(name, array)
        self.name = name
        self.count = len(array)
        self.shape = target.shape(layout.shape)
        self._array, self._layout, self._target = array, layout, target

    def read(self, indices: Indices | None) -> Iterator[Pixels]:
        """Yield the images of these indices; None = all."""
        images = (
            fit(self._layout.to_nchw(self._array[chosen]), self._target)
            for chosen in self._chosen(indices)
        )
        return rechunked(images, self.chunk_size)

    def _chosen(self, indices: Indices | None) -> Iterator[slice | Indices]:
        size = chunk_size(self._layout.shape)
        for start in range(0, len(self._array) if indices is None else len(indices), size):
            yield slice(start, start + size) if indices is None else indices[start : start + size]


class StoredStream(ImageStream):
    """Images in an array in a file."""

    def __init__(self, name: str, array: StoredArray, layout: Layout, target: Target) -> None:
        self.name = name
        self.count = array.shape[0]
        self.shape = target.shape(layout.shape)
        self._array, self._layout, self._target = array, layout, target

    def read(self, indices: Indices | None) -> Iterator[Pixels]:
        """Yield the images of these indices; None = all."""
        images = (
            fit(self._layout.to_nchw(rows), self._target)
            for rows in self._array.runs(self._runs(indices))
        )
        return rechunked(images, self.chunk_size)

    def _runs(self, indices: Indices | None) -> Iterator[tuple[int, int]]:
        """Yield runs of rows that follow each other, none longer than a chunk."""
        size, count = chunk_size(self._layout.shape), self._array.shape[0]
        if indices is None:
            yield from ((start, min(start + size, count)) for start in range(0, count, size))
            return
        for run in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
            for start in range(0, len(run), size):
                part = run[start : start + size]
                yield int(part[0]), int(part[-1]) + 1


class IteratorStream(ImageStream):
    """Images that come in chunks; an iterator once, another iterable as often as it allows."""

    def __init__(
        self, name: str, chunks: Iterable[Any], target: Target, *, announced: int | None
    ) -> None:
        try:
            iterator = iter(chunks)
        except TypeError:
            raise ImageError(
                f"{name}: {type(chunks).__name__}; expected a path, an array or chunks of images"
            ) from None
        try:
            first = as_array(name, next(iterator))
        except StopIteration:
            raise ImageError(f"{name}: no images; expected at least one") from None
        self.name = name
        self.count = None
        self._layout = layout_in_memory(name, first)
        self.shape = target.shape(self._layout.shape)
        self._target, self._announced = target, announced
        self._again = None if iterator is chunks else chunks
        self._next: Iterable[Any] | None = chain([first], iterator)

    @property
    def is_repeatable(self) -> bool:
        """Return whether the images can be read again."""
        return self._again is not None

    def digests(self, keep_going: Callable[[], None] = lambda: None) -> list[bytes]:
        """Return the sha256 of each image.

        Raises:
            ImageError: if they have not been read, and could be read only once.
        """
        if self._digests is None and not self.is_repeatable:
            raise ImageError(
                f"{self.name}: not read yet; expected their digests to be asked for afterwards, "
                "for an iterator is read once"
            )
        return super().digests(keep_going)

    def read(self, indices: Indices | None) -> Iterator[Pixels]:
        """Yield the images of these indices; None = all."""
        chunks, self._next = self._next or self._again, None
        if chunks is None:
            raise ImageError(f"{self.name}: read before; expected one pass, for an iterator ends")
        checked = self._checked_chunks(chunks)
        return rechunked(
            checked if indices is None else _at(self.name, checked, indices), self.chunk_size
        )

    def _checked_chunks(self, chunks: Iterable[Any]) -> Iterator[Pixels]:
        seen = 0
        for chunk in chunks:
            array = as_array(self.name, chunk)
            if len(array) == 0:
                continue
            layout = layout_in_memory(f"{self.name}: from image {seen}", array)
            if layout != self._layout:
                raise ImageError(
                    f"{self.name}: from image {seen}: {layout.axes} images of {layout.shape} where "
                    f"the first were {self._layout.axes} of {self._layout.shape}; expected all alike"
                )
            seen += len(array)
            if self._announced is not None and seen > self._announced:
                check_count(self.name, seen, self._announced)
            yield fit(layout.to_nchw(array), self._target)
        check_count(self.name, seen, self._announced)
        self.count = seen


def _at(name: str, chunks: Iterable[Pixels], indices: Indices) -> Iterator[Pixels]:
    seen = taken = 0
    for chunk in chunks:
        stop = int(np.searchsorted(indices, seen + len(chunk)))
        yield chunk[indices[taken:stop] - seen]
        seen, taken = seen + len(chunk), stop
    if taken < len(indices):
        raise ImageError(f"{name}: {seen:,} images; expected more than {indices[-1]:,}")
