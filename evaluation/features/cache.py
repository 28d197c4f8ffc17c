"""Keeps features and other tensors that took long to compute, by what they were computed from.

An entry cannot be stale: its name is the sha256 of everything that it depends on. It cannot be half
written, for it appears by renaming, and a damaged one is computed anew. Several processes may use
one folder at once. What was not used for the longest time goes first when the folder is full.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from evaluation.features.base import ExtractionStopped, Extractor, FeatureSet, extract
from evaluation.features.tensorfiles import DamagedFile, read_tensors, write_tensors
from evaluation.imagesets.opening import open_images
from evaluation.imagesets.stream import ImageStream, Indices, set_digest

logger = logging.getLogger(__name__)

KINDS = ("features", "tensors")  # of entries; no other file in the folder is ever deleted
DAY = 86_400  # seconds, after which a file half written by a killed process is deleted


@dataclass(frozen=True)
class FeatureCache:
    """A folder of computed tensors.

    folder: None = nothing is kept.
    max_bytes: of all entries together; None = no limit. What was written last stays, whatever its
        size.
    """

    folder: Path | None
    max_bytes: int | None = None

    def features(
        self,
        extractor: Extractor,
        images: ImageStream | np.ndarray,
        *,
        indices: Indices | None = None,  # which images, ascending; None = all
        rule: str = "",  # what else the features depend on, in words
        batch_size: int | None = None,  # None = the extractor's own
        on_progress: Callable[[float], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> FeatureSet:
        """Return features and logits of the images, as `extract` does.

        They are known by the digests of exactly these images, in their order, with the name, layer,
        weights and package of the extractor and the rule. An iterator that was not read before is not
        looked up: its images cannot be known beforehand. ``on_progress`` receives the done share.

        Raises:
            ExtractionStopped: if ``should_stop()`` turned true.
            ImageError: if the images cannot be read.
        """

        def keep_going() -> None:
            if should_stop():
                raise ExtractionStopped

        stream = open_images(images) if isinstance(images, np.ndarray) else images

        def make() -> dict[str, Tensor]:
            found = extract(
                extractor,
                stream.chunks(indices),
                count=stream.count if indices is None else len(indices),
                batch_size=batch_size,
                on_progress=on_progress,
                should_stop=should_stop,
            )
            return _tensors_of(found)

        if self.folder is None or not stream.is_repeatable:
            return _features_of(make())
        digests = stream.digests(keep_going)
        chosen = digests if indices is None else [digests[index] for index in indices]
        key = "\n".join([set_digest(chosen), *extractor.identity, rule])
        found = _features_of(self._kept("features", key, make))
        on_progress(1.0)
        return found

    def tensors(self, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what ``make`` returns, from the folder if it was made under ``key`` before.

        key: everything that the tensors depend on, of any length.
        """
        return make() if self.folder is None else self._kept("tensors", key, make)

    def _kept(
        self, kind: str, key: str, make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        assert self.folder is not None, "without a folder nothing is kept"
        name = hashlib.sha256(f"{kind}\n{key}".encode()).hexdigest()
        path = self.folder / f"{kind}-{name[:32]}.safetensors"
        found = _read(path, key)
        if found is None:
            found = make()
            self._write(path, key, found)
        return found

    def _write(self, path: Path, key: str, tensors: dict[str, Tensor]) -> None:
        try:
            write_tensors(path, tensors, {"key": key})
        except OSError as error:  # what was computed is worth more than its copy
            logger.warning("not kept: %s: %s", path, error)
        self._trim(path)

    def _trim(self, written: Path) -> None:
        """Delete what was used least recently until the limit holds, and what was left behind."""
        entries = _entries(written.parent)
        total = sum(entry.size for entry in entries)
        for entry in sorted(entries, key=lambda entry: entry.used):
            if self.max_bytes is not None and total > self.max_bytes and entry.path != written:
                entry.path.unlink(missing_ok=True)
                total -= entry.size
        _sweep(written.parent)


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int  # bytes
    used: float  # seconds since 1970


def _entries(folder: Path) -> list[_Entry]:
    entries = []
    for kind in KINDS:
        for path in folder.glob(f"{kind}-*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process was first
                continue
            entries.append(_Entry(path, status.st_size, status.st_mtime))
    return entries


def _sweep(folder: Path) -> None:
    for kind in KINDS:
        for path in folder.glob(f".{kind}-*.safetensors[-.]*"):
            try:
                if path.stat().st_mtime < time.time() - DAY:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:  # another process was first
                continue


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """Return the tensors of an entry and note that it was used; None if it is not there whole."""
    try:
        tensors, facts = read_tensors(path)
        if facts.get("key") != key:
            raise DamagedFile("another key")
        path.touch(exist_ok=True)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        logger.warning("computing again: %s is damaged: %s", path, error)
        return None
    return tensors


def _tensors_of(found: FeatureSet) -> dict[str, Tensor]:
    logits = {} if found.logits is None else {"logits": found.logits}
    return {"features": found.features, **logits}


def _features_of(tensors: dict[str, Tensor]) -> FeatureSet:
    return FeatureSet(features=tensors["features"], logits=tensors.get("logits"))
