"""What safetensors files say of themselves: names, shapes and types, never the numbers (torch-free).

The format: 8 bytes with the header's length, a JSON header, and the numbers one after the other.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generators.specs.pipelines.card import PipelineError

LARGEST_HEADER = 32 * 2**20  # bytes
LARGEST_JSON = 4 * 2**20
STEMS = ("diffusion_pytorch_model", "model")  # as diffusers and as transformers name weights


@dataclass(frozen=True)
class Weights:
    """What a component's weights are."""

    parameters: int
    dtypes: tuple[str, ...]
    variant: str | None  # None = the plain file names


def read_json(path: Path) -> dict[str, object]:
    """Return an object from a JSON file.

    Raises:
        PipelineError: if it is none, or too large.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise PipelineError(f"{path.name}: expected at most {LARGEST_JSON:,} bytes")
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, PipelineError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise PipelineError(f"{path.name}: cannot be read ({reason})") from error
    if not isinstance(found, dict):
        raise PipelineError(f"{path.name}: expected an object, got {type(found).__name__}")
    return found


def read_weights(folder: Path) -> Weights:
    """Return what the safetensors files of a component's folder hold, the plain ones first.

    Raises:
        PipelineError: if there are none, one is missing, or one is damaged.
    """
    variants = _variants(folder)
    if not variants:
        raise PipelineError("expected its weights as safetensors, found none")
    variant = min(variants, key=lambda name: (name is not None, name or ""))
    headers = [_header(folder / name) for name in variants[variant]]
    entries = [entry for header in headers for entry in header]
    dtypes = tuple(sorted({dtype for dtype, _ in entries}))
    return Weights(sum(math.prod(shape) for _, shape in entries), dtypes, variant)


def _variants(folder: Path) -> dict[str | None, list[str]]:
    """Return the files of weights, by variant: one, or the shards that an index names."""
    found: dict[str | None, list[str]] = {}
    for stem in STEMS:
        for path in sorted(folder.glob(f"{stem}*.safetensors")):
            middle = path.name.removeprefix(stem).removesuffix(".safetensors").strip(".")
            if not path.name.startswith(f"{stem}-") and "-of-" not in middle:
                found[middle or None] = [path.name]
        for path in sorted(folder.glob(f"{stem}.safetensors.index*.json")):
            middle = path.name.removeprefix(f"{stem}.safetensors.index").removesuffix("json")
            found[middle.strip(".") or None] = _shards(path)
    return found


def _shards(index: Path) -> list[str]:
    places = read_json(index).get("weight_map")
    names = set(places.values()) if isinstance(places, Mapping) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise PipelineError(f"{index.name}: expected a weight_map of file names")
    return sorted(names)


def _header(path: Path) -> list[tuple[str, list[int]]]:
    """Return type and shape of each tensor.

    Raises:
        PipelineError: if the file is missing, or is not as long as it says.
    """
    if not path.is_file():
        raise PipelineError(f"{path.name}: expected this file of weights, it is missing")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= min(LARGEST_HEADER, size) else b""
    try:
        tensors = [entry for name, entry in json.loads(text).items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        entries = [
            (str(entry["dtype"]), [int(side) for side in entry["shape"]]) for entry in tensors
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise PipelineError(f"{path.name}: expected safetensors, its header is damaged") from error
    if 8 + length + end != size:
        raise PipelineError(f"{path.name}: expected {8 + length + end:,} bytes, found {size:,}")
    return entries
