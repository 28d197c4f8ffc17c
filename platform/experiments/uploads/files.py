"""Takes in files piece by piece; what an interrupted upload left is where it goes on.

There is no count of bytes beside the file: how much of an upload is here is the size of its file. A
process that is killed in the middle of a piece leaves the bytes that it wrote, none twice. A lock of
the operating system, which ends with the process that holds it, keeps two writers apart.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.permissions import is_admin
from catalog import stored
from evaluation.imagesets.atomic import flush_folder
from experiments.uploads.models import Intake, Upload
from jobs.models import FINISHED

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".parquet", ".npz", ".npy")
MOST_UPLOADS = 25  # of an account at a time
PIECE = 2**20  # bytes between two waits for the disk
GB = 10**9
ALGORITHMS = ("sha256", "sha1")  # of checksums
BAD, GONE, CONFLICT, TOO_LARGE, LOCKED, MISMATCH, FULL = 400, 404, 409, 413, 423, 460, 507


class UploadRefused(ValueError):
    """Nothing was taken; `status` is what the protocol calls the reason."""

    def __init__(self, message: str, status: int = BAD) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Checksum:
    """What a piece should add up to."""

    algorithm: str
    digest: bytes


# --- Beginning and ending -----------------------------------------------------------------------


def begin(user: User, *, name: str, length: int, fingerprint: str = "") -> Upload:
    """Return a new upload of an account, of which nothing is here yet.

    Raises:
        UploadRefused: if the name is none, or the account has as much here as it may.
    """
    _check_name(name)
    forget_expired()
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # two at once are counted one by one
        _check_bounds(user, length)
        return Upload.objects.create(
            owner=user, name=name, length=length, fingerprint=fingerprint[:200]
        )


def _check_bounds(user: User, length: int) -> None:
    own = list(Upload.objects.filter(owner=user).values_list("length", flat=True))
    most = settings.UPLOAD_GB * GB
    if not most:
        raise UploadRefused("nobody uploads to this site", 403)
    if length < 1:
        raise UploadRefused(f"expected a file of at least 1 byte, got {length}")
    if sum(own) + length > most:
        kept = f", {sum(own):,} of them taken" if own else ""
        text = f"expected at most {most:,} bytes of an account at a time{kept}; got {length:,}"
        raise UploadRefused(text, TOO_LARGE)
    if len(own) >= MOST_UPLOADS:
        raise UploadRefused(f"expected at most {MOST_UPLOADS} files at a time; remove some", 403)


def _check_name(name: str) -> None:
    is_plain = name.isprintable() and not {"/", "\\"}.intersection(name) and name.strip() == name
    if not is_plain or not 0 < len(name.encode()) <= 100 or name.startswith("."):
        raise UploadRefused(f"expected the plain name of a file, got {name!r}"[:200])
    if not name.lower().endswith(SUFFIXES):
        raise UploadRefused(f"expected a file {', '.join(SUFFIXES)}; got {name[-80:]!r}")


def free_uploads(user: User) -> list[Upload]:
    """Return an account's uploads that no worker needs, the newest first."""
    busy = Intake.objects.exclude(status__in=FINISHED)
    return list(Upload.objects.filter(owner=user).exclude(intake__in=busy).order_by("-created_at"))


def may_see(user: object, upload: Upload) -> bool:
    return isinstance(user, User) and (upload.owner_id == user.pk or is_admin(user))


def remove(upload: Upload) -> None:
    """Delete an upload, its row and its file.

    Raises:
        UploadRefused: if a worker needs it, or somebody writes it.
    """
    if Intake.objects.filter(pk=upload.intake_id or 0).exclude(status__in=FINISHED).exists():
        raise UploadRefused(f"{upload}: a worker is about to read it", CONFLICT)
    name = stored.name_of(upload.path)
    with _locked(upload):
        upload.delete()
        stored.remove(name)


def forget_expired() -> None:
    """Delete uploads that nobody has gone on with for UPLOAD_HOURS."""
    for upload in Upload.objects.exclude(intake__in=Intake.objects.exclude(status__in=FINISHED)):
        if expires_at(upload) < timezone.now():
            try:
                remove(upload)
            except UploadRefused:  # somebody goes on with it
                continue


def expires_at(upload: Upload) -> datetime:
    """Return when an upload is deleted unless more of it comes."""
    try:
        written = datetime.fromtimestamp(upload.path.stat().st_mtime, UTC)
    except FileNotFoundError:
        written = upload.created_at
    return max(written, upload.created_at) + timedelta(hours=settings.UPLOAD_HOURS)


# --- Writing ------------------------------------------------------------------------------------


def append(
    upload: Upload,
    read: Callable[[int], bytes],  # at most so many bytes; none = the end
    *,
    at: int,
    checksum: Checksum | None = None,
) -> int:
    """Write what is read behind the first `at` bytes, and return how many there are now.

    1. Lock the file. 2. Its size must be `at`. 3. Write, each piece on the disk before the next one
    is read; what came before an interruption stays. 4. What does not add up to the checksum is cut
    off again.

    Raises:
        UploadRefused: if somebody else writes it, more or less of it is here, or it does not add up.
    """
    with _saying_what_is_full(), _locked(upload) as file:
        size = file.seek(0, os.SEEK_END)
        if size != at:
            raise UploadRefused(
                f"{size:,} bytes are here, expected to go on there; got {at:,}", CONFLICT
            )
        digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        is_kept = False
        try:
            for piece in _pieces(read, upload.length - at):
                _write(file, piece)
                if digest:
                    digest.update(piece)
            is_kept = checksum is None or (
                digest is not None and digest.digest() == checksum.digest
            )
        finally:
            if checksum and not is_kept:
                file.truncate(at)
        if not is_kept:
            raise UploadRefused("the piece does not add up to its checksum", MISMATCH)
        return file.seek(0, os.SEEK_END)


def _pieces(read: Callable[[int], bytes], most: int) -> Iterator[bytes]:
    while most and (piece := read(min(PIECE, most))):
        most -= len(piece)
        yield piece


def _write(file: IO[bytes], piece: bytes) -> None:
    file.write(piece)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _saying_what_is_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UploadRefused("the site's disk is full; try again later", FULL) from error


@contextmanager
def _locked(upload: Upload) -> Iterator[IO[bytes]]:
    """Yield the upload's file, which nobody else writes meanwhile.

    Raises:
        UploadRefused: if somebody does, or the upload was removed.
    """
    is_new = not upload.path.exists()
    upload.path.parent.mkdir(exist_ok=True)
    with upload.path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UploadRefused(f"{upload}: somebody else is writing it", LOCKED) from error
        if not Upload.objects.filter(pk=upload.pk).exists():
            upload.path.unlink(missing_ok=True)
            raise UploadRefused(f"{upload}: was removed", GONE)
        if is_new:
            flush_folder(upload.path.parent)
        yield file


# --- Reading ------------------------------------------------------------------------------------


@contextmanager
def named(uploads: Iterable[Upload], folder: Path) -> Iterator[list[Path]]:
    """Yield the files under the names that their owner gave them, as links in the folder."""
    paths = []
    for place, upload in enumerate(uploads):
        path = folder / str(place) / upload.name
        path.parent.mkdir()
        path.symlink_to(stored.fetch(upload.path))
        paths.append(path)
    yield paths
