"""Keeps named tensors in one file that is there whole or not at all, and is checked when read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from evaluation.imagesets.atomic import replacing_path

Tensors = Mapping[str, Tensor]


class DamagedFile(ValueError):
    """A file of tensors is not what was written; the message says in which way."""


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, str] | None = None) -> None:
    """Write tensors and facts, whole or not at all; folders on the way are made.

    Raises what writing files raises.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = dict(facts or {})
    with replacing_path(path) as part:
        save_file(tensors, part, metadata={**facts, "sha256": _sha256(tensors, facts)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the facts that were written.

    Raises:
        DamagedFile: if the file is damaged or its sha256 is not that of its content.
        FileNotFoundError: if there is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = dict(file.metadata() or {})
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError) as error:
        raise DamagedFile(str(error)) from error
    if facts.pop("sha256", None) != _sha256(tensors, facts):
        raise DamagedFile("wrong sha256")
    return tensors, facts


def read_facts(path: Path) -> dict[str, str]:
    """Return the facts alone, without reading or checking the tensors.

    Raises:
        DamagedFile: if the file is damaged.
        FileNotFoundError: if there is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError) as error:
        raise DamagedFile(str(error)) from error


def _sha256(tensors: Tensors, facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(facts.items()):
        digest.update(f"{len(name)} {name} {len(text)} {text};".encode())
    for name, tensor in sorted(tensors.items()):
        array = np.ascontiguousarray(tensor.numpy())
        digest.update(f"{len(name)} {name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.data)
    return digest.hexdigest()
