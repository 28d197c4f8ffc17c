"""The files in the data folder that rows refer to; messages and caches are not among them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.db.models import Exists, OuterRef

from catalog import stored
from catalog.models import Dataset, Protocol
from experiments.models import (
    Checkpoint,
    Entry,
    Intake,
    Question,
    SampleSet,
    SheetReading,
    Upload,
    Viewing,
)
from experiments.submission import pipelines
from experiments.work_logs import KINDS
from generators.specs.pipelines.card import PipelineError
from jobs import kept_log
from jobs.models import Status


@dataclass(frozen=True)
class Holding:
    """Files that belong together: all of them are there, or none is of use."""

    files: tuple[Path, ...]
    needed: bool = True  # False: its row may outlive it, like a checkpoint with newer ones
    size_bytes: int | None = None  # of all files, where the row says it


def find() -> Iterator[Holding]:
    """Return what rows refer to; what may soon be deleted comes first."""
    yield from _checkpoints()
    for dataset in Dataset.objects.all():
        yield Holding((dataset.train_path, dataset.test_path))
    for protocol in Protocol.objects.all():
        for used in filter(None, (protocol.extractor_files, protocol.clip_files)):
            yield Holding(_files(used))
    yield from pipelines_here()
    yield from _samples()
    for kind in (Question, Viewing):
        for asked in kind._default_manager.filter(status=Status.COMPLETED):
            yield Holding((asked.path,), needed=False)  # the oldest go when others are asked
    for upload in Upload.objects.all():
        yield Holding((upload.path,), needed=False)  # what is not here of it is sent again
    for intake in Intake.objects.filter(kind=Intake.Kind.DATASET, status=Status.COMPLETED):
        yield Holding(_files(intake.folder), needed=False)
    yield from _logs()


def _checkpoints() -> Iterator[Holding]:
    """Return weights and pictures of checkpoints; of a running training's only the newest stay."""
    drawn_from = Exists(SampleSet.objects.filter(checkpoint=OuterRef("pk")))
    newest_first = Checkpoint.objects.annotate(is_needed=drawn_from).order_by("-created_at", "-pk")
    for checkpoint in newest_first:
        folder = Path(settings.DATA_DIR) / checkpoint.path
        yield Holding(_files(folder), needed=checkpoint.is_needed, size_bytes=checkpoint.bytes)
        if checkpoint.preview:
            yield Holding((Path(settings.DATA_DIR) / checkpoint.preview,), needed=False)


def _samples() -> Iterator[Holding]:
    """Return what was drawn and what was read in it, and what strangers' samples wait in."""
    for sample_set in SampleSet.objects.filter(status=Status.COMPLETED):
        yield Holding((sample_set.path, sample_set.grid_path))
    for reading in SheetReading.objects.select_related("evaluation__sample_set"):
        yield Holding((reading.path,), needed=False)  # pages say that it is not kept
    for waiting in SampleSet.objects.exclude(source="").exclude(status=Status.COMPLETED):
        yield Holding((Path(settings.DATA_DIR) / waiting.source,))


def _logs() -> Iterator[Holding]:
    """Return the logs of jobs that are still there."""
    rows = {
        name: set(kind._default_manager.values_list("pk", flat=True))
        for name, kind in KINDS.items()
    }
    for name in stored.names([kept_log.FOLDER]):
        path = PurePosixPath(name)
        number = path.name.partition("-")[0]  # logs/run/12-1.txt
        if number.isdigit() and int(number) in rows.get(path.parent.name, ()):
            yield Holding((Path(settings.DATA_DIR) / name,), needed=False)


def pipelines_here() -> Iterator[Holding]:
    """Return the folders of the storage that entries are drawn from; not those of the hub's cache."""
    rows = Entry.objects.filter(kind=Entry.Kind.PIPELINE).values_list("config", flat=True)
    named = {(str(config["pipeline"]), str(config["revision"])) for config in rows}
    for folder in filter(None, (_folder_of(*name) for name in sorted(named))):
        files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
        yield Holding(files or (folder,))


def _folder_of(source: str, revision: str) -> Path | None:
    try:
        return pipelines.folder_of(source, revision)
    except PipelineError:  # a link took its place
        return None


def _files(path: Path) -> tuple[Path, ...]:
    """Return a folder's files, or the file itself, there or not."""
    try:
        return tuple(sorted(path.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return (path,)
