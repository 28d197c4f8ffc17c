"""Reads tables of image files in parquet, as published datasets come, row group by row group.

The images are the column of binary values, or of structures with a binary field `bytes`; where there
are several, the one called `image` or `img`. Labels are the column `label` or `labels`: whole
numbers, with names from the table's own description if it has one, or text. Captions are the column
of text called `text` or `caption`. Other columns are left out. A folder's tables are read in the order of their paths, links included;
other files in it and tables of other parts are left out. A table called `train-00000-of-00002.parquet` or `train.parquet`,
or in a folder `train/`, is of the part "train".
"""

import json
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.imagesets.arrays import MAX_WHOLE_BYTES, check_labels
from evaluation.imagesets.file_stream import Fetch, ImageFiles
from evaluation.imagesets.layouts import class_order, part_name
from evaluation.imagesets.sources import (
    BROKEN,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    PARTS,
    ImageError,
    counted,
    is_hidden,
)
from evaluation.imagesets.texts import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    check_captions,
    check_class,
)

SUFFIX = ".parquet"
IMAGE_COLUMNS = ("image", "img")
ROWS = 32  # images taken from a row group at a time
TEXTS = 8192  # and labels or captions

_SHARD = re.compile(r"(.+?)-\d+-of-\d+")


@dataclass(frozen=True)
class ParquetTable:
    """The image files of some tables, labels and captions, and what else there is, in words."""

    files: ImageFiles
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]
    captions: tuple[str, ...] | None
    left_out: tuple[str, ...]


def is_table(path: Path) -> bool:
    """Return whether it is a parquet table, or a folder that holds some."""
    if path.is_dir():
        return any(
            name.endswith(SUFFIX) and not is_hidden(name.split("/")) for name in _names(path)
        )
    return path.suffix.lower() == SUFFIX


def _names(folder: Path) -> Iterator[str]:
    """Yield the path of every file in a folder, as seen from it."""
    for place, _, names in os.walk(folder):  # Path.rglob takes a second for 50,000 images
        inside = os.path.relpath(place, folder)
        yield from (name if inside == os.curdir else f"{inside}/{name}" for name in names)


def table_parts(path: Path) -> dict[str, list[Path]]:
    """Return the tables of each part, sorted by path; "" is the part of those that name none."""
    if not path.is_dir():
        return {_part_of([path.name]): [path]}
    parts: dict[str, list[Path]] = {}
    for table in sorted(path.rglob(f"*{SUFFIX}")):
        steps = table.relative_to(path).parts
        if not is_hidden(steps):
            parts.setdefault(_part_of(steps), []).append(table)
    return parts


def _left_out(path: Path, shards: Sequence["_Shard"]) -> list[str]:
    """Return in words which columns, tables and files nobody sees who reads these tables."""
    found = counted("column", list(dict.fromkeys(name for each in shards for name in each.others)))
    if not path.is_dir():
        return found
    read = {shard.name for shard in shards}
    names = sorted(name for name in _names(path) if name not in read)
    seen = [name for name in names if not is_hidden(name.split("/"))]
    tables = [name for name in seen if name.endswith(SUFFIX)]
    others = [name for name in tables if _part_of(name.split("/")) not in PARTS]
    return [
        *found,
        *counted("table of another part", others),
        *counted("hidden file", [name for name in names if name not in set(seen)]),
        *counted("other file", [name for name in seen if not name.endswith(SUFFIX)]),
    ]


def open_table(path: Path, *, part: str | None, labelled: bool) -> ParquetTable:
    """Return the images of a table, or of a folder's tables.

    Raises:
        ImageError: if pyarrow is missing, a table is damaged or breaks a bound, the tables are
            unlike each other, or the column of images or the part is not to be told.
    """
    source = path.absolute().name
    shards = [
        _open_shard(table, table.relative_to(path).as_posix() if table != path else "", source)
        for table in _chosen_part(source, path, part)
    ]
    for shard in shards:
        if shard.kind != shards[0].kind:
            raise ImageError(
                f"{shard.where}: other columns or classes than {shards[0].name}; "
                "expected tables of one kind"
            )
    count = sum(shard.count for shard in shards)
    if not 0 < count <= MAX_FILES:
        raise ImageError(f"{source}: {count:,} rows; expected 1 to {MAX_FILES:,}")
    titles = [f"{shard.name} row {i}".strip() for shard in shards for i in range(shard.count)]
    files = ImageFiles(source, titles, are_named=False, opened=lambda: _opened(shards))
    labels, classes = _labels(source, shards, count) if labelled else (None, ())
    captions = None
    if labelled and (column := shards[0].caption):
        captions = check_captions(source, _values(shards, column), titles)
    return ParquetTable(files, labels, classes, captions, tuple(_left_out(path, shards)))


