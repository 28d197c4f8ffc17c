"""A bell is answered at once: the job is claimed first, what does it is loaded afterwards."""

from collections.abc import Mapping

import pytest

from experiments import tasks
from experiments.models import Run
from jobs import lifecycle
from jobs.execution import Work
from jobs.models import Job, Status
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def test_a_job_is_claimed_before_what_does_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = make_run(), []

    def load() -> Mapping[type[Job], Work]:
        seen.append(Run.objects.get(pk=run.pk).status)
        return {Run: lambda job, _: lifecycle.complete(job)}

    monkeypatch.setattr(tasks, "_works", load)
    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert (seen, run.status) == ([Status.RUNNING], Status.COMPLETED)


def test_a_process_that_can_load_nothing_leaves_jobs_to_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Mapping[type[Job], Work]:
        raise ImportError("libtorch.so: no such file")

    monkeypatch.setattr(tasks, "_works", load)
    run = make_run()
    try:
        tasks._load_ahead()
        with pytest.raises(ImportError, match="libtorch"):
            tasks.train_run(run.pk)
    finally:
        tasks._cannot_load.clear()

    run.refresh_from_db()
    assert (run.status, run.attempt) == (Status.QUEUED, 0)
    assert "this worker can do no job" in caplog.text
