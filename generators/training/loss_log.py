"""A training's losses on disk: `losses.jsonl`, one line per report, at most a thousand lines."""

import json
from pathlib import Path
from typing import Any

from evaluation.imagesets.atomic import replacing
from generators.training.checkpoints import SavedCheckpoint, list_checkpoints
from generators.training.steps import TrainingProgress

NAME = "losses.jsonl"
MOST_LINES = 1000
KEPT_LINES = 500  # of more than MOST_LINES

Line = dict[str, Any]  # images_seen, device_seconds, losses


class LossLog:
    """Lines {images_seen, device_seconds, losses}, in the order of images seen.

    A new line is appended in one write; whatever takes lines away writes the file anew, whole or
    not at all.
    """

    def __init__(self, directory: Path) -> None:
        """Open the log of the training in a directory; without a checkpoint it begins anew."""
        self.path = directory / NAME
        self._lines = read_losses(self.path)
        if not list_checkpoints(directory):
            self._lines = []
        if self.path.is_file() and self.path.read_bytes() != b"".join(map(_encoded, self._lines)):
            self._write(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, progress: TrainingProgress) -> None:
        """Add a report that has losses, and thin the older ones if there are too many."""
        if not progress.losses:  # a training that was complete already
            return
        line = {
            "images_seen": progress.images_seen,
            "device_seconds": progress.device_seconds,
            "losses": progress.losses,
        }
        kept = [old for old in self._lines if old["images_seen"] < progress.images_seen]
        if len(kept) == len(self._lines) < MOST_LINES:
            self._append(line)
        else:
            self._write(thinned([*kept, line]))

    def cut(self, checkpoint: SavedCheckpoint) -> None:
        """Drop what was reported after a checkpoint: the training goes on from there."""
        kept = [line for line in self._lines if line["images_seen"] <= checkpoint.images_seen]
        if len(kept) < len(self._lines):
            self._write(kept)

    def _append(self, line: Line) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write(_encoded(line))
        self._lines.append(line)

    def _write(self, lines: list[Line]) -> None:
        with replacing(self.path) as file:
            file.writelines(map(_encoded, lines))
        self._lines = lines


def thinned(lines: list[Line]) -> list[Line]:
    """Return the lines, or of too many the newest in each of equal spans of images."""
    if len(lines) <= MOST_LINES:
        return lines
    span = lines[-1]["images_seen"] / KEPT_LINES
    newest = {line["images_seen"] // span: line for line in lines}
    return list(newest.values())


def read_losses(path: Path) -> list[Line]:
    """Return the lines of a log, none if there is no file; half a line is left out."""
    if not path.is_file():
        return []
    found = []
    for text in path.read_text("utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the process was killed as it wrote
            continue
        if isinstance(line, dict) and isinstance(line.get("images_seen"), int):
            found.append(line)
    return found


def _encoded(line: Line) -> bytes:
    return json.dumps(line).encode() + b"\n"
