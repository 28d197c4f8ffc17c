"""A pipeline of the Hugging Face hub, at one revision for ever: found here, or downloaded."""

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.pinned import check_pinned, local_folder
from generators.specs.pipelines.reading import READ, is_folder

# AttributeError: what huggingface_hub raises where several downloads lose the network at once
HUB_ERRORS = (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError, AttributeError)
OnBytes = Callable[[int, int], None]  # bytes that are here, of so many
WANTED = [*(f"*{suffix}" for suffix in READ), "README.md"]  # no pickles, no code


def find_pipeline(
    source: str,
    revision: str | None,
    *,
    storage: Path | None = None,
    download: bool = True,
    most_bytes: int | None = None,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Return the folder of a hub's pipeline: in the storage, the hub's cache, or downloaded.

    Args:
        source: the hub id, `owner/name`.
        revision: a commit, 40 hex digits.
        storage: a folder with pipelines that somebody put there; None = the cache alone.
        download: False looks here and nowhere else.
        most_bytes: that its files may have to be downloaded; None = any.
        on_bytes: told how much is here while it is downloaded; what it raises ends the download.

    Raises:
        PipelineError: if it is not pinned, not what was asked for, or cannot be had, as it is too
            large for the limit or the disk; says what is missing, and where to put it.
    """
    check_pinned(source, revision)
    assert revision is not None, "it is pinned"
    put = local_folder(source, revision, storage or Path("pipelines"))
    if storage is not None and put.is_dir():
        return put
    try:
        if download and not constants.is_offline_mode():
            _check_room(source, revision, most_bytes)
        found = _snapshot(source, revision, download, on_bytes)
    except PipelineError:
        raise
    except HUB_ERRORS as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise PipelineError(
                f"{source}: the disk is full; what came of it stays here"
            ) from error
        raise PipelineError(_missing(source, revision, storage and put, error)) from error
    if found.name != revision or not is_folder(found):
        raise PipelineError(f"{source}: expected revision {revision}, the hub gave another")
    return found


def _snapshot(source: str, revision: str, download: bool, on_bytes: OnBytes | None) -> Path:
    """Return the snapshot of the hub's cache, filled where it is not whole."""
    return Path(
        snapshot_download(
            source,
            revision=revision,
            allow_patterns=WANTED,
            local_files_only=not download or constants.is_offline_mode(),
            tqdm_class=None if on_bytes is None else _telling(on_bytes),
        )
    )


def _check_room(source: str, revision: str, most_bytes: int | None) -> None:
    """Refuse a pipeline whose files are too large, or larger than what the disk has left.

    Raises:
        PipelineError: saying how large they are, and what there is.
    """
    try:
        rows: Any = snapshot_download(
            source, revision=revision, allow_patterns=WANTED, dry_run=True
        )
    except HUB_ERRORS:  # nobody answers: what is here is enough, or the download says why
        return
    size = sum(row.file_size or 0 for row in rows)
    coming = sum(row.file_size or 0 for row in rows if row.will_download)
    if most_bytes is not None and coming and size > most_bytes:
        raise PipelineError(
            f"{source}: expected at most {most_bytes:,} bytes to download, its files have {size:,}"
        )
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free
    if coming > free:
        raise PipelineError(
            f"{source}: expected {coming:,} bytes of free disk for its files, there are {free:,}"
        )


def _telling(on_bytes: OnBytes) -> type[Any]:
    """Return what takes the place of a bar of progress: it tells how many bytes are here.

    The hub's client has two bars of bytes, of what came and of what is written; the longer counts.
    """
    lock, here = threading.Lock(), {"bytes": 0}

    class Told(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            self.is_of_bytes, self.came = options.get("unit") == "B", options.get("initial") or 0
            super().__init__(*arguments, **{**options, "disable": True})
            self.total = options.get("total")

        def update(self, n: float | None = 1) -> None:
            if not self.is_of_bytes:
                return
            with lock:
                self.came += int(n or 0)
                here["bytes"] = max(here["bytes"], self.came)
            on_bytes(here["bytes"], int(self.total or 0))

    return Told


def _missing(source: str, revision: str, put: Path | None, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    if "local_files_only" in reason:  # what the hub's client advises is not for whoever reads it
        reason = "it is not in the hub's cache, and nothing is downloaded here"
    place = f"put its files into {put}" if put else "give the path of a folder with its files"
    return (
        f"{source} at {revision}: neither here nor to be had from the hub ({reason}); {place}: "
        "model_index.json, and each component's folder with safetensors"
    )
