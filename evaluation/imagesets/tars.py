"""Lists the image files of a tar archive and reads them, believing nothing that it says.

Only plain files and folders are accepted, a leading `./` is dropped, and an archive without its end
mark is refused: `tarfile` takes the first damaged header for the end. What gzip packed is unpacked
once, as one tar archive, into a temporary file without a name.
"""

import gzip
import tarfile
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from evaluation.imagesets.sources import (
    BROKEN,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    ImageError,
    Member,
    ReadAt,
    Reader,
    Source,
    check_count,
    check_name,
    open_at,
    reading_at,
    visible,
)

SUFFIXES = (".tar", ".tar.gz", ".tgz")
BLOCK = tarfile.BLOCKSIZE
PIECE = 2**20  # bytes looked at together, and most bytes of an extended header

Opened = Callable[[], AbstractContextManager[ReadAt]]


def is_tar(path: Path) -> bool:
    """Return whether the name is that of a tar archive."""
    return path.name.lower().endswith(SUFFIXES)


def list_tar(path: Path) -> Source:
    """Return the members of a tar archive, packed by gzip or not at all.

    Raises:
        ImageError: if it is none, is damaged, breaks a bound or holds no visible file.
    """
    if not path.is_file():
        raise ImageError(f"{path.name}: does not exist; expected a tar archive")
    is_plain = path.suffix.lower() == ".tar"
    opened: Opened = partial(open_at, path) if is_plain else _unpacked(path)
    with opened() as read_at:
        offsets: dict[str, int] = {}
        files, folders = [], []
        for info in _infos(path.name, read_at):
            name = info.name.removeprefix("./")
            if info.isdir() and name in ("", "."):
                continue
            _check_member(path.name, name, info)
            if name in offsets:
                raise ImageError(f"{path.name}: {name}: stored twice; expected each name once")
            offsets[name] = info.offset_data
            check_count(path.name, len(offsets))
            if info.isdir():
                folders.append(tuple(name.split("/")))
            else:
                files.append(Member(name, info.size))

    @contextmanager
    def reading() -> Iterator[Reader]:
        with opened() as read_at:
            yield lambda member: _read_member(path.name, read_at, offsets[member.name], member)

    return visible(path.name, files, folders, reading)


def _infos(source: str, read_at: ReadAt) -> Iterator[tarfile.TarInfo]:
    """Yield every member; the bytes after the last one must be an end mark."""
    end = 0
    headers: Any = _Headers(read_at)
    try:
        with tarfile.open(fileobj=headers, mode="r:") as archive:
            while (info := archive.next()) is not None:
                vars(archive)["members"].clear()  # a million of them would take a gigabyte
                yield info
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
    except ImageError:
        raise
    except BROKEN as error:
        raise ImageError(
            f"{source}: truncated, damaged or not a tar file ({error}); expected a whole archive"
        ) from error
    _check_end(source, read_at, end)


def _check_end(source: str, read_at: ReadAt, end: int) -> None:
    at = end
    while piece := read_at(at, PIECE):
        if piece.strip(b"\0"):
            raise ImageError(
                f"{source}: damaged after byte {end:,}; expected another file or the end mark"
            )
        at += len(piece)
    if at - end < BLOCK:
        raise ImageError(f"{source}: truncated (no end mark); expected a whole archive")


def _check_member(source: str, name: str, info: tarfile.TarInfo) -> None:
    check_name(source, name)
    if info.isdir() or (info.isreg() and not info.issparse() and info.size >= 0):
        return
    kinds = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link"}
    what = "a sparse file" if info.issparse() else kinds.get(info.type, "a special file")
    raise ImageError(f"{source}: {name}: {what}; expected plain files and folders")


def _read_member(source: str, read_at: ReadAt, offset: int, member: Member) -> bytes:
    data = read_at(offset, member.size)
    if len(data) != member.size:
        raise ImageError(f"{source}: {member.name}: ends early; expected a whole file")
    return data


@dataclass
class _Headers:
    """What `tarfile` needs of a file to list it; no header makes it read much at once."""

    read_at: ReadAt
    at: int = 0

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int) -> None:
        self.at = offset

    def read(self, size: int) -> bytes:
        if not 0 <= size <= PIECE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self.read_at(self.at, size)
        self.at += len(data)
        return data


def _unpacked(path: Path) -> Opened:
    """Return how to read what gzip packed; the copy goes when nobody can read it any more."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed by the finaliser
    try:
        _unpack(path, file)
    except BaseException:
        file.close()
        raise
    read_at = reading_at(file)

    @contextmanager
    def opened() -> Iterator[ReadAt]:
        yield read_at

    weakref.finalize(opened, file.close)
    return opened


def _unpack(path: Path, file: IO[bytes]) -> None:
    most = min(MAX_TOTAL_BYTES, MAX_RATIO * path.stat().st_size)
    with gzip.open(path) as packed:
        while piece := _next_piece(path.name, packed):
            if file.tell() + len(piece) > most:
                raise ImageError(
                    f"{path.name}: unpacks to more than {most:,} bytes; expected at most that"
                )
            file.write(piece)


def _next_piece(source: str, packed: Any) -> bytes:
    try:
        piece: bytes = packed.read(PIECE)
    except BROKEN as error:
        raise ImageError(
            f"{source}: truncated, damaged or not packed by gzip ({error}); expected a whole archive"
        ) from error
    return piece
