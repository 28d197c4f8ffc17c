from datetime import timedelta

import pytest
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
