"""Bundles: what a run on the site was made of, in one JSON file, and what differs here (torch-free)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generators.specs.versions import UNKNOWN

FORMAT = 1  # raised when a bundle's fields change their meaning
LARGEST_BUNDLE = 16 * 2**20  # bytes
VERSIONS = ("python", "torch", "diffusers", "numpy", "trilemma")  # a number may depend on these


@dataclass(frozen=True)
class Bundle:
    """A run as its bundle tells it.

    budget: {"images": N} or {"device_seconds": S}. dataset: slug, digest, train_digest, resolution
    and channels. environment: versions, threads and device of the worker. samples: of each set its
    sampler, count, first_seed, shares of the classes (None = in turn) and sha256 ("" = not drawn).
    """

    algorithm: str
    config: Mapping[str, Any]
    seed: int
    budget: Mapping[str, Any]
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]


def read_bundle(path: Path) -> Bundle:
    """Return what a bundle's file says.

    Raises:
        ValueError: if it is too large, no JSON, of another format, or lacks something.
        OSError: if it cannot be read.
    """
    if path.stat().st_size > LARGEST_BUNDLE:
        raise ValueError(f"{path}: expected a bundle of at most {LARGEST_BUNDLE:,} bytes")
    try:
        record = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a bundle, JSON of a run's page ({error})") from error
    found = record.get("trilemma_bundle") if isinstance(record, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: expected a bundle of format {FORMAT}, got {found!r}")
    if missing := [name for name in Bundle.__annotations__ if name not in record]:
        raise ValueError(f"{path}: a bundle without {', '.join(missing)}")
    told = {name: record[name] for name in Bundle.__annotations__}
    return Bundle(**{**told, "samples": tuple(record["samples"])})


def differences(environment: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what is not here as it was there, a line each: "torch: 2.9 here, 2.8 in the bundle"."""
    names = [name for name in (*VERSIONS, "threads", "device") if environment.get(name) is not None]
    if UNKNOWN not in (environment.get("commit", UNKNOWN), here.get("commit", UNKNOWN)):
        names.append("commit")  # where one is not known, nothing is known to differ
    return [
        f"{name}: {here.get(name)} here, {environment[name]} in the bundle"
        for name in names
        if here.get(name) != environment[name]
    ]
