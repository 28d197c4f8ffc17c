import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from experiments.models import Run
from jobs import lifecycle, presence
from jobs.models import Job, Status, Worker
from tests.factories import make_run, make_worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the bells rung, instead of sending messages."""
    bells: list[tuple[str, int]] = []

    def ring(job: Job) -> None:
        bells.append((job.type_name(), job.pk))

    monkeypatch.setattr(lifecycle, "ring", ring)
    return bells


def long_ago(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(rung_at=timezone.now() - timedelta(minutes=5))


def test_presenting_makes_one_row_per_name() -> None:
    first = presence.present("celery@here", queues=["gpu"])
    second = presence.present("celery@here", queues=["gpu", "default"])

    assert first.pk == second.pk
    assert second.queues == ["gpu", "default"]
    assert second.is_alive
    assert second.device
    assert second.memory_bytes > 0


def test_a_round_says_that_the_worker_is_here() -> None:
    worker = make_worker(alive=False)

    presence.make_round(worker, idle=False)

    assert Worker.objects.get(pk=worker.pk).is_alive


def test_a_dead_worker_is_noticed_within_a_minute_by_default() -> None:
    assert settings.LEASE_SECONDS + settings.BEAT_SECONDS <= 60


def test_a_round_takes_back_lost_jobs() -> None:
    run = make_run(status=Status.RUNNING, lease_until=timezone.now() - timedelta(seconds=1))

    presence.make_round(make_worker(), idle=False)

    run.refresh_from_db()
    assert run.status == Status.QUEUED


def test_an_idle_worker_rings_for_jobs_whose_message_was_lost(rung: list[tuple[str, int]]) -> None:
    run = make_run()
    long_ago(run)

    presence.make_round(make_worker(queues=["gpu"]), idle=True)

    assert rung == [("run", run.pk)]


def test_a_busy_worker_does_not_ring(rung: list[tuple[str, int]]) -> None:
    long_ago(make_run())

    presence.make_round(make_worker(), idle=False)

    assert rung == []


def test_a_job_rung_for_just_now_is_not_rung_for_again(rung: list[tuple[str, int]]) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(rung_at=timezone.now())

    presence.make_round(make_worker(queues=["gpu"]), idle=True)

    assert rung == []


def test_a_worker_rings_only_for_its_own_queues(rung: list[tuple[str, int]]) -> None:
    long_ago(make_run())

    presence.make_round(make_worker(queues=["elsewhere"]), idle=True)

    assert rung == []


NVIDIA_SMI = """#!/bin/sh
echo "0, NVIDIA H100 80GB HBM3, 81559"
echo "1, NVIDIA H100 80GB HBM3, 81559"
"""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a driver's command with two GPUs on the path."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(NVIDIA_SMI)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_a_worker_says_how_many_gpus_it_has_and_the_smallest_memory() -> None:
    assert presence.device() == ("2 × NVIDIA H100 80GB HBM3", 81559 * 2**20)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "number", "expected"),
    [(None, 0, "0"), (None, 1, "1"), (None, 2, "0"), ("3,5", 1, "5"), ("GPU-12ab", 1, "GPU-12ab")],
)
def test_each_process_of_a_worker_sees_one_gpu(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, number: int, expected: str
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(presence, "current_process", lambda: SimpleNamespace(index=number))
    before = dict(os.environ)

    presence.take_one_gpu()
    found = os.environ["CUDA_VISIBLE_DEVICES"]
    os.environ.clear()
    os.environ.update(before)

    assert found == expected


def test_a_worker_rings_only_for_what_its_device_can_hold(rung: list[tuple[str, int]]) -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).update(memory_gb=24, rung_at=None)
    worker = make_worker(queues=["gpu"], memory_bytes=16 * 10**9)

    presence.make_round(worker, idle=True)

    assert rung == []


def test_a_connection_that_was_kept_since_the_last_task_is_tried_before_it_is_used() -> None:
    connection.ensure_connection()
    connection.health_check_done = True  # type: ignore[attr-defined]  # not in the stubs

    presence.look_at_connections()

    assert not connection.health_check_done  # type: ignore[attr-defined]  # likewise
