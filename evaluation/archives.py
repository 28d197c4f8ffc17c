"""Lists the image files of a folder or zip archive and reads them, believing neither.

Nothing is ever unpacked to disk. Names, counts and sizes are checked before anything is read;
reading a member is bounded by the size it announced. Hidden files and `__MACOSX` are ignored.

Layouts: `train/<class>/*` with or without `test/<class>/*`, `<class>/*`, or images alone
(unlabelled; also directly inside `train/` and `test/`). One folder around everything is looked
through.
"""

import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MAX_FILES = 1_000_000
MAX_FILE_BYTES = 64 * 2**20  # one image file, unpacked
MAX_TOTAL_BYTES = 32 * 2**30  # all files together, unpacked
MAX_DIRECTORY_BYTES = 128 * 2**20  # a zip's own table of contents, read before anything else
MAX_RATIO = 200  # unpacked : packed bytes of one member; image files hardly shrink
MAX_DEPTH = 8  # steps in a member's name

PARTS = ("train", "test")
LAYOUTS = "train/<class>/* and test/<class>/*, <class>/*, or images alone"

# What zipfile, PIL and numpy raise on damaged input.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class ImageError(ValueError):
    """Images that cannot be read; the message names the file, the reason and what was expected."""


@dataclass(frozen=True)
class Member:
    """One image file.

    name: as the folder or archive spells it, with forward slashes.
    size: bytes, unpacked.
    """

    name: str
    size: int

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the name's folders and its last step."""
        return tuple(self.name.split("/"))


@dataclass(frozen=True)
class Source:
    """A folder or archive whose names, counts and sizes have been checked."""

    name: str  # for messages
    files: list[Member]
    folders: list[tuple[str, ...]]  # every folder, also those without files
    read: Callable[[Member], bytes]


Classes = dict[str, list[Member]]  # "" = no classes


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip archive for reading.

    Raises:
        ImageError: if it is neither, is damaged, breaks a bound or holds no visible file.
    """
    if path.is_dir():
        yield _list_folder(path)
    else:
        with open_zip(path) as archive:
            yield _list_zip(path.name, archive)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose table of contents is of bearable size."""
    if not path.is_file():
        raise ImageError(f"{path.name}: does not exist; expected a folder, a .zip or an .npz file")
    with path.open("rb") as file:
        kind = "a truncated or damaged zip" if file.read(2) == b"PK" else "not a zip"
        if (size := _directory_bytes(file)) > MAX_DIRECTORY_BYTES:
            raise ImageError(
                f"{path.name}: a table of contents of {size:,} bytes; "
                f"expected at most {MAX_DIRECTORY_BYTES:,}"
            )
        try:
            archive = zipfile.ZipFile(file)
        except BROKEN as error:
            raise ImageError(
                f"{path.name}: {kind} file ({error}); expected a folder, a .zip or an .npz file"
            ) from error
        with archive:
            yield archive


