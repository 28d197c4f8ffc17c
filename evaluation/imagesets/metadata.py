"""Reads labels from `metadata.csv` and `metadata.jsonl` beside images, as imagefolders have them.

Each row names a file in `file_name`, relative to the metadata file, and perhaps its class in `label`
or `labels`: text or a whole number. Where there are labels, folders are no classes, and every image
must have one. Other columns are left out. A table without `file_name` is text like any other.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluation.imagesets.left_out import counted
from evaluation.imagesets.sources import (
    BROKEN,
    LABEL_COLUMNS,
    MAX_FILE_BYTES,
    ImageError,
    Member,
    Source,
    check_class,
)

NAMES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"
MAX_LINE = 2**20  # characters


@dataclass
class Metadata:
    """What metadata files say of a source.

    labels: name of an image -> name of its class; {} = no labels. used: names of the files that
    gave labels. columns: names of other columns in these.
    """

    labels: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)

    def left_out(self, source: Source) -> list[str]:
        """Return in words what of the source is neither image nor label."""
        columns = counted("column", list(self.columns))
        return [*source.left_out(used=self.used), *(f"{text} of metadata" for text in columns)]


def read_metadata(source: Source) -> Metadata:
    """Return the labels in a source's metadata files.

    Raises:
        ImageError: if such a file is damaged, names a file that is not there or one twice, or has
            labels for some images alone.
    """
    found = Metadata()
    tables = [member for member in source.texts if member.steps[-1].lower() in NAMES]
    if not tables:
        return found
    images = {member.name for member in source.files}
    with source.opened() as read:
        for table in tables:
            _check_size(source.name, table)
            _add(found, source.name, table, read(table), images)
    for member in source.files if found.labels else ():
        if member.name not in found.labels:
            raise ImageError(
                f"{source.name}: {member.name}: no label in {', '.join(found.used)}; "
                "expected one for every image or for none"
            )
    return found


def _check_size(source: str, table: Member) -> None:
    if table.size > MAX_FILE_BYTES:
        raise ImageError(
            f"{source}: {table.name}: {table.size:,} bytes; expected at most {MAX_FILE_BYTES:,}"
        )


def _add(found: Metadata, source: str, table: Member, data: bytes, images: set[str]) -> None:
    """Add what one table says, if it has labels."""
    for number, row in enumerate(_rows(f"{source}: {table.name}", data), start=1):
        where = f"{source}: {table.name}: row {number}"
        column = next((name for name in LABEL_COLUMNS if name in row), None)
        is_labelled = column is not None and FILE_NAME in row
        if number == 1 and is_labelled:
            found.used.append(table.name)
        if is_labelled != (table.name in found.used):
            raise ImageError(
                f"{where}: {'a' if is_labelled else 'no'} label, unlike the rows before; "
                "expected one in every row or in none"
            )
        if column is not None and is_labelled:
            name = "/".join([*table.steps[:-1], str(row[FILE_NAME])])
            _check_image(where, name, row[FILE_NAME], images, found.labels)
            found.labels[name] = _class(where, row[column])
            found.columns |= dict.fromkeys(name for name in row if name not in (FILE_NAME, column))


def _check_image(
    where: str, name: str, said: Any, images: set[str], labels: Mapping[str, str]
) -> None:
    if name in images and name not in labels:
        return
    what = "is named twice" if name in labels else "is not there"
    raise ImageError(
        f"{where}: the image {_short(said)} {what}; expected each image once, by its path from "
        "this file"
    )


def _class(where: str, label: Any) -> str:
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ImageError(f"{where}: the label {_short(label)}; expected text or a whole number")
    return check_class(where, str(label))


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