def _part_of(steps: Sequence[str]) -> str:
    stem = steps[-1].removesuffix(SUFFIX)
    shard = _SHARD.fullmatch(stem)
    if shard or part_name(stem):
        named = shard[1] if shard else stem
        return part_name(named) or named
    return next(filter(None, map(part_name, steps[:-1])), "")


def _chosen_part(source: str, path: Path, part: str | None) -> list[Path]:
    parts = table_parts(path)
    if part is None and len(parts) == 1:
        return next(iter(parts.values()))
    if part in parts:
        return parts[part]
    has = ", ".join(sorted(filter(None, parts))) or "none"
    asked = "no part was chosen" if part is None else f"{part!r} was asked for"
    raise ImageError(f"{source}: tables of the parts {has}, but {asked}; expected one of them")


# --- One table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shard:
    """A table whose columns and sizes have been checked.

    name: in its folder, "" outside of one. where: what errors call it. groups: rows of each row
    group. classes: names that the table describes, () if it does not. others: further columns.
    """

    path: Path
    name: str
    where: str
    image: str
    label: str | None
    caption: str | None
    groups: tuple[int, ...]
    classes: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Return in what all tables of a source are alike."""
        return self.image, self.label, self.caption, self.classes

    @property
    def count(self) -> int:
        return sum(self.groups)


def _parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ImageError(
            "parquet tables need pyarrow; install it with: pip install 'trilemma[parquet]'"
        ) from error


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except BROKEN as error:
        raise ImageError(f"{where}: damaged ({error}); expected a parquet table") from error


def _open_shard(path: Path, name: str, source: str) -> _Shard:
    where = f"{source}: {name}" if name else source
    if not path.is_file():
        raise ImageError(f"{where}: does not exist; expected a parquet table")
    with _damage_told(where), _parquet().ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        image = _image_column(where, schema)
        label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
        caption = next((name for name in CAPTION_COLUMNS if _is_text(schema, name)), None)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        _check_sizes(where, path.stat().st_size, groups)
        return _Shard(
            path,
            name,
            where,
            image,
            label,
            caption,
            tuple(group.num_rows for group in groups),
            _described_classes(schema, label),
            tuple(name for name in schema.names if name not in (image, label, caption)),
        )


def _image_column(where: str, schema: Any) -> str:
    found = [field.name for field in schema if _is_binary(field.type)]
    named = [name for name in found if name in IMAGE_COLUMNS]
    if len(found) != 1 and len(named) != 1:
        raise ImageError(
            f"{where}: columns {', '.join(schema.names)}; expected one of image files (binary, or "
            "a structure with binary `bytes`), or one of them called image or img"
        )
    name: str = (named or found)[0]
    return name


def _is_binary(kind: Any) -> bool:
    types = import_module("pyarrow.types")
    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(schema: Any, column: str) -> bool:
    types = import_module("pyarrow.types")
    kind = schema.field(column).type if column in schema.names else None
    return kind is not None and bool(types.is_string(kind) or types.is_large_string(kind))


def _check_sizes(where: str, packed: int, groups: Sequence[Any]) -> None:
    """Hold what a table says of itself against the bounds, before anything is unpacked.

    Of its row groups only: pyarrow ends the process, and raises nothing, where it is asked for the
    sizes of a column in a table whose description of them is damaged.
    """
    total = sum(group.total_byte_size for group in groups)
    if total > MAX_TOTAL_BYTES or total > MAX_RATIO * packed:
        raise ImageError(
            f"{where}: columns unpack from {packed:,} to {total:,} bytes; expected at most "
            f"{MAX_TOTAL_BYTES:,} and {MAX_RATIO} times as many"
        )


def _described_classes(schema: Any, label: str | None) -> tuple[str, ...]:
    """Return the names that a `ClassLabel` of the table's description gives its labels."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, described["info"]["features"][label]["names"]))
    except (LookupError, TypeError, ValueError):
        return ()


# --- Images -----------------------------------------------------------------------------------


