from datetime import timedelta

import pytest
from celery import Celery
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import given, settings as hypothesis_settings, strategies as st
from hypothesis.extra.django import TestCase
from pytest_django.fixtures import Settings

from experiments.models import Run
from jobs import lifecycle
from jobs.models import ACTIVE, FINISHED, Job, JobEvent, Order, Status, Worker
from tests.factories import make_experiment, make_run, make_worker

pytestmark = pytest.mark.django_db


def kinds_of_events(job: Job) -> list[str]:
    return [event.kind for event in job.events]


def claimed_run() -> Run:
    run = lifecycle.claim(Run, make_run().pk, make_worker())
    assert run is not None
    return run


def let_lease_lapse(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_run_can_be_claimed_only_once() -> None:
    run = make_run()
    first, second = make_worker(), make_worker()

    taken = lifecycle.claim(Run, run.pk, first)
    again = lifecycle.claim(Run, run.pk, second)

    assert taken is not None
    assert again is None
    assert (taken.status, taken.worker, taken.attempt) == (Status.RUNNING, first, 1)
    assert kinds_of_events(taken) == ["queued", "claimed"]


@pytest.mark.parametrize("status", [s for s in Status if s != Status.QUEUED])
def test_only_a_queued_run_can_be_claimed(status: Status) -> None:
    run = make_run(status=status)

    assert lifecycle.claim(Run, run.pk, make_worker()) is None


def test_a_run_that_does_not_exist_cannot_be_claimed() -> None:
    assert lifecycle.claim(Run, 10**9, make_worker()) is None


def test_a_beat_renews_the_lease_and_writes_progress() -> None:
    run = claimed_run()
    let_lease_lapse(run)

    assert lifecycle.beat(run, images_seen=64)

    run.refresh_from_db()
    assert run.lease_until is not None
    assert run.lease_until > timezone.now()
    assert run.images_seen == 64


def test_completing_ends_the_lease_and_notes_it() -> None:
    run = claimed_run()

    lifecycle.complete(run, images_seen=1000)

    run.refresh_from_db()
    assert (run.status, run.lease_until, run.images_seen) == (Status.COMPLETED, None, 1000)
    assert run.finished_at is not None
    assert kinds_of_events(run) == ["queued", "claimed", "completed"]


def test_failing_keeps_the_reason_and_the_traceback() -> None:
    run = claimed_run()

    assert lifecycle.fail(run, "out of memory", error="Traceback …")

    run.refresh_from_db()
    assert (run.status, run.reason, run.error) == (Status.FAILED, "out of memory", "Traceback …")


def test_a_stale_attempt_can_write_nothing() -> None:
    stale = claimed_run()
    let_lease_lapse(stale)
    lifecycle.requeue_lost()
    current = lifecycle.claim(Run, stale.pk, make_worker())
    assert current is not None

    with pytest.raises(lifecycle.StaleAttempt, match="attempt 1 no longer holds the row"):
        lifecycle.beat(stale, images_seen=7)
    with pytest.raises(lifecycle.StaleAttempt, match="attempt 1 may not complete it"):
        lifecycle.complete(stale, images_seen=7)
    assert not lifecycle.fail(stale, "late")
    assert not lifecycle.confirm_cancel(stale)

    current.refresh_from_db()
    assert (current.status, current.attempt, current.images_seen) == (Status.RUNNING, 2, 0)


def test_cancelling_a_queued_run_ends_it_at_once() -> None:
    run = make_run()

    assert lifecycle.cancel(run, by="ada")

    run.refresh_from_db()
    assert run.status == Status.CANCELLED
    assert lifecycle.claim(Run, run.pk, make_worker()) is None


def test_cancelling_a_running_run_asks_it_to_stop_and_waits_for_its_word() -> None:
    run = claimed_run()

    assert lifecycle.cancel(run, by="ada")
    assert not lifecycle.beat(run)
    with pytest.raises(lifecycle.StaleAttempt):
        lifecycle.complete(run)
    assert lifecycle.confirm_cancel(run)

    run.refresh_from_db()
    assert run.status == Status.CANCELLED
    assert kinds_of_events(run) == ["queued", "claimed", "cancelling", "cancelled"]


@pytest.mark.parametrize("status", FINISHED)
def test_a_finished_run_cannot_be_cancelled(status: Status) -> None:
    run = make_run(status=status)

    assert not lifecycle.cancel(run, by="ada")

    run.refresh_from_db()
    assert run.status == status


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_failed_or_cancelled_run_can_be_retried(status: Status) -> None:
    run = make_run(status=status)

    assert lifecycle.retry(run, by="ada")

    run.refresh_from_db()
    assert (run.status, run.reason, run.error, run.finished_at) == (Status.QUEUED, "", "", None)
    assert lifecycle.claim(Run, run.pk, make_worker()) is not None


@pytest.mark.parametrize("status", [Status.QUEUED, *ACTIVE, Status.COMPLETED])
def test_nothing_else_can_be_retried(status: Status) -> None:
    assert not lifecycle.retry(make_run(status=status), by="ada")


def test_a_run_with_a_lapsed_lease_is_queued_again() -> None:
    run = claimed_run()
    let_lease_lapse(run)

    assert lifecycle.requeue_lost() == 1
    assert lifecycle.requeue_lost() == 0

    run.refresh_from_db()
    assert (run.status, run.restarts) == (Status.QUEUED, 1)
    assert kinds_of_events(run) == ["queued", "claimed", "lost", "requeued"]


def test_a_run_with_a_live_lease_is_left_alone() -> None:
    run = claimed_run()

    assert lifecycle.requeue_lost() == 0

    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_a_run_lost_too_often_fails_with_the_reason(settings: Settings) -> None:
    settings.MAX_RESTARTS = 1
    run = make_run()
    for _ in range(2):
        claimed = lifecycle.claim(Run, run.pk, make_worker())
        assert claimed is not None
        let_lease_lapse(claimed)
        lifecycle.requeue_lost()

    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert run.reason.startswith("node lost 2 times")


def test_a_lost_run_that_was_being_cancelled_is_cancelled() -> None:
    run = claimed_run()
    lifecycle.cancel(run, by="ada")
    let_lease_lapse(run)

    lifecycle.requeue_lost()

    run.refresh_from_db()
    assert run.status == Status.CANCELLED


def test_jobs_of_a_worker_that_ended_are_queued_at_once_and_without_blame() -> None:
    run, other = claimed_run(), claimed_run()
    assert run.worker is not None

    lifecycle.requeue_lost(of=type(run.worker).objects.filter(pk=run.worker.pk))

    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.status, run.restarts) == (Status.QUEUED, 0)
    assert other.status == Status.RUNNING


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"status": Status.RUNNING}, "run_active_has_worker_and_lease"),
        ({"status": Status.COMPLETED}, "run_finished_has_time"),
        ({"finished_at": timezone.now()}, "run_finished_has_time"),
        ({"status": Status.FAILED, "finished_at": timezone.now()}, "run_failed_has_reason"),
    ],
)
def test_the_database_refuses_impossible_states(fields: dict[str, object], rule: str) -> None:
    run = make_run()

    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(**fields)


