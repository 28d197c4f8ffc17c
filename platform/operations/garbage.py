"""Files of the data folder that no row refers to, and those that are damaged."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from django.conf import settings

from catalog import stored
from catalog.models import Dataset, Protocol
from evaluation.imagesets.atomic import sha256_of_content
from experiments.models import Checkpoint, Intake, Question, Run, SampleSet, Viewing
from jobs.models import FINISHED, Job, Status
from operations import holdings

YOUNG_SECONDS = 3600  # such a file may be on its way to its row
AHEAD = ("extractors/", "pipelines/")  # are trained, downloaded or put there ahead of use
MANIFEST = "manifest.json"  # of a checkpoint, with the sha256 of its other files


def find(*, keep_checkpoints: int | None = None) -> Iterator[tuple[str, int]]:
    """Return files that may go, with their bytes: older than an hour, and of no row or job at work.

    With `keep_checkpoints` also what is in checkpoints of ended trainings that are neither among
    a run's newest so many nor sampled; their pictures stay. Files are listed before rows are read:
    one that comes to its row in between is not taken for garbage.
    """
    names = sorted(name for name in stored.names() if not name.startswith(AHEAD))
    retired = set() if keep_checkpoints is None else set(_retired(keep_checkpoints))
    held = {stored.name_of(file) for holding in holdings.find() for file in holding.files}
    for name in names:
        folder = str(PurePosixPath(name).parent)
        if (name in held or folder in held) and folder not in retired:
            continue
        try:
            size, age = stored.size_and_age(name)
        except FileNotFoundError:
            continue
        if age > YOUNG_SECONDS and not _is_at_work(name):
            yield name, size


def _retired(keep: int) -> Iterator[str]:
    for run in Run.objects.filter(status__in=FINISHED).prefetch_related("checkpoints"):
        sampled = set(run.sample_sets.values_list("checkpoint", flat=True))
        newest_first = sorted(run.checkpoints.all(), key=lambda c: c.images_seen, reverse=True)
        for checkpoint in newest_first[keep:]:
            if checkpoint.pk not in sampled:
                yield checkpoint.path


def _is_at_work(name: str) -> bool:
    """Whether a job that has not ended may still want the file: a retry goes on from it."""
    kind, owner, *_ = PurePosixPath(name).parts
    number = owner.partition("-")[0].partition(".")[0]  # runs/12/…, samples/34-1.npz
    models: dict[str, type[Job]] = {
        "runs": Run,
        "samples": SampleSet,
        "answers": Question,
        "viewings": Viewing,
        "intake": Intake,
    }
    model = models.get(kind)
    if model is None or not number.isdigit():
        return False
    return model._default_manager.filter(pk=number).exclude(status=Status.COMPLETED).exists()


def damage() -> Iterator[str]:
    """Return what is wrong with files that rows refer to, by their sha256."""
    for dataset in Dataset.objects.all():
        yield from _difference(dataset.train_path, dataset.train_digest)
        yield from _difference(dataset.test_path, dataset.test_digest)
    for sample_set in SampleSet.objects.filter(status=Status.COMPLETED).exclude(sha256=""):
        yield from _difference(sample_set.path, sample_set.sha256)
    for kind in (Question, Viewing):
        for asked in kind._default_manager.filter(status=Status.COMPLETED):
            yield from _difference(asked.path, asked.sha256)
    for protocol in Protocol.objects.exclude(extractor_weights=""):
        if (weights := protocol.weights_path) is not None and not weights.is_dir():
            yield from _difference(weights, protocol.record["extractor"]["weights_sha256"])
    for checkpoint in Checkpoint.objects.all():
        if checkpoint.is_kept:
            yield from _checkpoint_damage(checkpoint)


def _checkpoint_damage(checkpoint: Checkpoint) -> Iterator[str]:
    folder = settings.DATA_DIR / checkpoint.path
    wrong = list(_difference(folder / MANIFEST, checkpoint.sha256))
    yield from wrong
    if not wrong:
        with stored.opened(folder / MANIFEST) as file:
            manifest = json.load(file)
        for name, digest in manifest["files"].items():
            yield from _difference(folder / name, digest)


def _difference(path: Path, digest: str) -> Iterator[str]:
    try:
        with stored.opened(path) as file:
            found = sha256_of_content(file)
    except OSError as error:
        yield f"{path}: {error.strerror or error}"
        return
    if found != digest:
        yield f"{path}: has sha256 {found}, expected {digest}"
