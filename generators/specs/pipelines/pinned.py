"""Pipelines by name: of the hub at one revision for ever, or of a storage's folder (torch-free)."""

import re
from pathlib import Path

from generators.specs.pipelines.card import PipelineError

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
REVISION = re.compile(r"[0-9a-f]{40}")


def check_pinned(source: str, revision: str | None) -> None:
    """Raise PipelineError unless this is a hub id and a revision that cannot move."""
    if not NAME.fullmatch(source):
        raise PipelineError(f"expected a hub id such as owner/name, got {source!r}"[:300])
    if revision is None or not REVISION.fullmatch(revision):
        raise PipelineError(
            f"{source}: expected a revision of 40 hex digits, since branches and tags move; "
            f"got {revision!r}"[:300]
        )


def local_folder(source: str, revision: str, storage: Path) -> Path:
    """Return where a hub's pipeline is looked for first: `owner--name/revision` of a storage."""
    return storage / source.replace("/", "--") / revision


def folder_within(storage: Path, name: str) -> Path:
    """Return a folder of a storage by its name, such as `tiny` or `ours/ddpm`, there or not.

    Raises:
        PipelineError: if the name leads out of the storage, by `..`, as a whole path or by a link.
    """
    parts = name.split("/")
    if not all(re.fullmatch(r"[\w.-]{1,200}", part) and part.strip(".") for part in parts):
        raise PipelineError(f"expected the name of a folder of the storage, got {name!r}"[:300])
    folder = storage.joinpath(*parts)
    if folder.resolve() != storage.resolve().joinpath(*parts):
        raise PipelineError(f"{name}: expected a folder of the storage, got a link")
    return folder
