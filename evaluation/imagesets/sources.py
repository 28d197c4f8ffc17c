"""Lists the image files of a folder or zip archive and reads them, believing neither.

Names, counts and sizes are checked before anything is read; reading a member is bounded by the size
it announced. No member ever becomes a file on disk. Hidden files and text are counted
and left out; a name may be of any script. `layouts` finds the classes, `tars` lists tar archives.
Everything else that is no image is refused, for an image of a kind that nobody reads must not
vanish without a word.
"""

import io
import os
import re
import stat
import struct
import tarfile
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

MAX_FILES = 1_000_000
MAX_FILE_BYTES = 64 * 2**20  # one image file, unpacked
MAX_PACKED = MAX_FILE_BYTES + 2**16  # one image file, packed
MAX_TOTAL_BYTES = 32 * 2**30  # all files together, unpacked
MAX_DIRECTORY_BYTES = 128 * 2**20  # a zip's own table of contents, read before anything else
MAX_RATIO = 200  # unpacked : packed bytes of one member; image files hardly shrink
MAX_DEPTH = 8  # steps in a member's name

PARTS = ("train", "test")
RESIZE_RULE = "centre crop to a square, then PIL Lanczos (antialiased) in 8 bits"
VALIDATION = "validation"  # a part that is read only where it is asked for
LAYOUTS = "train/<class>/* and test/<class>/*, <class>/*, or images alone"

HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")  # and whatever begins with a dot
TEXT_SUFFIXES = (
    ".txt", ".cls", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".cff",
)  # fmt: skip
TEXT_NAMES = ("readme", "license", "licence", "copying", "notice", "authors", "changelog")

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# What zipfile, tarfile, PIL and numpy raise on damaged input.
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
    tarfile.TarError,
)


class ImageError(ValueError):
    """Images that cannot be read; the message names the file, the reason and what was expected."""


class MixedImages(ImageError):
    """Images of several sizes or colours; `option` would make them alike."""

    def __init__(self, message: str, *, option: Literal["resolution", "channels"]) -> None:
        super().__init__(message)
        self.option = option


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


Reader = Callable[[Member], bytes]
ReadAt = Callable[[int, int], bytes]  # offset, most bytes


@dataclass(frozen=True)
class Source:
    """A folder or archive whose names, counts and sizes have been checked.

    opened: makes it ready for reading files, from any thread, until its block ends.
    """

    name: str  # for messages
    files: list[Member]  # images, as far as names tell
    folders: list[tuple[str, ...]]  # every folder, also those without files
    opened: Callable[[], AbstractContextManager[Reader]]
    texts: list[Member]  # beside the images
    hidden: list[str]  # names of hidden files

    def left_out(self, *, used: Collection[str] = ()) -> list[str]:
        """Return in words which files are no images; `used` names texts that were read."""
        texts = [member.name for member in self.texts if member.name not in used]
        return [*counted("hidden file", self.hidden), *counted("text file", texts)]


def list_folder(folder: Path) -> Source:
    """Return the files of a folder, at any depth.

    Raises:
        ImageError: if it holds a link or a device, breaks a bound or holds no visible file.
    """
    source = folder.absolute().name  # also for "."
    files: list[Member] = []
    folders: list[tuple[str, ...]] = []
    pending = [folder]
    while pending:
        for path in pending.pop().iterdir():
            name = path.relative_to(folder).as_posix()
            check_name(source, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                folders.append(tuple(name.split("/")))
                pending.append(path)
            elif stat.S_ISREG(status.st_mode):
                files.append(Member(name, status.st_size))
                check_count(source, len(files))
            else:
                what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a special file"
                raise ImageError(f"{source}: {name}: {what}; expected plain files and folders")

    def read(member: Member) -> bytes:
        try:
            with io.FileIO(f"{folder}/{member.name}") as file:  # Path.open takes twice as long
                return file.read(member.size)
        except OSError as error:
            raise ImageError(f"{source}: {member.name}: {error.strerror}") from error

    @contextmanager
    def opened() -> Iterator[Reader]:
        yield read

    return visible(source, files, folders, opened)


def list_zip(path: Path) -> Source:
    """Return the members of a zip archive.

    Raises:
        ImageError: if it is none, is damaged, breaks a bound or holds no visible file.
    """
    source = path.name
    infos: dict[str, zipfile.ZipInfo] = {}
    with open_zip(path) as archive:
        for info in archive.infolist():
            check_name(source, info.orig_filename)
            if info.filename in infos:
                raise ImageError(
                    f"{source}: {info.filename}: stored twice; expected each name once"
                )
            check_zip_member(source, info, may_shrink=is_text(info.filename))
            infos[info.filename] = info

    @contextmanager
    def opened() -> Iterator[Reader]:
        with open_at(path) as read_at:
            yield lambda member: _read_zip_member(source, read_at, infos[member.name])

    return visible(
        source,
        [Member(info.filename, info.file_size) for info in infos.values() if not info.is_dir()],
        [tuple(info.filename.split("/")[:-1]) for info in infos.values() if info.is_dir()],
        opened,
    )


@contextmanager
def open_at(path: Path) -> Iterator[ReadAt]:
    """Open a file for reads at any offset, by several threads."""
    with path.open("rb", buffering=0) as file:
        yield reading_at(file)


def reading_at(file: IO[bytes]) -> ReadAt:
    """Return how to read an open file at any offset, from several threads."""
    lock = threading.Lock()

    def read_at(offset: int, size: int) -> bytes:
        with lock:
            file.seek(offset)
            return file.read(size)

    return read_at


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


def check_zip_member(source: str, info: zipfile.ZipInfo, *, may_shrink: bool = False) -> None:
    """Raise ImageError unless the member is a plain, unencrypted, credibly packed file.

    may_shrink: packing may make it as small as it likes, for its reader bounds what it unpacks.
    """
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
    if not may_shrink and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise ImageError(
            f"{where}: unpacks from {info.compress_size:,} to {info.file_size:,} bytes; "
            f"expected at most {MAX_RATIO} times as many"
        )


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


def _read_zip_member(source: str, read_at: ReadAt, info: zipfile.ZipInfo) -> bytes:
    """Return a member's bytes, unpacked no further than one byte beyond what it announced."""
    try:
        head = read_at(info.header_offset, 30)
        names = struct.unpack_from("<HH", head, 26)  # bytes of its name and its extra field
        packed = read_at(info.header_offset + 30 + sum(names), min(info.compress_size, MAX_PACKED))
        data = packed
        if info.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, info.file_size + 1)
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    except BROKEN as error:
        raise ImageError(
            f"{source}: {info.filename}: damaged in the archive ({error}); expected a whole file"
        ) from error
    return data


