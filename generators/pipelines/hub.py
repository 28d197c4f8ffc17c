"""A pipeline of the Hugging Face hub, at one revision for ever: found here, or downloaded."""

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.pinned import check_pinned, local_folder
from generators.specs.pipelines.reading import READ, is_folder

# AttributeError: what huggingface_hub raises where several downloads lose the network at once
HUB_ERRORS = (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError, AttributeError)
WANTED = [*(f"*{suffix}" for suffix in READ), "README.md"]  # no pickles, no code


def find_pipeline(
    source: str, revision: str | None, *, storage: Path | None = None, download: bool = True
) -> Path:
    """Return the folder of a hub's pipeline: in the storage, the hub's cache, or downloaded.

    Args:
        source: the hub id, `owner/name`.
        revision: a commit, 40 hex digits.
        storage: a folder with pipelines that somebody put there; None = the cache alone.
        download: False looks here and nowhere else.

    Raises:
        PipelineError: if it is not pinned, not what was asked for, or cannot be had; says what is
            missing, and where to put it.
    """
    check_pinned(source, revision)
    assert revision is not None, "it is pinned"
    put = local_folder(source, revision, storage or Path("pipelines"))
    if storage is not None and put.is_dir():
        return put
    try:
        found = _snapshot(source, revision, download)
    except HUB_ERRORS as error:
        raise PipelineError(_missing(source, revision, storage and put, error)) from error
    if found.name != revision or not is_folder(found):
        raise PipelineError(f"{source}: expected revision {revision}, the hub gave another")
    return found


def _snapshot(source: str, revision: str, download: bool) -> Path:
    """Return the snapshot of the hub's cache, filled where it is not whole."""
    return Path(
        snapshot_download(
            source,
            revision=revision,
            allow_patterns=WANTED,
            local_files_only=not download or constants.is_offline_mode(),
        )
    )


def _missing(source: str, revision: str, put: Path | None, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    place = f"put its files into {put}" if put else "give the path of a folder with its files"
    return (
        f"{source} at {revision}: neither here nor to be had from the hub ({reason}); {place}: "
        "model_index.json, and each component's folder with safetensors"
    )
