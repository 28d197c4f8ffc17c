"""Files that no row refers to go; files of rows and of jobs at work stay; damage is named."""

import hashlib
import json
import os
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from experiments.models import Entry, Run, SampleSet
from jobs.models import Status
from operations import holdings
from tests import factories

pytestmark = pytest.mark.django_db
LONG_AGO = time.time() - 2 * 60 * 60


def collect(*options: str) -> str:
    out = StringIO()
    call_command("collect_garbage", *options, stdout=out)
    return out.getvalue()


def old(path: Path, content: bytes = b"left behind") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def checkpoint_files(data_dir: Path, run: Run, images_seen: int) -> Path:
    """Return the folder of a checkpoint with a row, files and true digests."""
    checkpoint = factories.make_checkpoint(run=run, images_seen=images_seen)
    folder = data_dir / checkpoint.path
    weights = old(folder / "weights.safetensors", b"weights")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    manifest = json.dumps({"files": {weights.name: digest}}).encode()
    old(folder / "manifest.json", manifest)
    checkpoint.sha256 = hashlib.sha256(manifest).hexdigest()
    checkpoint.bytes = len(manifest) + len(b"weights")
    checkpoint.save()
    return folder


def test_pipelines_of_entries_are_held_and_those_put_there_ahead_stay(data_dir: Path) -> None:
    used, ahead = (data_dir / "pipelines" / name / "unet" / "config.json" for name in "ab")
    for path in (used, ahead):
        old(path)
    experiment = factories.make_experiment()
    for source, revision in (("a", ""), ("us/x", "0" * 40)):  # the second is in the hub's cache
        experiment.entries.create(
            kind=Entry.Kind.PIPELINE,
            label=source,
            config={"pipeline": source, "revision": revision},
            position=9,
        )

    held = {file for holding in holdings.find() for file in holding.files}

    assert used in held and ahead not in held
    assert "pipelines/b" not in collect("--dry-run")


def test_leftovers_go_and_what_rows_refer_to_stays(data_dir: Path) -> None:
    drawn = factories.make_sample_set(files=True)
    assert drawn.run
    folder = checkpoint_files(data_dir, drawn.run, 1000)
    reading = factories.make_reading(factories.make_evaluation(sample_set=drawn))
    stale = old(data_dir / "samples" / f"{drawn.pk}-99.npz")
    orphan = old(data_dir / "runs" / "999" / "ckpt-5" / "weights.safetensors")
    dataset = old(data_dir / "datasets" / "0123456789abcdef" / "train.npz")
    viewing = factories.make_viewing(status=Status.COMPLETED)
    unseen = old(data_dir / "viewings" / "999-1.png")
    age(data_dir)

    answer = collect()

    for path in (stale, orphan, dataset, unseen):
        assert str(path.relative_to(data_dir)) in answer
        assert not path.exists()
    assert not orphan.parent.exists()
    assert answer.endswith("4 files, 44 bytes deleted\n")
    assert drawn.path.exists() and drawn.grid_path.exists() and reading.path.exists()
    assert viewing.path.exists()
    assert (folder / "weights.safetensors").exists()
    assert collect() == "0 files, 0 bytes deleted\n"


def test_a_dry_run_deletes_nothing(data_dir: Path) -> None:
    stale = old(data_dir / "samples" / "7-1.npz")

    answer = collect("--dry-run")

    assert answer == "samples/7-1.npz\n1 files, 11 bytes would go\n"
    assert stale.exists()


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.FAILED])
def test_a_job_that_has_not_completed_keeps_its_files(data_dir: Path, status: str) -> None:
    run = factories.make_run(status=status)
    drawn = SampleSet.objects.filter(run__isnull=True).first()
    assert drawn and drawn.status == Status.QUEUED
    half = old(data_dir / "runs" / str(run.pk) / "ckpt-5" / "weights.safetensors")
    drawing = old(data_dir / "samples" / f"{drawn.pk}-1.npz")

    collect()

    assert half.exists() and drawing.exists()


def test_what_is_young_stays(data_dir: Path) -> None:
    young = old(data_dir / "samples" / "7-1.npz")
    os.utime(young)

    collect()

    assert young.exists()


def test_of_ended_trainings_the_newest_and_the_sampled_checkpoints_stay(data_dir: Path) -> None:
    run = factories.make_run(status=Status.COMPLETED)
    folders = {seen: checkpoint_files(data_dir, run, seen) for seen in (500, 600, 700, 1000)}
    checkpoint = run.checkpoints.get(images_seen=500)
    factories.make_sample_set(run=run, checkpoint=checkpoint, files=True)

    collect()
    assert all(folder.exists() for folder in folders.values())
    collect("--keep-checkpoints", "1")

    assert {seen for seen, folder in folders.items() if folder.exists()} == {500, 1000}


def test_a_number_of_checkpoints_is_not_negative() -> None:
    with pytest.raises(CommandError) as refused:
        collect("--keep-checkpoints", "-1")

    assert str(refused.value) == "expected --keep-checkpoints of at least 0, got -1"


def test_every_file_is_verified_and_what_is_damaged_is_named(data_dir: Path) -> None:
    dataset = factories.make_dataset(files=True)
    factories.make_experiment(dataset=dataset)
    run = Run.objects.get()
    folder = checkpoint_files(data_dir, run, 1000)
    drawn = factories.make_sample_set(run=run, files=True)
    drawn.sha256 = hashlib.sha256(drawn.path.read_bytes()).hexdigest()
    drawn.save()
    out, err = StringIO(), StringIO()

    call_command("verify_files", stdout=out)
    (folder / "weights.safetensors").write_bytes(b"other weights")
    drawn.path.unlink()
    dataset.test_path.write_bytes(b"no images")
    with pytest.raises(CommandError) as refused:
        call_command("verify_files", stderr=err)

    assert out.getvalue() == "every file is as it was written\n"
    assert str(refused.value) == "3 damaged or missing"
    dataset_line, drawn_line, weights_line = err.getvalue().splitlines()
    assert f"{dataset.test_path}: has sha256" in dataset_line
    assert drawn_line == f"{drawn.path}: No such file or directory"
    assert weights_line.startswith(f"{folder / 'weights.safetensors'}: has sha256")