def test_a_queued_run_says_why_it_waits() -> None:
    first, second = make_experiment(seeds=[0, 1]).entries.get(kind="generator").runs.all()

    nobody = "no worker is online for the queue gpu"
    assert first.waiting_for == f"{nobody}; next in the queue"
    make_worker(alive=False)
    assert first.waiting_for == f"{nobody} for 1\xa0hour; next in the queue"
    worker = make_worker(order=Order.DRAIN)
    told = "every worker for the queue gpu was told to take no more jobs"
    assert second.waiting_for == f"{told}; 1 ahead"
    Worker.objects.filter(pk=worker.pk).update(order="")
    assert first.waiting_for == "next in the queue"
    assert second.waiting_for == "waiting for a free worker, 1 ahead"


def test_a_run_that_needs_memory_waits_for_a_worker_that_has_it() -> None:
    run = make_run(memory_gb=24)
    small = make_worker(memory_bytes=16 * 10**9)
    large = make_worker(memory_bytes=24_564 * 2**20)  # what a card of 24 GB says
    Worker.objects.filter(pk=large.pk).update(order=Order.DRAIN)

    told = "every worker with 24 GB of memory for the queue gpu was told to take no more jobs"
    assert run.waiting_for == f"{told}; next in the queue"
    assert lifecycle.claim_next("gpu", small) is None
    Worker.objects.filter(pk=large.pk).delete()
    nobody = "no worker with 24 GB of memory is online for the queue gpu"
    assert run.waiting_for == f"{nobody}; next in the queue"
    large = make_worker(memory_bytes=24_564 * 2**20)
    assert run.waiting_for == "next in the queue"
    assert lifecycle.claim_next("gpu", large) == run


def test_a_broker_that_is_down_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run()
    nobody = Celery(broker="redis://127.0.0.1:1/0", set_as_current=False)
    monkeypatch.setattr(lifecycle, "current_app", nobody)

    lifecycle.ring(run)

    run.refresh_from_db()
    assert run.status == Status.QUEUED
    assert "the broker did not take the message" in caplog.text


class TestAnyOrderOfCalls(TestCase):
    """Whatever happens in whatever order, a row stays in a state that the rules allow."""

    @hypothesis_settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.sampled_from(["claim", "beat", "complete", "fail", "cancel", "confirm", "lapse"])
            | st.sampled_from(["retry", "requeue"]),
            max_size=15,
        )
    )
    def test_finished_is_final_until_a_retry(self, calls: list[str]) -> None:
        run = make_run()
        worker = make_worker()
        held: Run | None = None
        for call in calls:
            before = Run.objects.get(pk=run.pk)
            if call == "claim":
                held = lifecycle.claim(Run, run.pk, worker) or held
            elif call == "cancel":
                lifecycle.cancel(before, by="ada")
            elif call == "retry":
                lifecycle.retry(before, by="ada")
            elif call == "requeue":
                lifecycle.requeue_lost()
            elif call == "lapse" and before.is_active:
                let_lease_lapse(before)
            elif held is not None:
                write(held, call)
            after = Run.objects.get(pk=run.pk)
            assert after.attempt >= before.attempt
            if before.is_finished and call != "retry":
                assert after.status == before.status
        claims = JobEvent.objects.filter(job_type="run", job_id=run.pk, kind="claimed").count()
        assert claims == Run.objects.get(pk=run.pk).attempt


def write(run: Run, call: str) -> None:
    try:
        if call == "beat":
            lifecycle.beat(run, images_seen=1)
        elif call == "complete":
            lifecycle.complete(run)
        elif call == "fail":
            lifecycle.fail(run, "reason")
        elif call == "confirm":
            lifecycle.confirm_cancel(run)
    except lifecycle.StaleAttempt:
        pass


def test_nothing_is_claimed_while_the_site_is_paused() -> None:
    run, worker = make_run(), make_worker()

    assert lifecycle.pause(by="ada")
    assert not lifecycle.pause(by="grace")
    paused = lifecycle.claim_next("gpu", worker)
    run.refresh_from_db()
    waiting = run.waiting_for
    assert lifecycle.resume()
    assert not lifecycle.resume()

    assert paused is None
    assert waiting.startswith("the site is paused by ada")
    assert lifecycle.claim_next("gpu", worker) is not None
