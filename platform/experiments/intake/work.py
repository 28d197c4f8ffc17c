"""What a worker does with what was handed in through the browser. Beside `pipeline`."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from catalog import preparation, stored
from catalog.admission import told
from catalog.engine import RegistrationError
from catalog.models import Dataset
from catalog.services import (
    PreparedDataset,
    find_registered,
    register_dataset,
    register_protocol,
    slug_of,
)
from catalog.stored import StoredFile
from evaluation.imagesets.atomic import move_folder, sha256_of, temporary_folder
from evaluation.imagesets.opening import open_images
from evaluation.imagesets.writing import grid_png
from experiments import external, work_files
from experiments.intake import asking
from experiments.models import Intake
from experiments.submission.external import read_external
from experiments.submission.specification import SpecificationError
from experiments.uploads import files
from jobs import lifecycle
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError

PREVIEW_IMAGES, COLUMNS = 40, 10
SHOWN_CAPTIONS = 12
Found = dict[str, Any]


def take_in(intake: Intake, heartbeat: Heartbeat) -> None:
    """Look at what was handed in, and make of it what can be made; its files are then deleted.

    An attempt that was lost is made anew: what it registered already is found, and is not made twice.

    Raises:
        JobError: saying why nothing was made of it.
    """
    works: dict[str, Callable[[Intake, Heartbeat], Found]] = {
        Intake.Kind.SAMPLES: _samples,
        Intake.Kind.DATASET: _inspected,
        Intake.Kind.REGISTRATION: _registered,
        Intake.Kind.PROTOCOL: _protocol,
    }
    with _saying():
        found = works[intake.kind](intake, heartbeat)
    heartbeat.end()
    lifecycle.complete(intake, found=found, step="")
    for upload in intake.uploads.all():
        files.remove(upload)
    if intake.of is not None:
        asking.forget_folder(intake.of.folder)


@contextmanager
def _saying() -> Iterator[None]:
    """Turn refusals into failures that say them."""
    try:
        yield
    except SpecificationError as error:
        told = (f"{path}: {text}" if path else text for path, text in error.errors.items())
        raise JobError("; ".join(told)) from error
    except preparation.MixedImages as error:
        raise JobError(f"{error}: fill in {error.option.capitalize()}") from error
    except (preparation.ImageError, preparation.PreparationError, RegistrationError) as error:
        raise JobError(str(error)) from error


@contextmanager
def _given(intake: Intake) -> Iterator[list[Path]]:
    """Yield the files that were handed in, under their owner's names."""
    uploads = list(intake.uploads.all())
    if not uploads or not all(stored.is_kept(upload.path) for upload in uploads):
        raise JobError("its files are gone, or were handed in once more")
    with (
        tempfile.TemporaryDirectory() as folder,
        work_files.fetching(),
        files.named(uploads, Path(folder)) as paths,
    ):
        yield paths


# --- Samples ------------------------------------------------------------------------------------


def _samples(intake: Intake, heartbeat: Heartbeat) -> Found:
    """Make an entry of samples that its protocols can score."""
    spec = read_external(intake.asked)
    with _given(intake) as paths, tempfile.TemporaryDirectory() as folder:
        findings = []
        for place, path in enumerate(paths):
            heartbeat.report(step=f"looking at {path.name}", done=place, total=len(paths))
            heartbeat.check()
            said = external.findings_of(path, spec.protocols, Path(folder))
            findings += [f"{path.name}: {text}" for text in said]
        given = [external.GivenFile(path, path.name) for path in paths]
        entry, is_new = external.submit_external(spec, given, user=intake.created_by)
    return {
        "entry": entry.pk,
        "experiment": entry.experiment_id,
        "label": str(entry),
        "is_new": is_new,
        "findings": findings,
    }


# --- Datasets -----------------------------------------------------------------------------------


def _inspected(intake: Intake, heartbeat: Heartbeat) -> Found:
    """Prepare a dataset and let it wait, with what a person wants to see before it is registered."""

    def on_progress(what: str, done: int, total: int) -> None:
        heartbeat.report(step=f"reading {what}", done=done, total=total)
        heartbeat.check()

    asked = intake.asked
    shape = {name: asked.get(name) for name in ("resolution", "channels", "test_fraction")}
    with (
        _given(intake) as (path, *_),
        preparation.prepare_path(path, on_progress=on_progress, **shape) as prepared,
    ):
        slug = slug_of(asked["name"], "dataset")
        if existing := find_registered(Dataset, slug, prepared.digest):
            raise JobError(f"{existing} is registered already, with the same images")
        found = _about(prepared)
        shutil.rmtree(intake.folder, ignore_errors=True)
        intake.folder.parent.mkdir(exist_ok=True)
        move_folder(prepared.folder, intake.folder)
    if stored.bucket() is not None:
        stored.keep(intake.folder, StoredFile.Kind.DATASET, owner=intake.created_by)
    return found


def _about(prepared: PreparedDataset) -> Found:
    """Return what a preview says of a prepared dataset, and draw its picture beside it."""
    facts = asdict(prepared)
    del facts["folder"]
    train, test = (open_images(prepared.folder / f"{part}.npz") for part in ("train", "test"))
    shown = np.unique(np.linspace(0, prepared.train_size - 1, PREVIEW_IMAGES).astype(int)).tolist()
    picture = prepared.folder / "preview.png"
    grid_png(np.concatenate(list(train.chunks(shown))), COLUMNS, picture)
    return {
        "prepared": facts,
        "class_sizes": [_class_sizes(each.labels, prepared) for each in (train, test)],
        "captions": [train.captions[i] for i in shown[:SHOWN_CAPTIONS]] if train.captions else [],
        "shown": len(shown),
        "picture": sha256_of(picture),
    }


def _class_sizes(labels: Any, prepared: PreparedDataset) -> list[int]:
    if labels is None or not prepared.classes:
        return []
    return [int(n) for n in np.bincount(labels, minlength=len(prepared.classes))]


def _registered(intake: Intake, heartbeat: Heartbeat) -> Found:
    """Register a dataset that was looked at, from a copy: a lost attempt can begin again."""
    of, asked = intake.of, intake.asked
    assert of is not None, "a registration is that of something"
    waiting = work_files.fetched(of.folder)
    if not waiting.is_dir():
        raise JobError("what was looked at is gone; hand it in again")
    datasets = Path(settings.DATA_DIR) / "datasets"
    with temporary_folder(datasets / f"preparing-{intake.pk}") as folder:
        for name in ("train.npz", "test.npz"):
            os.link(waiting / name, folder / name)
        prepared = PreparedDataset(**{**of.found["prepared"], "folder": folder})
        heartbeat.check()
        dataset, _ = register_dataset(
            asked["name"],
            prepared,
            source=asked.get("source") or asked.get("file", ""),
            licence=asked.get("licence", ""),
        )
    return {"dataset": dataset.slug}


# --- Protocols ----------------------------------------------------------------------------------


def _protocol(intake: Intake, heartbeat: Heartbeat) -> Found:
    """Register a protocol, with the test that its extractor has to pass."""

    def report(line: str) -> None:
        heartbeat.report(step=line[-200:])
        heartbeat.check()

    dataset = Dataset.objects.filter(slug=intake.asked["dataset"]).first()
    if dataset is None:
        raise JobError(f"the dataset {intake.asked['dataset']} is gone")
    protocol, is_new = register_protocol(dataset, asking.scoring_of(intake.asked), report=report)
    return {"protocol": protocol.fingerprint, "is_new": is_new, "told": told(protocol)}