@contextmanager
def _opened(shards: Sequence[_Shard]) -> Iterator[Fetch]:
    with ExitStack() as stack:
        cursor = _Cursor(shards, stack)

        def fetch(indices: Sequence[int]) -> Callable[[int], bytes]:
            return {index: cursor.take(index) for index in indices}.__getitem__

        yield fetch


class _Cursor:
    """Takes values of ascending rows; holds one open table and a few rows of it."""

    def __init__(self, shards: Sequence[_Shard], stack: ExitStack) -> None:
        self._shards, self._stack = shards, stack
        self._places = [(s, g) for s, shard in enumerate(shards) for g in range(len(shard.groups))]
        sizes = [size for shard in shards for size in shard.groups]
        self._starts = [0, *accumulate(sizes)][:-1]  # first row of each group, over all tables
        self._place = -1
        self._row = 0  # of all, the first of `_values`
        self._values: Any = ()
        self._batches: Iterator[Any] = iter(())

    def take(self, row: int) -> bytes:
        """Return the image file in a row of all tables."""
        place = bisect_right(self._starts, row) - 1
        shard_index, group = self._places[place]
        shard = self._shards[shard_index]
        with _damage_told(shard.where):
            if place != self._place:
                self._place, self._row, self._values = place, self._starts[place], ()
                self._batches = self._open(shard, group)
            while row >= self._row + len(self._values):
                self._row += len(self._values)
                self._values = next(self._batches, ())
                if not len(self._values):
                    raise EOFError("fewer rows than it says")
            value = self._values[row - self._row].as_py()
        if not isinstance(value, bytes) or len(value) > MAX_FILE_BYTES:
            found = "no bytes" if value is None else f"{len(value):,} bytes"
            raise ImageError(
                f"{shard.where}: {found} in an image; expected 1 to {MAX_FILE_BYTES:,}"
            )
        return value

    def _open(self, shard: _Shard, group: int) -> Iterator[Any]:
        """Yield the image column of a row group, some rows at a time."""
        self._stack.close()
        file = self._stack.enter_context(_parquet().ParquetFile(shard.path))
        column = next(
            path
            for path in (file.schema.column(i).path for i in range(len(file.schema.names)))
            if path in (shard.image, f"{shard.image}.bytes")
        )
        for batch in file.iter_batches(ROWS, row_groups=[group], columns=[column]):
            values = batch.column(0)
            yield values if column == shard.image else values.flatten()[0]


# --- Labels and captions ----------------------------------------------------------------------


def _labels(
    source: str, shards: Sequence[_Shard], count: int
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    if (label := shards[0].label) is None:
        return None, ()
    values = _values(shards, label)
    if all(isinstance(value, str) for value in values):
        found = {check_class(f"{source}: {label}", value) for value in set(values)}
        classes = sorted(found, key=class_order(found))
        order = {name: index for index, name in enumerate(classes)}
        return np.array([order[value] for value in values], np.int64), tuple(classes)
    if not all(isinstance(value, int) for value in values):
        raise ImageError(
            f"{source}: {label}: some are missing or of another kind; expected whole "
            "numbers or text in every row"
        )
    labels = check_labels(source, np.array(values), count)
    names = shards[0].classes or tuple(str(i) for i in range(labels.max() + 1))
    for name in names:
        check_class(f"{source}: {label}", name)
    if labels.max() >= len(names):
        raise ImageError(f"{source}: {label}: {labels.max()} is none of the {len(names)} classes")
    return labels, names


def _values(shards: Sequence[_Shard], column: str) -> list[Any]:
    """Return a column of all tables; text that repeats is in memory once, as it is in the file."""
    values: list[Any] = []
    for shard in shards:
        size = 0
        with (
            _damage_told(shard.where),
            _parquet().ParquetFile(shard.path, read_dictionary=[column]) as file,
        ):
            for batch in file.iter_batches(TEXTS, columns=[column]):
                found = batch.column(0)
                if (size := size + found.nbytes) > MAX_WHOLE_BYTES:
                    raise ImageError(
                        f"{shard.where}: {column}: over {MAX_WHOLE_BYTES:,} bytes; expected at "
                        "most as many"
                    )
                if (dictionary := getattr(found, "dictionary", None)) is None:
                    values += found.to_pylist()
                    continue
                known = dictionary.to_pylist()
                values += [None if i is None else known[i] for i in found.indices.to_pylist()]
    return values
