"""A data folder that is full or read-only: the job says so, nothing is half-written, a retry works."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from experiments import services, tasks
from experiments.models import Run, SampleSet
from jobs.models import Cause, Job, Status
from tests.experiments.test_pipeline import queue_a_tiny_run

pytestmark = pytest.mark.django_db(transaction=True)
mount, umount = shutil.which("mount"), shutil.which("umount")


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Callable[[str, str], None]]:
    """Yield what puts a file system of a size in place of a folder of the data folder."""
    mounted = []

    def place(name: str, options: str) -> None:
        assert mount
        folder = data_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        how = ["-o", f"remount,{options}"] if folder in mounted else ["-o", options]
        command = [mount, "-t", "tmpfs", *how, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr}")
        mounted.append(folder)

    yield place
    for folder in set(mounted):
        subprocess.run([str(umount), str(folder)], check=True)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_unwritable(job: Job, strerror: str) -> None:
    job.refresh_from_db()
    assert (job.status, job.cause) == (Status.FAILED, Cause.STORAGE), job.error
    assert job.reason == f"files cannot be read or written: {strerror}"


@pytest.mark.parametrize(
    ("options", "strerror"),
    [("size=32k", "No space left on device"), ("size=9M,ro", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_training_fails_with_the_reason_and_can_be_tried_again(
    data_dir: Path, small_disk: Callable[[str, str], None], options: str, strerror: str
) -> None:
    small_disk("runs", options)
    run = queue_a_tiny_run()

    tasks.train_run(run.pk)

    assert_unwritable(run, strerror)
    assert files_in(data_dir / "runs") == []
    assert not run.checkpoints.exists()

    small_disk("runs", "size=9M,rw")
    assert services.retry_job(run, user=None)
    tasks.train_run(run.pk)
    assert Run.objects.get().status == Status.COMPLETED


@pytest.mark.parametrize(
    ("options", "strerror"),
    [("size=4k", "No space left on device"), ("size=9M,ro", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_samples_are_whole_or_not_there(
    data_dir: Path, small_disk: Callable[[str, str], None], options: str, strerror: str
) -> None:
    run = queue_a_tiny_run()
    tasks.train_run(run.pk)
    drawn = SampleSet.objects.get(run=run)
    small_disk("samples", options)

    tasks.draw_samples(drawn.pk)

    assert_unwritable(drawn, strerror)
    assert [name for name in files_in(data_dir / "samples") if name.endswith(".npz")] == []

    small_disk("samples", "size=9M,rw")
    assert services.retry_job(drawn, user=None)
    tasks.draw_samples(drawn.pk)
    drawn.refresh_from_db()
    assert drawn.status == Status.COMPLETED
    assert drawn.path.stat().st_size > 0
