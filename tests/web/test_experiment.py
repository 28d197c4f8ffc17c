"""The page of an experiment: what it counts, and that it loads no more than it shows."""

from collections import Counter

import pytest
from django.test import Client
from django.utils import timezone

from experiments.comparison import ExperimentJobs
from experiments.models import Run
from experiments.overview import JobCounts
from jobs.models import Status
from tests import factories
from tests.web import html, scenes
from web.experiment import MOST_FAILED

pytestmark = pytest.mark.django_db


def test_an_experiments_page_names_a_few_failed_jobs_and_says_how_many_there_are(
    client: Client,
) -> None:
    experiment = factories.make_experiment(seeds=range(MOST_FAILED + 2))
    Run.objects.update(status=Status.FAILED, reason="x", finished_at=timezone.now())

    page = html.get(client, f"/experiments/{experiment.pk}/live/standing/")

    assert len(page.all("li", class_name="failure")) == MOST_FAILED
    assert f"Showing {MOST_FAILED} of {MOST_FAILED + 2} failed jobs" in page.text


def test_jobs_are_counted_as_they_are_when_all_are_loaded() -> None:
    for scene in (scenes.finished_comparison(failing=True), scenes.running_comparison()):
        experiment = scene.experiment
        jobs, counts = ExperimentJobs.of(experiment).all, JobCounts.of(experiment)

        assert counts.statuses == Counter(job.status for job in jobs)
        assert counts.queues() == {job.queue for job in jobs if job.status == Status.QUEUED}
        failed = [job for job in jobs if job.status == Status.FAILED]
        assert [work.job for work in counts.failed(most=100)] == failed


def test_jobs_are_loaded_of_the_entries_that_are_shown() -> None:
    algorithms = ("gan.sngan", "vae.conv", "diffusion.flow")
    experiment = factories.make_experiment(algorithms=algorithms, seeds=(0, 1))
    trained = [entry for entry in experiment.entries.all() if entry.algorithm]

    jobs = ExperimentJobs.of(experiment, trained[:1])

    assert {run.entry for run in jobs.runs} == {trained[0]}
    assert len(jobs.runs) == 2 < Run.objects.count() == 6
