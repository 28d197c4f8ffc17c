"""What Prometheus reads: who may, and whether the numbers are the rows'."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from accounts.models import Role
from experiments.models import Run
from jobs import lifecycle, tally
from jobs.models import JobEvent, Status
from tests import factories
from tests.site import Site

pytestmark = pytest.mark.django_db
TOKEN = "a token of Prometheus"  # noqa: S105  # of this test alone
ASK = f"""
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.test import Client
response = Client(SERVER_NAME="localhost").get("/metrics", HTTP_AUTHORIZATION="Bearer {TOKEN}")
print(response.status_code, response.text, end="")
"""


@pytest.fixture(autouse=True)
def token(settings: Settings) -> str:
    settings.METRICS_TOKEN = TOKEN
    return TOKEN


def scrape(client: Client) -> dict[str, float]:
    """Return every sample as Prometheus would name it."""
    response = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}"])
def test_without_the_token_a_visitor_reads_nothing(client: Client, header: str) -> None:
    response = client.get("/metrics", headers={"authorization": header})

    assert response.status_code == 403
    assert "trilemma_" not in response.text


def test_an_empty_token_opens_nothing(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = ""

    for header in ("Bearer", "Bearer "):
        assert client.get("/metrics", headers={"authorization": header}).status_code == 403


def test_admins_read_and_other_accounts_do_not(client: Client) -> None:
    client.force_login(factories.make_user())
    assert client.get("/metrics").status_code == 403

    client.force_login(factories.make_user(role=Role.ADMIN))
    assert client.get("/metrics").status_code == 200


def test_the_token_opens_a_closed_site(client: Client, settings: Settings) -> None:
    settings.PUBLIC_READ = False

    assert scrape(client)
    assert client.get("/metrics").status_code == 403


def test_an_empty_site_says_zero_rather_than_nothing(client: Client) -> None:
    found = scrape(client)

    assert found["trilemma_jobs{kind=run,status=queued}"] == 0
    assert found["trilemma_queue_depth{kind=evaluation,queue=gpu}"] == 0
    assert found["trilemma_queue_oldest_seconds{kind=evaluation,queue=gpu}"] == 0
    assert found["trilemma_job_events_total{event=lost,kind=sampleset}"] == 0
    assert (
        "trilemma_job_events_total{event=lost,kind=question}" not in found
    )  # its lines are deleted
    assert found["trilemma_workers_known"] == found["trilemma_workers_alive"] == 0


def test_waiting_jobs_are_counted_by_queue_and_kind_with_the_age_of_the_oldest(
    client: Client,
) -> None:
    factories.make_experiment(seeds=[0, 1, 2])  # and four controls, whose images anybody makes
    oldest = Run.objects.filter(seed=1)
    oldest.update(queued_at=timezone.now() - timedelta(hours=2))

    found = scrape(client)

    assert found["trilemma_queue_depth{kind=run,queue=gpu}"] == 3
    assert found["trilemma_queue_depth{kind=run,queue=default}"] == 0
    assert found["trilemma_queue_depth{kind=sampleset,queue=default}"] == 4
    age = found["trilemma_queue_oldest_seconds{kind=run,queue=gpu}"]
    assert 7200 <= age < 7260
    assert found["trilemma_queue_oldest_seconds{kind=sampleset,queue=default}"] < 60


def tell(run: Run, *lines: tuple[str, float]) -> None:
    """Add lines to a run's timeline: what happened, and how many seconds after an hour ago."""
    begin = timezone.now() - timedelta(hours=1)
    JobEvent.objects.bulk_create(
        JobEvent(job_type="run", job_id=run.pk, kind=kind, at=begin + timedelta(seconds=at))
        for kind, at in lines
    )


