"""Files that rows refer to: in the data folder, and in a bucket where hosts share no disk.

A file is known by its path in the data folder. With S3_BUCKET the bucket holds it under the same
name: who makes a file uploads it before a row says that it is there, and who needs one fetches it into
a data folder of its own, once, verified by its sha256.
"""

import errno
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q

from evaluation.imagesets.atomic import flush_folder, replacing, sha256_of

FOLDERS = (
    "answers",
    "datasets",
    "extractors",
    "intake",
    "logs",
    "pipelines",
    "runs",
    "samples",
    "submissions",
    "uploads",
    "viewings",
)  # of the data folder, all files are in them


class DamagedError(RuntimeError):
    """A file is missing or is not the one that was kept."""


class BucketError(OSError):
    """The bucket does not answer, or refuses; `strerror` says what and why."""


class StoredFile(models.Model):
    """A file that was kept, under its path in the data folder."""

    class Kind(models.TextChoices):
        DATASET = "dataset"
        EXTRACTOR = "extractor"
        CHECKPOINT = "checkpoint"
        SAMPLES = "samples"
        SUBMISSION = "submission"  # handed in; needed until a worker has read it
        PICTURE = "picture"
        UPLOAD = "upload"  # whole; needed until a worker has read it

    path = models.CharField(max_length=500, unique=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="who submitted what made it",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "catalog"
        ordering: ClassVar = ["path"]

    def __str__(self) -> str:
        return self.path


@contextmanager
def asking() -> Iterator[None]:
    """Turn what a store's library raises into a BucketError; files that are not there stay so."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        text = f"bucket {settings.S3_BUCKET}: {error}"
        raise BucketError(errno.EREMOTEIO, text) from error


def bucket() -> Storage | None:
    """Return where files are kept besides the data folder, None for nowhere."""
    return storages["files"] if "files" in settings.STORAGES else None


def keep(path: Path, kind: str, *, owner: Any = None) -> None:
    """Upload a file, or every file of a folder, if there is a bucket; write the rows of them.

    Raises:
        BucketError: if the bucket does not take it.
    """
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        facts = {"kind": kind, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
        put(file)
        StoredFile.objects.update_or_create(path=name_of(file), defaults={**facts, "owner": owner})


def put(path: Path) -> None:
    """Upload a file as it is now, if there is a bucket, without a row: it may go on growing.

    Raises:
        BucketError: if the bucket does not take it.
    """
    if shared := bucket():
        with path.open("rb") as content, asking():
            shared.save(name_of(path), File(content))


def fetch(path: Path) -> Path:
    """Return the path; what is not there is fetched from the bucket, a folder whole or not at all.

    Raises:
        DamagedError: if the bucket has another file than was kept.
        FileNotFoundError: if it has lost it.
        BucketError: if it does not answer.
    """
    shared = bucket()
    if shared is None or path.exists():
        return path
    temporary = Path(settings.DATA_DIR) / f".fetching-{uuid.uuid4().hex}"
    try:
        for row in rows(path):
            _download(shared, row, temporary / row.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if (fetched := temporary / name_of(path)).exists() and not path.exists():
            fetched.rename(path)
            flush_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def digest_of(path: Path, expected: str) -> str:
    """Return a file's sha256; a damaged copy of what a bucket has is fetched anew before.

    Raises:
        DamagedError: if the bucket has another file than was kept.
        FileNotFoundError: if there is none.
        BucketError: if the bucket does not answer.
    """
    found = sha256_of(fetch(path))
    if found != expected and bucket() and rows(path).exists():
        path.unlink()
        found = sha256_of(fetch(path))
    return found


def forget(path: Path) -> None:
    """Delete a file, or every file of a folder, from the bucket; delete the rows of them."""
    for row in rows(path):
        if shared := bucket():
            with asking():
                shared.delete(row.path)
        row.delete()


def is_kept(path: Path) -> bool:
    """Return whether the file, or a file of the folder, can be had."""
    return path.exists() or (bucket() is not None and rows(path).exists())


def rows(path: Path) -> models.QuerySet[StoredFile]:
    """Return the rows of a file, or of every file of a folder."""
    name = name_of(path)
    return StoredFile.objects.filter(Q(path=name) | Q(path__startswith=f"{name}/"))


def opened(path: Path) -> IO[bytes]:
    """Return what is kept of a file, for reading: the bucket's if there is one."""
    if shared := bucket():
        with asking():
            return shared.open(name_of(path))
    return path.open("rb")


def names(folders: Iterable[str] = FOLDERS) -> Iterator[str]:
    """Return the names of all files that are kept in folders, with rows and without."""
    shared = bucket()
    for folder in folders:  # others may keep their own beside ours
        if shared:
            with asking():
                yield from _listed(shared, folder)
        else:
            found = (Path(settings.DATA_DIR) / folder).rglob("*")
            yield from (name_of(path) for path in found if path.is_file())


def size_and_age(name: str) -> tuple[int, float]:
    """Return a kept file's bytes, and seconds since it was written.

    Raises:
        FileNotFoundError: if it is gone.
    """
    if shared := bucket():
        with asking():
            size, written = shared.size(name), shared.get_modified_time(name)
    else:
        status = (Path(settings.DATA_DIR) / name).stat()
        size, written = status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)
    return size, (datetime.now(UTC) - written).total_seconds()


def remove(name: str) -> None:
    """Delete a kept file, its row, and its folder here with the last file."""
    path = Path(settings.DATA_DIR) / name
    if shared := bucket():
        with asking():
            shared.delete(name)
    path.unlink(missing_ok=True)
    StoredFile.objects.filter(path=name).delete()
    if len(Path(name).parts) > 2 and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def name_of(path: Path) -> str:
    """Return the name of a file of the data folder."""
    return path.relative_to(settings.DATA_DIR).as_posix()


def _download(shared: Storage, row: StoredFile, path: Path) -> None:
    with asking(), shared.open(row.path) as content, replacing(path) as file:
        shutil.copyfileobj(content, file, 2**20)
    if (found := sha256_of(path)) != row.sha256:
        raise DamagedError(f"{row.path}: the bucket's has sha256 {found}, {row.sha256} was kept")


def _listed(shared: Storage, folder: str) -> Iterator[str]:
    folders, files = shared.listdir(folder)
    yield from (f"{folder}/{name}" for name in files)
    for inner in folders:
        yield from _listed(shared, f"{folder}/{inner}")
