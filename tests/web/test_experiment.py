"""The page of an experiment: what it counts, and that it loads no more than it shows."""

from collections import Counter

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.comparison import ExperimentJobs, contenders
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


def test_a_page_that_shows_one_seed_loads_what_came_of_it_and_shows_the_same() -> None:
    for scene in (scenes.finished_comparison(failing=True), scenes.running_comparison()):
        experiment = scene.experiment
        whole = ExperimentJobs.of(experiment)

        for seed in experiment.seeds:
            jobs = ExperimentJobs.of(experiment, experiment.entries.all(), seed=seed)

            assert contenders(experiment, seed, jobs) == contenders(experiment, seed, whole)
            assert jobs.runs == whole.runs
            assert {each.run.seed for each in jobs.sample_sets if each.run} <= {seed}


def test_samples_and_runs_are_told_in_as_many_questions_whatever_the_entries() -> None:
    asked = []
    for labels in ("ab", "abcdef"):
        entries = [{"algorithm": "gan.sngan", "label": label} for label in labels]
        experiment = factories.make_experiment(entries=entries, seeds=(0, 1))
        for entry in factories.contenders_of(experiment):
            factories.make_scores(
                entry=entry, protocol=experiment.protocols.get(), values=[{"fd": 1.0}] * 2
            )
        with CaptureQueriesContext(connection) as queries:
            jobs = ExperimentJobs.of(experiment, list(experiment.entries.all()), seed=0)
            told = contenders(experiment, 0, jobs)
            assert [str(each.work.job) for each in told if each.work]
        assert set(labels) <= {each.entry.label for each in told if each.work}
        asked.append(len(queries))

    assert asked[0] == asked[1]
