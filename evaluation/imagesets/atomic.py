"""Writing files and folders whole or not at all, and the sha256 of files.

What has its final name is whole, also after a power cut: content is flushed to the disk before the
rename, the folder's list of files after it. What a killed process leaves behind has a hidden name
that ends in `.tmp`.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

CHUNK = 2**20  # bytes
OS_ERROR = re.compile(r"\(os error (\d+)\)$")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the path's place once it is written and on the disk."""
    with replacing_path(path) as temporary, temporary.open("xb") as file:
        yield file


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file for a library to write; it then takes the path's place.

    Raises:
        OSError: if it cannot be written, also where the library raises an error of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with _raising_os_errors(path):
            yield temporary
        flush_file(temporary)
        temporary.replace(path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary folder that takes the path's place once it is filled and on the disk.

    flush: False leaves out to wait for the disk, some milliseconds for each file: a power cut
        may then leave files empty.

    Raises:
        FileExistsError: if something other than an empty folder is there already.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: exists already, expected a new or an empty folder")
    with temporary_folder(path) as temporary:
        yield temporary
        move_folder(temporary, path, flush=flush)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside the path; it is deleted at the end if it was not moved there.

    Raises:
        OSError: if a file cannot be written, also where a library raises an error of its own.
    """
    temporary = _temporary(path)
    temporary.mkdir(parents=True)
    try:
        with _raising_os_errors(path):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(folder: Path, path: Path, *, flush: bool = True) -> None:
    """Flush a folder of the same file system to the disk and give it its final path.

    Raises:
        OSError: if something other than an empty folder is there already.
    """
    for found in [*folder.rglob("*"), folder] if flush else []:
        flush_folder(found) if found.is_dir() else flush_file(found)
    folder.rename(path)
    flush_folder(path.parent)


def flush_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Wait until a folder's list of files is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return sha256_of_content(file)


def files_sha256(files: Iterable[Path]) -> str:
    """Return the sha256 of files in their order: of their names and hashes."""
    lines = [f"{sha256_of(file)}  {file.name}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sha256_of_content(file: IO[bytes]) -> str:
    """Return the sha256 of what is left to read of an open file, in hex."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _raising_os_errors(path: Path) -> Iterator[None]:
    """Turn what a library written in Rust says, "(os error 28)", into the OSError that it was."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or not (found := OS_ERROR.search(str(error))):
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
