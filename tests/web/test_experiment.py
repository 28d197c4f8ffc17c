"""The page of an experiment: what it counts, and that it loads no more than it shows."""

from collections import Counter
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.comparison import ExperimentJobs, contenders
from experiments.models import Experiment, Run
from experiments.overview import EXPERIMENT_OF, JobCounts, describe
from jobs.models import Status
from tests import factories
from tests.web import html, scenes
from web.experiment import MOST_FAILED, MOST_ROWS

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


@pytest.mark.parametrize("status", [Status.FAILED, Status.QUEUED])
def test_jobs_that_failed_or_wait_are_named_in_a_question_for_each_kind(status: Status) -> None:
    found = scenes.finished_comparison(seeds=1).experiment
    ended = timezone.now() if status == Status.FAILED else None
    for kind in EXPERIMENT_OF:
        kind._default_manager.update(status=status, reason="x" * bool(ended), finished_at=ended)
    experiment = Experiment.objects.prefetch_related("entries").get(pk=found.pk)
    counts = JobCounts.of(experiment)

    with CaptureQueriesContext(connection) as asked:
        waiting = counts.next_waiting()
        named = [describe(waiting)] if waiting else counts.failed(most=100)
        links = {work.url for work in named if work.entry.label}

    assert len(named) == (counts.statuses.total() if status == Status.FAILED else 1)
    assert links and len(asked) == len(EXPERIMENT_OF)


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


def boards(page: html.Element) -> list[str]:
    """Return whose boards a page shows, by their fingerprints."""
    return [each.attributes["data-fingerprint"] for each in page.all("table", class_name="ranking")]


def test_small_boards_of_an_experiment_are_shown_at_once(client: Client) -> None:
    experiment = scenes.with_two_boards(entries=2)

    page = html.get(client, experiment.get_absolute_url())

    assert boards(page) == [each.fingerprint for each in experiment.protocols.all()]
    assert page.all("div", hx_trigger="near") == []


def test_large_boards_come_one_by_one_each_also_by_its_own_address(client: Client) -> None:
    experiment = scenes.with_two_boards(entries=MOST_ROWS)
    first, second = experiment.protocols.all()
    address = f"{experiment.get_absolute_url()}?sort=-fd&columns=all"

    page = html.get(client, address)
    later = page.one("div", hx_trigger="near")
    link = later.one("p", class_name="board-wait").one("a").attributes["href"]
    part = html.get(client, later.attributes["hx-get"])
    alone = html.get(client, experiment.get_absolute_url() + link)

    assert boards(page) == [first.fingerprint]
    assert boards(part) == boards(alone) == [second.fingerprint]
    for shown in (part, alone):  # in the same order, and its links lead back to it
        head = next(each for each in shown.all("th") if "aria-sort" in each.attributes)
        assert "worst first" in head.text
        assert f"protocol={second.short}" in head.all("a")[0].attributes["href"]
    back = alone.one("div", hx_trigger="near")
    assert boards(html.get(client, back.attributes["hx-get"])) == [first.fingerprint]
    page.one("div", id=f"board-{second.short}")
    assert link.endswith(f"#board-{second.short}")


def test_a_board_that_an_experiment_has_not_is_not_found(client: Client) -> None:
    experiment = scenes.with_two_boards(entries=1)
    stranger = factories.make_protocol()

    for address in (experiment.get_absolute_url(), f"/experiments/{experiment.pk}/live/boards/"):
        html.get(client, f"{address}?protocol={stranger.short}", status=404)


def test_another_seed_keeps_what_else_was_chosen(client: Client) -> None:
    experiment = scenes.with_two_boards(entries=MOST_ROWS)
    second = experiment.protocols.all()[1]
    Experiment.objects.filter(pk=experiment.pk).update(seeds=[0, 1])
    chosen = f"sort=fd&protocol={second.short}&columns=fd&page=2"

    page = html.get(client, f"{experiment.get_absolute_url()}?seed=0&{chosen}")

    links = [a.attributes["href"] for a in page.one("nav", aria_label="Training seed").all("a")]
    shown = [dict(parse_qsl(urlsplit(link).query)) for link in links]
    assert [each.pop("seed") for each in shown] == ["0", "1"]
    assert shown == [dict(parse_qsl(chosen))] * 2
