"""Files of the data folder that no row refers to, and those that are damaged."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from catalog.models import DamagedError, Dataset, Protocol, file_sha256
from experiments.models import Checkpoint, Run, SampleSet
from jobs.models import FINISHED, Status
from web.management import holdings

SWEPT = ("datasets", "runs", "samples")  # extractors can be trained and downloaded ahead of use
YOUNG_SECONDS = 3600  # such a file may be on its way to its row
MANIFEST = "manifest.json"  # of a checkpoint, with the sha256 of its other files


def find(*, keep_checkpoints: int | None = None) -> Iterator[Path]:
    """Return files that may go: older than an hour, of no job at work, and of no row.

    With `keep_checkpoints` also what is in checkpoints of ended trainings that are neither among
    a run's newest so many nor sampled; their pictures stay. Files are listed before rows are read:
    one that comes to its row in between is not taken for garbage.
    """
    files = [path for name in SWEPT for path in (settings.DATA_DIR / name).rglob("*")]
    retired = set() if keep_checkpoints is None else set(_retired(keep_checkpoints))
    held = {file for holding in holdings.find() for file in holding.files}
    for path in sorted(files):
        is_needed = path in held and path.parent not in retired
        if not is_needed and not _is_at_work(path) and _is_old_file(path):
            yield path


def remove(path: Path) -> None:
    """Delete a file, and its folder with the last one."""
    path.unlink(missing_ok=True)
    if path.parent.parent != settings.DATA_DIR and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _retired(keep: int) -> Iterator[Path]:
    for run in Run.objects.filter(status__in=FINISHED).prefetch_related("checkpoints"):
        sampled = set(run.sample_sets.values_list("checkpoint", flat=True))
        newest_first = sorted(run.checkpoints.all(), key=lambda c: c.images_seen, reverse=True)
        for checkpoint in newest_first[keep:]:
            if checkpoint.pk not in sampled:
                yield settings.DATA_DIR / checkpoint.path


def _is_at_work(path: Path) -> bool:
    """Whether a job that has not ended may still want the file: a retry goes on from it."""
    kind, owner, *_ = path.relative_to(settings.DATA_DIR).parts
    number = owner.partition("-")[0].partition(".")[0]  # runs/12/…, samples/34-1.npz
    models: dict[str, type[Run] | type[SampleSet]] = {"runs": Run, "samples": SampleSet}
    model = models.get(kind)
    if model is None or not number.isdigit():
        return False
    return model._default_manager.filter(pk=number).exclude(status=Status.COMPLETED).exists()


def _is_old_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_mtime < time.time() - YOUNG_SECONDS
    except FileNotFoundError:
        return False


def damage() -> Iterator[str]:
    """Return what is wrong with files that rows refer to, by their sha256."""
    for dataset in Dataset.objects.all():
        try:
            dataset.verify()
        except DamagedError as error:
            yield str(error)
    for sample_set in SampleSet.objects.filter(status=Status.COMPLETED).exclude(sha256=""):
        yield from _difference(sample_set.path, sample_set.sha256)
    for protocol in Protocol.objects.exclude(extractor_weights=""):
        if (weights := protocol.weights_path) is not None and weights.is_file():
            yield from _difference(weights, protocol.record["extractor"]["weights_sha256"])
    for checkpoint in Checkpoint.objects.all():
        if checkpoint.is_kept:
            yield from _checkpoint_damage(checkpoint)


def _checkpoint_damage(checkpoint: Checkpoint) -> Iterator[str]:
    folder = settings.DATA_DIR / checkpoint.path
    wrong = list(_difference(folder / MANIFEST, checkpoint.sha256))
    yield from wrong
    if not wrong:
        for name, digest in json.loads((folder / MANIFEST).read_text("utf-8"))["files"].items():
            yield from _difference(folder / name, digest)


def _difference(path: Path, digest: str) -> Iterator[str]:
    try:
        found = file_sha256(path)
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if found != digest:
        yield f"{path}: has sha256 {found}, expected {digest}"
