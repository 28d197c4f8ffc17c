"""Reads labels from `metadata.csv` and `metadata.jsonl` beside images, as imagefolders have them.

Each row names a file in `file_name`, relative to the metadata file, and perhaps its class in `label`
or `labels`: text or a whole number. Where there are labels, folders are no classes, and every image
must have one. Other columns are left out. A table without `file_name` is text like any other.
"""

import csv
import io
import json
from collections.abc import Iterator
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
            if table.size > MAX_FILE_BYTES:
                raise ImageError(
                    f"{source.name}: {table.name}: {table.size:,} bytes; "
                    f"expected at most {MAX_FILE_BYTES:,}"
                )
            _add(found, source.name, table, read(table), images)
    if found.labels:
        for member in source.files:
            if member.name not in found.labels:
                raise ImageError(
                    f"{source.name}: {member.name}: no label in {', '.join(found.used)}; "
                    "expected one for every image or for none"
                )
    return found


def _add(found: Metadata, source: str, table: Member, data: bytes, images: set[str]) -> None:
    """Add what one table says, if it has labels."""
    where = f"{source}: {table.name}"
    for number, row in enumerate(_rows(where, data), start=1):
        column = next((name for name in LABEL_COLUMNS if name in row), None)
        is_labelled = column is not None and FILE_NAME in row
        if number == 1 and is_labelled:
            found.used.append(table.name)
        if is_labelled != (table.name in found.used):
            raise ImageError(
                f"{where}: row {number}: {'a' if is_labelled else 'no'} label, unlike the rows "
                "before; expected one in every row or in none"
            )
        if column is None or FILE_NAME not in row:
            continue
        name = "/".join([*table.steps[:-1], str(row[FILE_NAME])])
        if name not in images or name in found.labels:
            what = "is named twice" if name in found.labels else "is not there"
            raise ImageError(
                f"{where}: row {number}: the image {row[FILE_NAME]!a} {what}; expected each "
                "image once, by its path from this file"
            )
        found.labels[name] = _class(f"{where}: row {number}", row[column])
        found.columns |= dict.fromkeys(str(key) for key in row if key not in (FILE_NAME, column))


def _class(where: str, label: Any) -> str:
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ImageError(f"{where}: the label {label!r}; expected text or a whole number")
    return check_class(where, str(label))


def _rows(where: str, data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in CSV or JSON lines."""
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        if where.lower().endswith(".csv"):
            yield from csv.DictReader(text, restkey="", restval=None)
            return
        for line in text:
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("a line that is no object")
                yield row
    except ImageError:
        raise
    except (*BROKEN, csv.Error) as error:
        raise ImageError(f"{where}: damaged ({error}); expected UTF-8 text in rows") from error
