from collections.abc import Callable

import pytest

from experiments.models import Run
from jobs import lifecycle
from jobs.execution import Heartbeat, Stopped, execute
from jobs.models import Status, Worker
from tests.factories import make_run

pytestmark = pytest.mark.django_db


Work = Callable[[Run, Heartbeat], None]


def after(work: Work) -> Run:
    """Return a run after a worker did this work on it."""
    run = make_run()
    execute(Run, run.pk, work)
    run.refresh_from_db()
    return run


def raiser(error: BaseException) -> Work:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        raise error

    return work


def test_work_that_completes_its_row_leaves_it_completed() -> None:
    run = after(lambda job, _: lifecycle.complete(job, images_seen=5))

    assert (run.status, run.images_seen, run.attempt) == (Status.COMPLETED, 5, 1)


def test_an_error_fails_the_job_with_its_type_and_traceback() -> None:
    run = after(raiser(RuntimeError("the loss is not finite")))

    assert run.status == Status.FAILED
    assert run.reason == "RuntimeError: the loss is not finite"
    assert "Traceback (most recent call last)" in run.error
    assert "in work" in run.error


def test_a_job_error_says_only_its_message() -> None:
    assert after(raiser(lifecycle.JobError("the file is missing"))).reason == "the file is missing"


def test_running_out_of_memory_is_named() -> None:
    assert after(raiser(MemoryError())).reason == "out of memory"


def test_a_very_long_message_is_cut_not_refused() -> None:
    assert len(after(raiser(ValueError("x" * 10_000))).reason) == 500


def test_work_that_stops_after_a_cancel_leaves_the_job_cancelled() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        lifecycle.cancel(run)
        raise Stopped

    assert after(work).status == Status.CANCELLED


def test_an_error_while_cancelling_is_a_cancel() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        lifecycle.cancel(run)
        raise RuntimeError("torn apart")

    assert after(work).status == Status.CANCELLED


def test_a_doubled_message_does_nothing() -> None:
    run = make_run()
    calls = []

    def work(job: Run, heartbeat: Heartbeat) -> None:
        calls.append(job.pk)
        lifecycle.complete(job)

    execute(Run, run.pk, work)
    execute(Run, run.pk, work)

    assert calls == [run.pk]


def test_an_attempt_that_was_overtaken_changes_nothing() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        lifecycle.requeue_lost(of=Worker.objects.filter(pk=run.worker_id or 0))
        raise RuntimeError("too late")

    run = after(work)

    assert (run.status, run.error) == (Status.QUEUED, "")


def test_a_heartbeat_that_finds_a_cancelled_job_asks_the_work_to_stop() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        heartbeat.report(images_seen=3)
        heartbeat._beat()
        assert not heartbeat.should_stop()
        lifecycle.cancel(run)
        heartbeat._beat()
        assert heartbeat.should_stop()
        heartbeat.check()

    run = after(work)

    assert (run.status, run.images_seen) == (Status.CANCELLED, 3)
