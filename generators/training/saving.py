"""When a training's checkpoints are saved, and which of them it goes on from."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from generators.specs.options import to_dict
from generators.specs.registry import get_spec
from generators.training.checkpoints import (
    CheckpointError,
    SavedCheckpoint,
    checkpoint_path,
    describe_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from generators.training.clock import Timer
from generators.training.steps import Training

logger = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
TEAM_STEPS = 10  # between two votes (to stop, to save) where several processes must agree


class CheckpointSaver:
    """Saves a training's checkpoints, and finds the one to go on from."""

    def __init__(
        self,
        directory: Path,
        identity: dict[str, Any],  # what must be equal for a checkpoint to belong to a training
        *,
        remarks: dict[str, Any],
        numerics: dict[str, Any],  # what must be equal for a resume to be exact
        every_seconds: float,
        every_images: float,
        at: Collection[int],
    ) -> None:
        self.newest: SavedCheckpoint | None = None
        self.resumed = "none"
        self._directory = directory
        self._identity = identity
        self._remarks = remarks
        self._numerics = numerics
        self._at = at
        self._timer = Timer(every_seconds)
        self._every_images = every_images

    def due(self, training: Training) -> bool:
        """Return whether it is time to save."""
        saved = self.newest.images_seen if self.newest else 0
        crossed = training.images_seen // self._every_images > saved // self._every_images
        stated = any(saved < wanted <= training.images_seen for wanted in self._at)
        return self._timed(training) or crossed or stated

    def _timed(self, training: Training) -> bool:
        """Return whether the interval has passed; of several processes' clocks any may say so."""
        if training.team.size == 1:
            return self._timer.due()
        asked = training.steps % TEAM_STEPS == 0
        return asked and training.team.any(self._timer.due(), training.device)

    def save(self, training: Training) -> SavedCheckpoint:
        """Save the training as it is, and delete what is older than the last but one.

        Of several processes, which all come here at the same step, the first one writes.

        Raises:
            Diverged: if a loss or a weight is not finite.
        """
        training.check_finite()
        if training.team.rank == 0:
            self.newest = self._write(training)
        training.team.wait()
        if training.team.rank != 0:
            self.newest = describe_checkpoint(
                checkpoint_path(self._directory, training.images_seen)
            )
        assert self.newest is not None, "the first process wrote it"
        return self.newest

    def _write(self, training: Training) -> SavedCheckpoint:
        before = self.newest.images_seen if self.newest else -1
        record = {**self._remarks, **self._identity, "numerics": self._numerics}
        record["resume"] = self.resumed
        record["kept"] = any(before < wanted <= training.images_seen for wanted in self._at)
        saved = save_checkpoint(
            self._directory,
            training.tensors(),
            {**record, **training.place()},
            images_seen=training.images_seen,
            device_seconds=training.clock.seconds(),
        )
        prune_checkpoints(self._directory, keep=KEPT_CHECKPOINTS)
        return saved

    def resume(self, training: Training) -> None:
        """Put the training where its newest good checkpoint was, if there is one.

        Raises:
            ValueError: if that checkpoint belongs to another training.
        """
        for path in list_checkpoints(self._directory):
            try:
                manifest, tensors = load_checkpoint(path)
            except CheckpointError as error:
                logger.warning("skipped a damaged checkpoint: %s", error)
                continue
            self._check_identity(path, manifest)
            training.restore(manifest, tensors)
            self.newest = describe_checkpoint(path)
            self.resumed = self._exactness(manifest)
            return

    def _exactness(self, manifest: dict[str, Any]) -> str:
        """Return whether going on from a checkpoint gives the bits of never having stopped."""
        if manifest["images_seen"] == self._identity["budget"]["images"]:
            return str(manifest["resume"])  # there is nothing to go on with
        if manifest["resume"] == "approximate" or self._identity["budget"]["images"] is None:
            return "approximate"
        return "exact" if manifest["numerics"] == self._numerics else "approximate"

    def _check_identity(self, path: Path, manifest: dict[str, Any]) -> None:
        for name in ("steps", "judged", "begun", "numerics", "resume"):
            if name not in manifest:
                raise ValueError(f"{path} belongs to no training: its manifest has no {name!r}")
        known, wanted_of_it = self._completed(manifest), self._completed(self._identity)
        for name, expected in wanted_of_it.items():
            if known.get(name) != expected:
                wanted, found = _differing(expected, known.get(name))
                raise ValueError(
                    f"{path} belongs to another training: expected {name} {wanted}, found {found}"
                )

    def _completed(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return a manifest with the options that it does not spell out, at their defaults."""
        defaults = to_dict(get_spec(self._identity["algorithm"]).config())
        return {**manifest, "config": {**defaults, **manifest["config"]}}


def _differing(expected: Any, found: Any) -> tuple[Any, Any]:
    """Return both as they are, or of two mappings only what differs, of lists the first of it."""
    if not (isinstance(expected, dict) and isinstance(found, dict)):
        return expected, found
    names = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
    pairs = {n: _lacking(expected.get(n), found.get(n)) for n in names}
    return {n: pair[0] for n, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}


def _lacking(expected: Any, found: Any) -> tuple[Any, Any]:
    """Return both as they are, or of two lists the first ten parts that the other lacks."""
    if not (isinstance(expected, list) and isinstance(found, list)):
        return expected, found
    here, there = ([str(part) for part in parts] for parts in (expected, found))
    return sorted({*here} - {*there})[:10], sorted({*there} - {*here})[:10]
