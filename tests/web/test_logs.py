"""Logs of a run's jobs on its page and over REST: a tail that follows, for those who may read it."""

import pytest
from django.test import Client

from accounts.models import Role
from experiments.models import Run
from experiments.pages import logs
from experiments.work_logs import Attempt
from jobs.models import Status
from operations import garbage
from tests import factories
from tests.web import html

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    """Return a run at work whose second attempt has a log."""
    run = factories.make_run(status=Status.RUNNING)
    run.entry.experiment.created_by = factories.make_user()
    run.entry.experiment.save()
    factories.make_log(run, "what the first attempt said\n")
    run.attempt = 2
    run.save()
    factories.make_log(run, "".join(f"line {number}\n" for number in range(300)))
    return run


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def part(run: Run) -> str:
    return f"{run.get_absolute_url()}live/log/"


def test_a_runs_page_has_the_end_of_its_newest_log_folded_and_all_of_them_as_text(
    admin: Client, run: Run
) -> None:
    page = html.get(admin, run.get_absolute_url())

    fold = page.one("details", class_name="log")
    assert "open" not in fold.attributes
    shown = fold.one("pre").text.split()
    assert shown[-1] == "299" and shown.count("line") == logs.TAIL_LINES
    assert "Training, attempt 2: its newest lines" in fold.text
    base = f"/jobs/run/{run.pk}/log.txt?attempt="
    assert [(link.attributes["href"], link.text) for link in fold.all("a")] == [
        (f"{base}2", "The log as text"),
        (f"{base}2", "Training, attempt 2"),
        (f"{base}1", "Training, attempt 1"),
    ]
    assert admin.get(f"{base}1").content == b"what the first attempt said\n"


def test_the_tail_is_asked_for_while_a_job_is_at_work_and_not_sent_twice(
    admin: Client, run: Run
) -> None:
    first = html.get(admin, part(run)).one("div", class_name="live").attributes["hx-get"]

    assert admin.get(first).status_code == 204
    with Attempt(run, 2).path.open("a") as file:
        file.write("one more\n")
    assert b"one more" in admin.get(first).content

    factories.make_run(entry=run.entry, status=Status.COMPLETED)
    assert "hx-get" not in html.get(admin, part(run)).one("div", class_name="live").attributes


def test_a_log_is_of_its_owner_and_admins_alone(client: Client, run: Run) -> None:
    rest = f"/api/v1/runs/{run.pk}/log/"
    for account, status in ((None, 302), (factories.make_user(), 403)):
        if account:
            client.force_login(account)
        page = html.get(client, run.get_absolute_url())
        assert "line 299" not in page.text and page.all("details", class_name="log") == []
        assert client.get(part(run)).status_code == 404
        assert client.get(f"/jobs/run/{run.pk}/log.txt").status_code == status
        assert client.get(rest).status_code == (403 if account else 401)
    assert "only who submitted it and admins" in client.get(rest).json()["detail"]

    owner = run.entry.experiment.created_by
    assert owner
    client.force_login(owner)
    assert "line 299" in html.get(client, run.get_absolute_url()).text
    assert client.get(rest).status_code == 200


def test_over_rest_a_log_is_plain_text_of_one_attempt(admin: Client, run: Run) -> None:
    address = f"/api/v1/runs/{run.pk}/log/"

    newest, first = admin.get(address), admin.get(f"{address}?attempt=1")

    assert newest.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert newest.headers["Cache-Control"] == "private, no-store"
    assert newest.headers["X-Content-Type-Options"] == "nosniff"
    assert newest.content.endswith(b"line 299\n")
    assert first.content == b"what the first attempt said\n"
    for wrong in ("3", "0", "x", "-1"):
        answer = admin.get(f"{address}?attempt={wrong}")
        assert (answer.status_code, answer.json()["detail"]) == (404, logs.NOT_THERE)
    assert admin.get(f"{address}?try=1").status_code == 400


def test_what_is_in_a_log_is_text_on_the_page(admin: Client, run: Run) -> None:
    factories.make_log(run, "<script>alert(1)</script> {{ x }}\n")

    page = html.get(admin, run.get_absolute_url())

    assert page.one("details", class_name="log").one("pre").text == (
        "<script>alert(1)</script> {{ x }}"
    )


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.RUNNING, "of the samples"),
        (Status.FAILED, "of the samples"),
        (Status.COMPLETED, "of the training"),
    ],
)
def test_what_is_at_work_or_failed_is_shown_before_the_training_and_all_are_listed(
    admin: Client, status: str, shown: str
) -> None:
    run = factories.make_run(status=Status.COMPLETED)
    drawn = factories.make_sample_set(run=run, status=status)
    for job, text in ((run, "of the training"), (drawn, "of the samples")):
        factories.make_log(job, text)

    fold = html.get(admin, run.get_absolute_url()).one("details", class_name="log")

    assert fold.one("pre").text == shown
    assert len(fold.all("li")) == 2


def test_a_run_without_a_log_says_so(admin: Client) -> None:
    queued, old = factories.make_run(), factories.make_run(status=Status.COMPLETED)

    assert "no worker has it" in html.get(admin, part(queued)).text
    assert "No log is kept of it." in html.get(admin, part(old)).text
    assert admin.get(f"/jobs/run/{old.pk}/log.txt").status_code == 404
    assert admin.get(f"/jobs/viewing/{old.pk}/log.txt").status_code == 404


def test_a_log_goes_with_its_experiment_and_stays_until_then(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "YOUNG_SECONDS", -10)
    names = {f"logs/run/{run.pk}-{attempt}.txt" for attempt in (1, 2)}
    assert not names & {name for name, _ in garbage.find()}

    run.entry.experiment.delete()

    assert names <= {name for name, _ in garbage.find()}
