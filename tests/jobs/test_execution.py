from collections.abc import Callable
from datetime import timedelta

import pytest
import torch
from django.utils import timezone
from pytest_django.fixtures import Settings

from experiments import pipeline
from experiments.models import Evaluation, Run
from jobs import lifecycle
from jobs.execution import Heartbeat, JobStopped, execute
from jobs.models import Cause, Job, Order, Status, Worker
from tests.factories import make_evaluation, make_run

pytestmark = pytest.mark.django_db


Work = Callable[[Run, Heartbeat], None]


def after(work: Work) -> Run:
    """Return a run after a worker did this work on it."""
    run = make_run()
    execute(Run, run.pk, {Run: work})
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
    assert run.cause == Cause.ERROR
    assert "Traceback (most recent call last)" in run.error
    assert "in work" in run.error


def test_a_job_error_says_only_its_message() -> None:
    run = after(raiser(lifecycle.JobError("the file is missing")))

    assert (run.reason, run.cause) == ("the file is missing", Cause.INPUT)


def test_running_out_of_memory_is_named() -> None:
    run = after(raiser(MemoryError()))

    assert (run.reason, run.cause) == ("out of memory", Cause.MEMORY)


def test_a_gpu_that_runs_out_of_memory_fails_the_job_in_a_sentence() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        with pipeline.failing():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 …")

    run = after(work)

    assert (run.reason, run.cause) == ("out of memory: CUDA out of memory", Cause.MEMORY)


def test_a_very_long_message_is_cut_not_refused() -> None:
    assert len(after(raiser(ValueError("x" * 10_000))).reason) == 500


def test_work_that_stops_after_a_cancel_leaves_the_job_cancelled() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        lifecycle.cancel(run, by="ada")
        raise JobStopped

    assert after(work).status == Status.CANCELLED


def test_an_error_while_cancelling_is_a_cancel() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        lifecycle.cancel(run, by="ada")
        raise RuntimeError("torn apart")

    assert after(work).status == Status.CANCELLED


def test_a_doubled_message_does_nothing() -> None:
    run = make_run()
    calls = []

    def work(job: Run, heartbeat: Heartbeat) -> None:
        calls.append(job.pk)
        lifecycle.complete(job)

    execute(Run, run.pk, {Run: work})
    execute(Run, run.pk, {Run: work})

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
        lifecycle.cancel(run, by="ada")
        heartbeat._beat()
        assert heartbeat.should_stop()
        heartbeat.check()

    run = after(work)

    assert (run.status, run.images_seen) == (Status.CANCELLED, 3)


def test_a_worker_that_is_told_to_stop_hands_its_job_back_without_blame() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        heartbeat._beat()
        assert not heartbeat.should_stop()
        Worker.objects.update(order=Order.STOP)
        heartbeat._beat()
        heartbeat.check()

    run = after(work)

    assert (run.status, run.restarts, run.lease_until) == (Status.QUEUED, 0, None)
    assert run.reason == "its worker was stopped, continues from the last checkpoint"
    assert [event.kind for event in run.events][-2:] == ["claimed", "requeued"]


def test_a_job_that_is_cancelled_while_its_worker_stops_is_cancelled() -> None:
    def work(run: Run, heartbeat: Heartbeat) -> None:
        Worker.objects.update(order=Order.STOP)
        heartbeat._beat()
        lifecycle.cancel(run, by="ada")
        raise JobStopped

    assert after(work).status == Status.CANCELLED


@pytest.mark.parametrize("order", list(Order))
def test_a_worker_that_drains_or_stops_takes_no_more(order: Order) -> None:
    run = make_run()
    execute(Run, run.pk, {Run: lambda *_: None})  # makes the worker's row, and fails nothing
    Run.objects.filter(pk=run.pk).update(status=Status.QUEUED, attempt=0, lease_until=None)
    Worker.objects.update(order=order)

    execute(Run, run.pk, {Run: raiser(RuntimeError("it was taken"))})

    run.refresh_from_db()
    assert (run.status, run.attempt) == (Status.QUEUED, 0)


def test_a_job_that_takes_too_long_is_timed_out(settings: Settings) -> None:
    settings.JOB_SECONDS = 60

    def work(run: Run, heartbeat: Heartbeat) -> None:
        heartbeat._watch(heartbeat._began + 59)
        assert not heartbeat.should_stop()
        heartbeat._watch(heartbeat._began + 61)
        heartbeat.check()

    run = after(work)

    assert (run.status, run.cause) == (Status.FAILED, Cause.TIME)
    assert run.reason == "timed out: it took longer than 60 s"


def test_the_most_urgent_job_is_done_first_whichever_bell_rings() -> None:
    done: list[str] = []

    def work(job: Job, heartbeat: Heartbeat) -> None:
        done.append(f"{job.type_name()} {job.pk}")
        lifecycle.complete(job)

    run, older = make_run(), make_run()
    Run.objects.filter(pk=older.pk).update(queued_at=timezone.now() - timedelta(hours=1))
    evaluation = make_evaluation(status=Status.QUEUED)

    for _ in range(3):
        execute(Run, run.pk, {Run: work, Evaluation: work})

    assert done == [f"evaluation {evaluation.pk}", f"run {older.pk}", f"run {run.pk}"]
