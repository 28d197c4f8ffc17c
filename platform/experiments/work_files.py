"""Files that work needs and leaves: fetched, checked against their rows, kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from catalog import stored
from catalog.models import Dataset
from catalog.stored import DamagedError, StoredFile, name_of
from evaluation.imagesets.atomic import sha256_of
from experiments.models import Checkpoint, Run, SampleSet
from jobs.lifecycle import JobError


@contextmanager
def fetching() -> Iterator[None]:
    """Turn files that are gone or damaged into failures that name them."""
    try:
        yield
    except DamagedError as error:
        raise JobError(str(error)) from error
    except FileNotFoundError as error:
        raise JobError(f"cannot be fetched: {error}") from error


def fetched(path: Path) -> Path:
    """Return the path of a file or folder, fetched if it is not here.

    Raises:
        JobError: if it is lost or damaged.
    """
    with fetching():
        return stored.fetch(path)


def split_file(dataset: Dataset, split: str) -> Path:
    """Return the file of a dataset's split.

    Raises:
        JobError: if a file of the dataset is missing or is not the one that was registered.
    """
    with fetching():
        dataset.verify()
    return dataset.train_path if split == "train" else dataset.test_path


def samples_file(sample_set: SampleSet) -> Path:
    """Return the file of a sample set.

    Raises:
        JobError: if the file is missing or is not the one that was written.
    """
    name = name_of(sample_set.path)
    try:
        found = stored.digest_of(sample_set.path, sample_set.sha256)
    except stored.BucketError:
        raise
    except DamagedError as error:
        raise JobError(str(error)) from error
    except OSError as error:
        raise JobError(f"{name}: {error.strerror or error}") from error
    if found != sample_set.sha256:
        raise JobError(f"{name}: has sha256 {found}, not {sample_set.sha256}")
    return sample_set.path


def autoencoder_of(run: Run) -> Checkpoint | None:
    """Return the checkpoint whose autoencoder a run takes, fetched; None where it trains its own.

    Raises:
        JobError: if it was deleted, or is not the one that was written.
    """
    name = run.entry.config.get("autoencoder")
    if not name:
        return None
    found = Checkpoint.objects.filter(path=name).select_related("run__entry").first()
    manifest = fetched(settings.DATA_DIR / name) / "manifest.json"
    if found is None or not manifest.exists():
        raise JobError(f"the autoencoder that it takes, {name}, was deleted")
    if (digest := sha256_of(manifest)) != found.sha256:
        raise JobError(f"{name}/manifest.json: has sha256 {digest}, not {found.sha256}")
    return found


def keep_checkpoint(run: Run, checkpoint: Path, preview: Path) -> None:
    """Keep a checkpoint's folder and its preview."""
    owner = run.entry.experiment.created_by
    stored.keep(checkpoint, StoredFile.Kind.CHECKPOINT, owner=owner)
    stored.keep(preview, StoredFile.Kind.PICTURE, owner=owner)


def forget_pruned_checkpoints(run: Run) -> None:
    """Forget the checkpoints that the training has deleted: it keeps its newest two."""
    for file in stored.rows(run.folder).filter(kind=StoredFile.Kind.CHECKPOINT):
        folder = (settings.DATA_DIR / file.path).parent
        if not folder.exists():
            stored.forget(folder)


def parts_folder(sample_set: SampleSet) -> Path:
    """Return where batches that are drawn lie until the set is whole, for an attempt that goes on."""
    return sample_set.path.parent / f"{sample_set.pk}-parts"


def drop_parts(sample_set: SampleSet) -> None:
    """Delete the batches of a set that is whole."""
    shutil.rmtree(parts_folder(sample_set), ignore_errors=True)


def keep_samples(sample_set: SampleSet) -> None:
    """Keep a sample set's file and contact sheet."""
    owner = sample_set.entry.experiment.created_by
    stored.keep(sample_set.path, StoredFile.Kind.SAMPLES, owner=owner)
    stored.keep(sample_set.grid_path, StoredFile.Kind.PICTURE, owner=owner)
