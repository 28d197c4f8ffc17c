"""Reads labels and captions from files beside images, as imagefolders and WebDatasets have them.

Each row of `metadata.csv` or `metadata.jsonl` names a file in `file_name`, relative to the metadata
file, and perhaps its class in `label` or `labels`, text or a whole number, and its caption in `text`
or `caption`. Where no row has labels, `1.cls` beside `1.png` holds its class; where none has
captions, `1.txt` its caption. Every image must have one, or none. Where there are labels, folders
are no classes. Other columns are left out. A table without `file_name` is text like any other.
"""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from evaluation.imagesets.sources import (
    BROKEN,
    MAX_FILE_BYTES,
    ImageError,
    Member,
    Reader,
    Source,
    counted,
)
from evaluation.imagesets.texts import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    check_caption,
    check_class,
    missing_texts,
)

NAMES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"
MAX_LINE = 2**20  # characters
MAX_BESIDE = 2**16  # bytes of a file that holds one label or caption


@dataclass(frozen=True)
class _Kind:
    """What may be said of an image: how it is called, where it is found, how it is checked."""

    name: str
    columns: tuple[str, ...]
    suffix: str  # of a file beside the image
    check: Callable[[str, Any], str]


def _class(where: str, label: Any) -> str:
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ImageError(f"{where}: the label {_short(label)}; expected text or a whole number")
    return check_class(where, str(label))


LABEL = _Kind("label", LABEL_COLUMNS, ".cls", _class)
CAPTION = _Kind("caption", CAPTION_COLUMNS, ".txt", check_caption)


@dataclass
class Metadata:
    """What the files beside the images of a source say of them.

    labels: name of an image -> name of its class; {} = no labels. captions: name of an image -> its
    caption; {} = no captions. used: names of the files that gave either. columns: names of other
    columns in these.
    """

    labels: dict[str, str] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)

    def of(self, kind: _Kind) -> dict[str, str]:
        """Return what is said of each image in one of the two ways."""
        return self.labels if kind is LABEL else self.captions

    def left_out(self, source: Source) -> list[str]:
        """Return in words what of the source is neither image, label nor caption."""
        columns = counted("column", list(self.columns))
        return [*source.left_out(used=self.used), *(f"{text} of metadata" for text in columns)]


def read_metadata(source: Source) -> Metadata:
    """Return the labels and captions in the files beside a source's images.

    Raises:
        ImageError: if such a file is damaged, names a file that is not there or one twice, holds
            what is no label or caption, or there are some for some images alone.
    """
    found = Metadata()
    if not source.texts:
        return found
    images = {member.name for member in source.files}
    with source.opened() as read:
        for table in source.texts:
            if table.steps[-1].lower() in NAMES:
                _check_size(source.name, table, MAX_FILE_BYTES)
                _add_rows(found, source.name, table, read(table), images)
        for kind in (LABEL, CAPTION):
            if not found.of(kind):
                _add_beside(found, kind, source, read)
    for kind in (LABEL, CAPTION):
        said = found.of(kind)
        missing = [member.name for member in source.files if member.name not in said]
        if said and missing:
            raise missing_texts(source.name, kind.name, len(missing), len(images), missing[0])
    return found


def _check_size(source: str, text: Member, most: int) -> None:
    if text.size > most:
        raise ImageError(f"{source}: {text.name}: {text.size:,} bytes; expected at most {most:,}")


def _add_rows(
    found: Metadata, source: str, table: Member, data: bytes, images: Collection[str]
) -> None:
    """Add what one table says, if it has labels or captions."""
    first: dict[_Kind, str] = {}
    for number, row in enumerate(_rows(f"{source}: {table.name}", data), start=1):
        where = f"{source}: {table.name}: row {number}"
        said = _said(row)
        first = said if number == 1 else first
        for kind in (LABEL, CAPTION):
            if (kind in said) != (kind in first):
                has = "a" if kind in said else "no"
                raise ImageError(
                    f"{where}: {has} {kind.name}, unlike the rows before; expected one in every "
                    "row or in none"
                )
        for kind, column in said.items():
            name = "/".join([*table.steps[:-1], str(row[FILE_NAME])])
            _check_image(where, name, row[FILE_NAME], images, found.of(kind))
            found.of(kind)[name] = kind.check(where, row[column])
        if said:
            found.used[table.name] = None
            others = (name for name in row if name not in (FILE_NAME, *said.values()))
            found.columns |= dict.fromkeys(others)


def _said(row: Collection[str]) -> dict[_Kind, str]:
    """Return in which columns a row says something of an image, {} if it names none."""
    if FILE_NAME not in row:
        return {}
    columns = {kind: [name for name in kind.columns if name in row] for kind in (LABEL, CAPTION)}
    return {kind: names[0] for kind, names in columns.items() if names}


def _check_image(
    where: str, name: str, said: Any, images: Collection[str], known: Collection[str]
) -> None:
    if name in images and name not in known:
        return
    what = "is named twice" if name in known else "is not there"
    raise ImageError(
        f"{where}: the image {_short(said)} {what}; expected each image once, by its path from "
        "this file"
    )


def _add_beside(found: Metadata, kind: _Kind, source: Source, read: Reader) -> None:
    """Add what files say that are called like an image but for their ending."""
    texts = {_stem(text): text for text in source.texts if text.name.lower().endswith(kind.suffix)}
    for member in source.files if texts else ():
        if (text := texts.get(_stem(member))) is None:
            continue
        _check_size(source.name, text, MAX_BESIDE)
        where = f"{source.name}: {text.name}"
        try:
            content = read(text).decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise ImageError(f"{where}: damaged ({error}); expected UTF-8 text") from error
        found.of(kind)[member.name] = kind.check(where, content)
        found.used[text.name] = None


def _stem(member: Member) -> str:
    return member.name.rpartition(".")[0]


def _short(value: Any) -> str:
    return ascii(value)[:100]


def _rows(where: str, data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in CSV or JSON lines."""
    lines = _lines(data)
    try:
        if where.lower().endswith(".csv"):
            yield from csv.DictReader(lines, restkey="", restval=None)
            return
        for line in filter(str.strip, lines):
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line that is no object")
            yield row
    except (*BROKEN, csv.Error) as error:
        raise ImageError(f"{where}: damaged ({error}); expected UTF-8 text in rows") from error


def _lines(data: bytes) -> Iterator[str]:
    """Yield lines with their ends; a long one is refused before it is in memory as a whole."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"a line of {MAX_LINE:,} characters or more")
        yield line