def test_jobs_are_counted_by_status_and_their_durations_by_outcome(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (5, 100, 7200):
        tell(
            factories.make_run(status=Status.COMPLETED),
            *(("queued", 0), ("claimed", 10), ("checkpoint", 11), ("completed", 10 + seconds)),
        )
    tell(factories.make_run(status=Status.FAILED), ("claimed", 0), ("failed", 0.5), ("queued", 9))
    tell(Run.objects.latest("pk"), ("cancelled", 3000))  # while it waited: it took no time
    factories.make_run(status=Status.RUNNING)

    found = scrape(client)

    assert found["trilemma_jobs{kind=run,status=completed}"] == 3
    assert found["trilemma_jobs{kind=run,status=failed}"] == 1
    name, labels = "trilemma_job_duration_seconds", "kind=run"
    by_bound = [
        found[f"{name}_bucket{{{labels},le={bound},outcome=completed}}"]
        for bound in ("1", "10", "60", "300", "14400", "+Inf")
    ]
    assert by_bound == [0, 1, 1, 2, 3, 3]
    assert found[f"{name}_sum{{{labels},outcome=completed}}"] == 7305
    assert found[f"{name}_count{{{labels},outcome=failed}}"] == 1
    assert not any("outcome=cancelled" in key for key in found)
    monkeypatch.setattr(tally, "MANY", 0)  # counted for good from here on, in several batches
    monkeypatch.setattr(tally, "BATCH", 2)
    assert of_timelines(scrape(client)) == of_timelines(found)
    JobEvent.objects.filter(at__lt=timezone.now() - timedelta(minutes=30)).delete()
    assert of_timelines(scrape(client)) == of_timelines(found), "what was counted stays so"


def of_timelines(found: dict[str, float]) -> dict[str, float]:
    names = ("trilemma_job_duration", "trilemma_job_events")
    return {key: value for key, value in found.items() if key.startswith(names)}


def test_outcomes_are_counted_for_ever_even_when_a_job_is_tried_again(client: Client) -> None:
    run = lifecycle.claim(Run, factories.make_run().pk, factories.make_worker())
    assert run
    lifecycle.fail(run, "out of memory")
    lifecycle.retry(run, by="ada")

    found = scrape(client)

    assert found["trilemma_jobs{kind=run,status=failed}"] == 0
    assert found["trilemma_job_events_total{event=failed,kind=run}"] == 1
    assert found["trilemma_job_events_total{event=queued,kind=run}"] == 2


def test_a_job_cancelled_before_anybody_claimed_it_has_no_duration(client: Client) -> None:
    lifecycle.cancel(factories.make_run(), by="ada")

    found = scrape(client)

    assert found["trilemma_jobs{kind=run,status=cancelled}"] == 1
    assert not any("duration" in name and "cancelled" in name for name in found)


def test_workers_are_known_and_alive(client: Client) -> None:
    factories.make_worker()
    factories.make_worker(alive=False)

    found = scrape(client)

    assert (found["trilemma_workers_known"], found["trilemma_workers_alive"]) == (2, 1)


def test_requests_are_measured_by_view_and_class_of_status(client: Client) -> None:
    def count(view: str, status: str) -> float:
        labels = f"pid={os.getpid()},status={status},view={view}"
        name = f"trilemma_http_request_duration_seconds_count{{{labels}}}"
        return scrape(client).get(name, 0)

    cases = [
        ("/datasets/", "datasets", "2xx"),
        ("/datasets/none/", "dataset", "4xx"),
        ("/nowhere/", "unmatched", "4xx"),
    ]

    for path, view, status in cases:
        before = count(view, status)
        client.get(path)
        assert count(view, status) == before + 1, path


def test_a_scrape_asks_the_same_few_questions_however_many_jobs_there_are(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        factories.make_experiment(seeds=[0, 1, 2])

    with django_assert_max_num_queries(17):  # three for each kind of job
        scrape(client)


def test_a_database_that_does_not_answer_is_said_without_its_address(data_dir: Path) -> None:
    address = "postgres://trilemma:hunter2@127.0.0.1:1/trilemma"
    site = Site(data_dir, DATABASE_URL=address, METRICS_TOKEN=TOKEN)

    answer = site.run("-c", ASK)

    assert answer.stdout == "503 the database does not answer\n"
    assert "hunter2" not in answer.stderr