def check_name(source: str, name: str) -> None:
    """Raise ImageError unless the name is plain, relative and not too deep."""
    steps = name.removesuffix("/").split("/")
    if not is_plain(name):
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
    shown = name if is_plain(name) else ascii(name)
    raise ImageError(f"{source}: {shown}: {reason}; expected plain relative names")


def is_plain(name: str) -> bool:
    """Return whether a name holds no control characters, line ends, half characters or overrides.

    Spaces and joiners of any script are plain; marks that reorder the text around them are not: by
    them a name shows as another.
    """
    return not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _REORDERING
        for character in name
    )


def check_count(source: str, count: int) -> None:
    """Raise ImageError if there are too many files."""
    if count > MAX_FILES:
        raise ImageError(f"{source}: more than {MAX_FILES:,} files; expected at most that many")


def is_hidden(steps: Sequence[str]) -> bool:
    """Return whether a file or folder of this path is hidden, or lies in what is."""
    return any(step.startswith(".") or step in HIDDEN for step in steps)


def is_text(name: str) -> bool:
    """Return whether a file of this name is text about images: a README, a licence, metadata."""
    last = name.rpartition("/")[2].lower()
    return last in TEXT_NAMES or last.endswith(TEXT_SUFFIXES)


def counted(what: str, names: Sequence[str]) -> list[str]:
    """Return in words how many of something there are and the first name, [] if there are none."""
    if not names:
        return []
    if len(names) == 1:
        return [f"1 {what} ({names[0]})"]
    noun, _, rest = what.partition(" of ")
    plural = f"{noun}s of {rest}" if rest else f"{noun}s"
    return [f"{len(names):,} {plural} ({names[0]}, …)"]


def visible(
    name: str,
    files: list[Member],
    folders: list[tuple[str, ...]],
    opened: Callable[[], AbstractContextManager[Reader]],
) -> Source:
    """Return the source with its images apart from the rest, their counts and sizes checked."""
    check_count(name, len(files))
    every_folder = {
        steps[:depth]
        for folder in {*folders, *(member.steps[:-1] for member in files)}
        for steps in [folder]
        for depth in range(1, len(steps) + 1)
    }
    files = sorted(files, key=lambda member: member.name)
    seen = [member for member in files if not is_hidden(member.steps)]
    images = [member for member in seen if not is_text(member.name)]
    _check_sizes(name, images)
    return Source(
        name,
        images,
        sorted(steps for steps in every_folder if not is_hidden(steps)),
        opened,
        texts=[member for member in seen if is_text(member.name)],
        hidden=[member.name for member in files if is_hidden(member.steps)],
    )


def _check_sizes(name: str, images: list[Member]) -> None:
    for member in images:
        if member.size > MAX_FILE_BYTES:
            raise ImageError(
                f"{name}: {member.name}: {member.size:,} bytes; expected at most {MAX_FILE_BYTES:,}"
            )
    if (total := sum(member.size for member in images)) > MAX_TOTAL_BYTES:
        raise ImageError(
            f"{name}: {total:,} bytes unpacked; expected at most {MAX_TOTAL_BYTES:,} in all"
        )
    if not images:
        raise ImageError(f"{name}: holds no images; expected {LAYOUTS}")
