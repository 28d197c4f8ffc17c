"""Writing a site into one file and putting it back."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import User
from catalog import stored
from catalog.models import Dataset
from evaluation.imagesets.atomic import replacing
from experiments.models import Experiment
from jobs.models import Worker
from operations import backup_file, databases, holdings
from operations.backup_file import ArchiveError, Manifest


class OccupiedError(RuntimeError):
    """A site that a restore would replace, or that is at work."""


def write(path: Path) -> Manifest:
    """Write a backup and return what it holds; `path` appears when it is whole.

    1. Copy the database, and list in the same moment what its rows refer to; a bucket keeps its
       files itself, but pipelines are in no bucket.
    2. Add each file with its sha256. Files are written once, so they can be read afterwards; what
       was deleted in between is left out, and named if it is needed.
    3. Add the manifest, flush, rename.

    Raises:
        FileExistsError: if the file is there already.
        ArchiveError: if a row refers to a file outside the data folder.
        DatabaseCopyError: if the database cannot be copied.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    manifest = Manifest(connection.vendor, settings.VERSION, timezone.now().isoformat())
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        dump = Path(folder) / backup_file.DATABASE
        with databases.snapshot(dump):
            found = list(held())
        with replacing(path) as file:
            os.fchmod(file.fileno(), 0o600)  # hashes of passwords are in it
            with tarfile.open(fileobj=file, mode="w") as archive, dump.open("rb") as database:
                manifest.files[backup_file.DATABASE] = backup_file.add(
                    archive, backup_file.DATABASE, database
                )
                for holding in found:
                    _add(archive, holding, manifest)
                backup_file.add_manifest(archive, manifest)
    return manifest


def held() -> Iterator[holdings.Holding]:
    """Return what a backup takes besides the database: with a bucket, only what is not in it."""
    return holdings.pipelines_here() if stored.bucket() else holdings.find()


def _add(archive: tarfile.TarFile, holding: holdings.Holding, manifest: Manifest) -> None:
    """Add files that belong together, or none: all are open before the first is read."""
    names = [_name(path) for path in holding.files]
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(path.open("rb")) for path in holding.files]
        except (FileNotFoundError, IsADirectoryError):
            files = []
        size = sum(os.fstat(file.fileno()).st_size for file in files)
        if not files or holding.size_bytes not in {None, size}:
            manifest.missing.extend(names if holding.needed else [])
            return
        for name, file in zip(names, files, strict=True):
            if name not in manifest.files:  # protocols share an extractor's weights
                manifest.files[name] = backup_file.add(archive, name, file)


def _name(path: Path) -> str:
    """Return the name that a file of the data folder has in an archive."""
    if not path.is_relative_to(settings.DATA_DIR):
        raise ArchiveError(f"a row refers to {path}, which is not in {settings.DATA_DIR}")
    relative = path.relative_to(settings.DATA_DIR)
    return f"{backup_file.DATA}/{relative.as_posix()}"


def restore(path: Path, *, force: bool) -> Manifest:
    """Put a backup in place of the site and return what it held; on any error nothing changes.

    1. Unpack into a folder of our own beside the data, and verify every file.
    2. Exchange the folders of data by renames, then load the database in one transaction: rows
       never refer to files that are not there yet. An error takes all of it back.

    Raises:
        ArchiveError: if the file is no whole backup, damaged, or of another kind of database.
        OccupiedError: if a worker is at work, or, without `force`, if there is something already.
        DatabaseCopyError: if the database cannot be loaded.
    """
    check_vacant(force=force)
    with TemporaryDirectory(dir=settings.DATA_DIR, prefix=".restore-") as folder:
        manifest = backup_file.unpack(path, Path(folder))
        if manifest.database != connection.vendor:
            raise ArchiveError(
                f"expected a backup of {connection.vendor}, got one of {manifest.database}"
            )
        with ExitStack() as undo:
            _exchange(Path(folder), undo)
            databases.load(Path(folder) / backup_file.DATABASE)
            undo.pop_all()
    return manifest


def check_vacant(*, force: bool) -> None:
    """See that a restore replaces nothing, or what it may.

    Raises:
        OccupiedError: if it does not; it says what is there.
    """
    is_new = databases.is_empty()
    if not is_new and any(worker.is_alive for worker in Worker.objects.all()):
        raise OccupiedError("a worker is at work here; stop all workers and the site first")
    if force:
        return
    rows = [] if is_new else [m for m in (User, Dataset, Experiment) if m._default_manager.exists()]
    if rows:
        raise OccupiedError(f"the database has {rows[0]._meta.verbose_name_plural} already")
    for name in stored.FOLDERS:
        folder = Path(settings.DATA_DIR) / name
        if folder.exists() and any(folder.iterdir()):
            raise OccupiedError(f"{folder} has files already")


def _exchange(unpacked: Path, undo: ExitStack) -> None:
    """Rename folders of data away and the unpacked ones into place; `undo` puts them back."""
    old = unpacked / "old"
    old.mkdir()
    for name in stored.FOLDERS:
        current, new = Path(settings.DATA_DIR) / name, unpacked / backup_file.DATA / name
        if current.exists():
            current.rename(old / name)
            undo.callback((old / name).rename, current)
        if new.exists():
            new.rename(current)
            undo.callback(shutil.rmtree, current)
