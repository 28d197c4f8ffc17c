"""Checkpoints: a folder with tensors (safetensors) and a manifest (JSON) that vouches for them.

A checkpoint is written under a temporary name, flushed to the disk and renamed into place, so that
one with its final name is whole. Reading verifies every hash first and never runs code.
"""

import json
import math
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evaluation.imagesets.atomic import move_folder, sha256_of, temporary_folder

FORMAT = 2  # raised when the manifest changes its meaning
WEIGHTS = "weights.safetensors"
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 4 * 2**20  # bytes
STALE_SECONDS = 3600  # after which a temporary folder is nobody's

_NAME = re.compile(r"ckpt-(\d{1,15})")


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or not what it should be."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint on disk."""

    path: Path  # its folder
    images_seen: int
    sha256: str  # of the manifest, which holds the hash of the tensors
    bytes: int
    device_seconds: float


def save_checkpoint(
    directory: Path,
    tensors: Mapping[str, Tensor],
    manifest: Mapping[str, Any],
    *,
    images_seen: int,
    device_seconds: float,
) -> SavedCheckpoint:
    """Write a checkpoint to `directory/ckpt-<images_seen>`, unless a good one is there.

    1. Write the tensors into a temporary folder.
    2. Write the manifest with the tensors' hash.
    3. Flush both to the disk, rename the folder, and flush its parent.
    """
    path = checkpoint_path(directory, images_seen)
    with temporary_folder(path) as temporary:
        _write_weights(temporary / WEIGHTS, tensors)
        record = {
            **manifest,
            "format": FORMAT,
            "images_seen": images_seen,
            "device_seconds": device_seconds,
            "files": {WEIGHTS: sha256_of(temporary / WEIGHTS)},
        }
        _write_manifest(temporary / MANIFEST, record)
        _put_in_place(temporary, path)
    return describe_checkpoint(path)


def checkpoint_path(directory: Path, images_seen: int) -> Path:
    """Return the folder of the checkpoint after this many images."""
    return directory / f"ckpt-{images_seen}"


def describe_checkpoint(path: Path) -> SavedCheckpoint:
    """Return what is known of a checkpoint without reading its tensors."""
    manifest = read_manifest(path)
    return SavedCheckpoint(
        path=path,
        images_seen=manifest["images_seen"],
        sha256=sha256_of(path / MANIFEST),
        bytes=sum(file.stat().st_size for file in path.iterdir()),
        device_seconds=manifest["device_seconds"],
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint.

    Raises:
        CheckpointError: if it is missing, too large, not JSON, or of another format.
    """
    file = path / MANIFEST
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise CheckpointError(f"{file}: larger than {LARGEST_MANIFEST} bytes")
        manifest = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file}: cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{file}: expected a manifest of format {FORMAT}")
    _check_manifest(file, manifest)
    return manifest


def load_checkpoint(
    path: Path, *, sha256: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the manifest and the tensors of a checkpoint, on the CPU, after checking the hashes.

    Args:
        path: the checkpoint's folder.
        sha256: hash of the manifest, as `SavedCheckpoint` has it; None trusts the manifest.

    Raises:
        CheckpointError: if anything is missing, damaged or of another format.
    """
    manifest = read_manifest(path)
    if sha256 is not None and sha256_of(path / MANIFEST) != sha256:
        raise CheckpointError(f"{path / MANIFEST}: its sha256 is not {sha256}")
    weights = path / WEIGHTS
    expected = manifest["files"][WEIGHTS]
    try:
        if sha256_of(weights) != expected:
            raise CheckpointError(f"{weights}: damaged, its sha256 is not {expected}")
        return manifest, load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights}: cannot be read ({error})") from error


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoint folders under a directory, newest (most images seen) first."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=_images_seen, reverse=True)


def prune_checkpoints(directory: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what interrupted writes left behind.

    Checkpoints whose manifest says `kept` stay.
    """
    for path in list_checkpoints(directory)[keep:]:
        if not _is_kept(path):
            shutil.rmtree(path, ignore_errors=True)
    for pattern in (".ckpt-*.tmp", ".tmp-*"):  # the second: of older versions
        for path in filter(_is_stale, directory.glob(pattern)):
            shutil.rmtree(path, ignore_errors=True)


def _check_manifest(file: Path, manifest: dict[str, Any]) -> None:
    expected: dict[str, type | tuple[type, ...]] = {
        "images_seen": int,
        "device_seconds": (int, float),
        "algorithm": str,
        "config": dict,
        "shape": list,
        "num_classes": int,
        "files": dict,
    }
    for name, kind in expected.items():
        if not isinstance(manifest.get(name), kind):
            raise CheckpointError(f"{file}: {name!r} is missing or has the wrong type")
    if manifest["images_seen"] < 0 or not 0 <= manifest["device_seconds"] < math.inf:
        raise CheckpointError(f"{file}: expected counts from 0")
    if not isinstance(manifest["files"].get(WEIGHTS), str):
        raise CheckpointError(f"{file}: 'files' has no hash of {WEIGHTS}")


def _images_seen(path: Path) -> int:
    return int(path.name.removeprefix("ckpt-"))


def _write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # safetensors refuses channels_last strides and tensors that share memory
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path)


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True), "utf-8")


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename a new checkpoint, unless a good one is there already: it holds the same bits."""
    if path.exists():
        try:
            load_checkpoint(path)
        except CheckpointError:
            shutil.rmtree(path)
        else:
            return
    move_folder(temporary, path)


def _is_kept(path: Path) -> bool:
    try:
        return bool(read_manifest(path).get("kept"))
    except CheckpointError:
        return False


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except OSError:
        return False
