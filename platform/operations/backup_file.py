"""What a backup is: a plain tar with `database`, `data/<path>` and, at its end, `manifest.json`.

Names in an archive are data: none is used as a path before it was checked.
"""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Self

from catalog.stored import FOLDERS

FORMAT = 1
DATABASE, DATA, MANIFEST = "database", "data", "manifest.json"
LARGEST_MANIFEST = 2**28  # bytes; a million files need less
CHUNK = 2**20  # bytes


class ArchiveError(RuntimeError):
    """A file that is no whole backup, or one that nobody should restore."""


@dataclass
class Manifest:
    """What an archive holds."""

    database: str  # sqlite or postgresql
    version: str  # of the site that wrote it
    created_at: str
    files: dict[str, str] = field(default_factory=dict)  # sha256 by the name in the archive
    missing: list[str] = field(default_factory=list)  # rows refer to it, but it was not there

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the manifest that the text is.

        Raises:
            ArchiveError: if it is none, or of a format that is not known here.
        """
        try:
            record = json.loads(text)
            found = record.pop("format")
            manifest = cls(**record) if found == FORMAT else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ArchiveError(f"{MANIFEST} cannot be read") from error
        if manifest is None:
            raise ArchiveError(f"expected a backup of format {FORMAT}, got {found!r:.50}")
        return manifest


class _Hashing:
    """An open file whose sha256 is known when it has been read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.sha256.update(chunk)
        return chunk


def add(archive: tarfile.TarFile, name: str, file: IO[bytes]) -> str:
    """Add an open file, whose size must not change, and return its sha256."""
    check_name(name)
    info = tarfile.TarInfo(name)
    info.size, info.mode = os.fstat(file.fileno()).st_size, 0o600
    hashing = _Hashing(file)
    archive.addfile(info, hashing)
    return hashing.sha256.hexdigest()


def add_manifest(archive: tarfile.TarFile, manifest: Manifest) -> None:
    text = manifest.to_json()
    info = tarfile.TarInfo(MANIFEST)
    info.size, info.mode = len(text), 0o600
    archive.addfile(info, io.BytesIO(text))


def check_name(name: str) -> None:
    """See that a name is the database's or leads into one of the folders of data.

    Raises:
        ArchiveError: if it does not; it says the name.
    """
    path = PurePosixPath(name)
    if name == DATABASE:
        return
    plain = str(path) == name and ".." not in path.parts and "\0" not in name
    if (
        not plain
        or path.parts[:1] != (DATA,)
        or len(path.parts) < 3
        or path.parts[1] not in FOLDERS
    ):
        raise ArchiveError(f"expected {DATABASE} or {DATA}/<folder>/<file>, got {name!r:.200}")


def unpack(path: Path, folder: Path) -> Manifest:
    """Write an archive's files into an empty folder of our own and return its manifest.

    Every name is checked before it is used, every file's sha256 afterwards.

    Raises:
        ArchiveError: if the archive is not whole, is damaged, or holds anything unexpected.
    """
    manifest, digests = None, {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.name == MANIFEST:
                    manifest = _read_manifest(archive, member)
                else:
                    digests[member.name] = _extract(archive, member, folder)
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{path} is no backup, or not a whole one: {error}") from error
    if manifest is None:
        raise ArchiveError(f"{path} is no backup, or not a whole one: it has no {MANIFEST}")
    _compare(manifest.files, digests)
    return manifest


def _read_manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Manifest:
    if member.type != tarfile.REGTYPE or member.size > LARGEST_MANIFEST:
        raise ArchiveError(f"{MANIFEST} is no file, or too large")
    return Manifest.from_json(_open(archive, member).read())


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Write one file below the folder and return its sha256."""
    check_name(member.name)
    if member.type != tarfile.REGTYPE:
        raise ArchiveError(f"{member.name} is no plain file")
    target = folder / member.name
    source = _Hashing(_open(archive, member))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"{member.name} is there twice") from error
    return source.sha256.hexdigest()


def _open(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None, "a plain file can be read"
    return file


def _compare(expected: dict[str, str], found: dict[str, str]) -> None:
    if DATABASE not in expected:
        raise ArchiveError("the backup has no database")
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise ArchiveError(f"{name} is in the manifest, but not in the archive")
        if name not in expected:
            raise ArchiveError(f"{name} is in the archive, but not in the manifest")
        if expected[name] != found[name]:
            raise ArchiveError(f"{name} is damaged: its sha256 is not the manifest's")