def read_member(source: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a zip member's bytes, at most one more than it announced.

    Raises:
        ImageError: if the member does not unpack to what it announced.
    """
    try:
        with archive.open(info) as file:
            return file.read(info.file_size + 1)
    except BROKEN as error:
        raise ImageError(
            f"{source}: {info.filename}: damaged in the archive ({error}); expected a whole file"
        ) from error


def check_zip_member(source: str, info: zipfile.ZipInfo) -> None:
    """Raise ImageError unless the member is a plain, unencrypted, credibly packed file."""
    where = f"{source}: {info.filename}"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise ImageError(f"{where}: {what}; expected plain files and folders")
    if info.flag_bits & 0x1:
        raise ImageError(f"{where}: encrypted; expected an archive without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ImageError(
            f"{where}: packed by method {info.compress_type}; expected stored or deflated"
        )
    if info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise ImageError(
            f"{where}: unpacks from {info.compress_size:,} to {info.file_size:,} bytes; "
            f"expected at most {MAX_RATIO} times as many"
        )


def arrange(source: Source) -> dict[str, Classes]:
    """Return the files as part -> class -> files, "" where there are no parts or no classes.

    Raises:
        ImageError: if the files are not in one of the LAYOUTS, a class is empty, spelt in two
            ways, or not in both parts.
    """
    files, folders = _look_through(
        [(member.steps, member) for member in source.files], source.folders
    )
    if not {steps[0] for steps in folders} & set(PARTS):
        return {"": _classes(source.name, "", files, folders)}
    for steps, member in files:
        if steps[0] not in PARTS:
            raise ImageError(
                f"{source.name}: {member.name}: lies beside train/ and test/; "
                "expected every image inside them"
            )
    parts = {
        part: _classes(
            source.name,
            f"{part}/",
            [(steps[1:], member) for steps, member in files if steps[0] == part],
            [steps[1:] for steps in folders if steps[0] == part and len(steps) > 1],
        )
        for part in PARTS
        if (part,) in folders
    }
    _check_parts(source.name, parts)
    return parts


def _directory_bytes(file: IO[bytes]) -> int:
    """Return the size of the table of contents that a zip's end record announces, 0 if none."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 65_535 - 22 - 20 - 56))  # comment, end record, zip64 locator and record
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        return 0
    wide = tail.rfind(b"PK\6\6", 0, at)  # the zip64 record, if there is one, decides
    size = tail[wide + 40 : wide + 48] if wide >= 0 else tail[at + 12 : at + 16]
    return int.from_bytes(size, "little")


def _list_zip(source: str, archive: zipfile.ZipFile) -> Source:
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        _check_name(source, info.orig_filename)
        if info.filename in infos:
            raise ImageError(f"{source}: {info.filename}: stored twice; expected each name once")
        check_zip_member(source, info)
        infos[info.filename] = info
    return _visible(
        source,
        [Member(info.filename, info.file_size) for info in infos.values() if not info.is_dir()],
        [tuple(info.filename.split("/")[:-1]) for info in infos.values() if info.is_dir()],
        lambda member: read_member(source, archive, infos[member.name]),
    )


def _list_folder(folder: Path) -> Source:
    source = folder.absolute().name  # also for "."
    files: list[Member] = []
    folders: list[tuple[str, ...]] = []
    pending = [folder]
    while pending:
        for path in pending.pop().iterdir():
            name = path.relative_to(folder).as_posix()
            _check_name(source, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                folders.append(tuple(name.split("/")))
                pending.append(path)
            elif stat.S_ISREG(mode):
                files.append(Member(name, path.stat().st_size))
                _check_count(source, len(files))
            else:
                what = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                raise ImageError(f"{source}: {name}: {what}; expected plain files and folders")

    def read(member: Member) -> bytes:
        try:
            with (folder / member.name).open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except OSError as error:
            raise ImageError(f"{source}: {member.name}: {error.strerror}") from error

    return _visible(source, files, folders, read)


def _check_name(source: str, name: str) -> None:
    steps = name.removesuffix("/").split("/")
    if not name.isprintable():
        reason = "a name with unprintable characters"
    elif "\\" in name:
        reason = "a name with a backslash"
    elif name.startswith("/") or re.match("[A-Za-z]:", name):
        reason = "an absolute name"
    elif {"..", ".", ""} & set(steps):
        reason = "a name that leaves its folder or has empty steps"
    elif len(steps) > MAX_DEPTH:
        reason = f"more than {MAX_DEPTH} steps deep"
    else:
        return
    shown = name if name.isprintable() else ascii(name)
    raise ImageError(f"{source}: {shown}: {reason}; expected plain relative names")


def _check_count(source: str, count: int) -> None:
    if count > MAX_FILES:
        raise ImageError(f"{source}: more than {MAX_FILES:,} files; expected at most that many")


def _visible(
    name: str,
    files: list[Member],
    folders: list[tuple[str, ...]],
    read: Callable[[Member], bytes],
) -> Source:
    """Return the source without what is hidden, its counts and sizes checked."""
    _check_count(name, len(files))
    every_folder = {
        steps[:depth]
        for folder in {*folders, *(member.steps[:-1] for member in files)}
        for steps in [folder]
        for depth in range(1, len(steps) + 1)
    }
    files = sorted(
        (member for member in files if not _is_hidden(member.steps)), key=lambda member: member.name
    )
    for member in files:
        if member.size > MAX_FILE_BYTES:
            raise ImageError(
                f"{name}: {member.name}: {member.size:,} bytes; expected at most {MAX_FILE_BYTES:,}"
            )
    if (total := sum(member.size for member in files)) > MAX_TOTAL_BYTES:
        raise ImageError(
            f"{name}: {total:,} bytes unpacked; expected at most {MAX_TOTAL_BYTES:,} in all"
        )
    if not files:
        raise ImageError(f"{name}: holds no images; expected {LAYOUTS}")
    return Source(
        name, files, sorted(steps for steps in every_folder if not _is_hidden(steps)), read
    )


def _is_hidden(steps: tuple[str, ...]) -> bool:
    return any(
        step.startswith(".") or step in ("__MACOSX", "Thumbs.db", "desktop.ini") for step in steps
    )


Placed = list[tuple[tuple[str, ...], Member]]  # steps that are left, file


def _look_through(
    files: Placed, folders: list[tuple[str, ...]]
) -> tuple[Placed, list[tuple[str, ...]]]:
    """Return the files and folders without the one folder around everything, if there is one."""
    tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    while len(tops) == 1 and not tops & set(PARTS) and all(len(steps) > 1 for steps, _ in files):
        files = [(steps[1:], member) for steps, member in files]
        folders = [steps[1:] for steps in folders if len(steps) > 1]
        tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    return files, folders


def _classes(source: str, part: str, files: Placed, folders: list[tuple[str, ...]]) -> Classes:
    classes: Classes = {}
    spelling: dict[str, str] = {}
    for steps in folders:
        key = unicodedata.normalize("NFKC", steps[0]).casefold().strip()
        if spelling.setdefault(key, steps[0]) != steps[0]:
            raise ImageError(
                f"{source}: {part}{steps[0]}: the same class as {part}{spelling[key]} but for "
                "spelling; expected each class once"
            )
    names = sorted(spelling.values(), key=_class_order(spelling.values()))
    classes = {name: [] for name in names} or {"": []}
    for steps, member in files:
        if len(steps) > 2:
            raise ImageError(f"{source}: {member.name}: too deep; expected {LAYOUTS}")
        name = steps[0] if len(steps) == 2 else ""
        if name not in classes:
            raise ImageError(
                f"{source}: {member.name}: lies beside the class folders; "
                "expected every image inside one"
            )
        classes[name].append(member)
    for name, members in classes.items():
        if not members:
            what = "an empty class" if name else "an empty part"
            raise ImageError(f"{source}: {part}{name}: {what}; expected at least one image")
    return classes


def _class_order(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Order by number where every name is a number, else by name."""
    if all(re.fullmatch("[0-9]{1,9}", name) for name in names):
        return lambda name: (int(name), name)
    return lambda name: (0, name)


def _check_parts(source: str, parts: dict[str, Classes]) -> None:
    if "train" not in parts:
        raise ImageError(f"{source}: test/ without train/; expected {LAYOUTS}")
    if "test" in parts and ("" in parts["train"]) != ("" in parts["test"]):
        without, having = ("test", "train") if "" in parts["test"] else ("train", "test")
        raise ImageError(
            f"{source}: {without}/: without classes where {having}/ has them; "
            "expected the same classes in both"
        )
    for name in parts.get("test", {}):
        if name not in parts["train"]:
            raise ImageError(
                f"{source}: test/{name}: not a class of train/; expected the same classes in both"
            )
    for name in parts["train"]:
        if "test" in parts and name not in parts["test"]:
            raise ImageError(
                f"{source}: train/{name}: not a class of test/; expected the same classes in both"
            )
