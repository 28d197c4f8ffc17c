"""Buttons: only for signed-in people, only by POST with a token, and they do what they say."""

import pytest
from django.test import Client

from accounts.models import Role
from experiments.models import Run
from jobs import presence
from jobs.models import Status
from tests import factories
from tests.web import html, scenes

pytestmark = pytest.mark.django_db


def buttons(page: html.Element) -> dict[str, str]:
    return {b.text: b.attributes["formaction"] for b in page.all("button", form="actions")}


@pytest.fixture
def somebody(client: Client) -> Client:
    client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def addresses() -> list[str]:
    scene = scenes.running_comparison()
    pk = scene.experiment.pk
    return [
        *(f"/experiments/{pk}/{action}/" for action in ("cancel", "retry")),
        *(f"/jobs/run/{scene.run.pk}/{action}/" for action in ("cancel", "retry")),
        f"/jobs/sampleset/{scene.sample_sets[0].pk}/cancel/",
        f"/jobs/evaluation/{scene.evaluations[0].pk}/cancel/",
    ]


def test_strangers_are_sent_to_the_login_and_nothing_changes(client: Client) -> None:
    for address in addresses():
        before = list(Run.objects.values_list("pk", "status"))

        response = client.post(address)

        assert response.status_code == 302, address
        assert response["Location"].startswith("/login/?next="), address
        assert list(Run.objects.values_list("pk", "status")) == before


def test_reading_an_actions_address_does_nothing(somebody: Client) -> None:
    for address in addresses():
        assert somebody.get(address).status_code == 405, address


def test_a_post_without_the_sites_token_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.make_user(role=Role.ADMIN))
    run = factories.make_run(status=Status.RUNNING)

    assert client.post(f"/jobs/run/{run.pk}/cancel/").status_code == 403
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_the_pages_own_token_is_accepted() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.make_user(role=Role.ADMIN))
    run = factories.make_run(status=Status.RUNNING)
    page = html.get(client, run.get_absolute_url())
    token = page.one("form", id="actions").one("input").attributes["value"]

    response = client.post(buttons(page)["Cancel"], {"csrfmiddlewaretoken": token})

    assert response.status_code == 302
    run.refresh_from_db()
    assert run.status == Status.CANCELLING


def test_strangers_see_no_buttons(client: Client) -> None:
    scene = scenes.running_comparison()

    for address in scenes.addresses(scene):
        assert buttons(html.get(client, address)) == {}


def test_a_run_is_cancelled_from_its_page_and_retried_from_its_page(somebody: Client) -> None:
    run = factories.make_run(status=Status.QUEUED)

    cancel = buttons(html.get(somebody, run.get_absolute_url()))
    assert list(cancel) == ["Cancel"]
    response = somebody.post(cancel["Cancel"], follow=True)
    assert response.redirect_chain == [(run.get_absolute_url(), 302)]
    page = html.read(html.body(response))
    assert f"{run}: cancelled." in page.one("ul", class_name="notices").text

    assert list(buttons(page)) == ["Retry"]
    page = html.read(html.body(somebody.post(buttons(page)["Retry"], follow=True)))
    assert f"{run}: queued again." in page.text
    run.refresh_from_db()
    assert run.status == Status.QUEUED


def test_a_running_job_is_asked_to_stop(somebody: Client) -> None:
    run = factories.make_run(status=Status.RUNNING)

    response = somebody.post(f"/jobs/run/{run.pk}/cancel/", follow=True)

    page = html.read(html.body(response))
    assert f"{run}: stops at its next beat." in page.text
    assert "cancelling" in page.one("div", class_name="run-status").text
    assert buttons(page) == {}


def test_what_is_finished_cannot_be_cancelled_and_says_so(somebody: Client) -> None:
    run = factories.make_run(status=Status.COMPLETED)

    for action, text in (
        ("cancel", "had nothing left to stop."),
        ("retry", "had not failed or been cancelled."),
    ):
        response = somebody.post(f"/jobs/run/{run.pk}/{action}/", follow=True)
        assert f"{run} {text}" in html.read(html.body(response)).text


def test_a_whole_experiment_is_cancelled_and_retried(somebody: Client) -> None:
    experiment = factories.make_experiment(seeds=[0, 1], algorithms=["gan.sngan", "vae.conv"])
    address = experiment.get_absolute_url()

    page = html.get(somebody, address)
    response = somebody.post(buttons(page)["Cancel all"], follow=True)
    page = html.read(html.body(response))
    assert "8 jobs cancelled or asked to stop." in page.text  # four runs and four controls
    assert {job.status for job in experiment.jobs()} == {Status.CANCELLED}

    response = somebody.post(buttons(page)["Retry what failed"], follow=True)
    assert "8 jobs queued again." in html.read(html.body(response)).text
    assert {job.status for job in experiment.jobs()} == {Status.QUEUED}


def test_a_failed_evaluation_is_retried_from_the_runs_page(somebody: Client) -> None:
    drawn = factories.make_sample_set(files=True)
    evaluation = factories.make_evaluation(sample_set=drawn, status=Status.FAILED)
    assert drawn.run is not None

    page = html.get(somebody, drawn.run.get_absolute_url())
    assert "out of memory" in page.text and "MemoryError" in page.text
    response = somebody.post(buttons(page)["Retry"])

    assert response["Location"] == drawn.run.get_absolute_url()
    evaluation.refresh_from_db()
    assert evaluation.status == Status.QUEUED


def test_a_failed_control_is_retried_from_the_experiments_page(somebody: Client) -> None:
    experiment = factories.make_experiment()
    control = factories.make_sample_set(
        entry=factories.control_of(experiment), status=Status.FAILED
    )

    page = html.get(somebody, experiment.get_absolute_url())
    response = somebody.post(buttons(page)["Retry"])

    assert response["Location"] == experiment.get_absolute_url()
    control.refresh_from_db()
    assert control.status == Status.QUEUED


def test_there_are_six_kinds_of_jobs(somebody: Client) -> None:
    text = html.body(somebody.post("/jobs/worker/1/cancel/"))

    assert "expected a kind of job (run, sampleset, evaluation, question, viewing, intake)" in text
    assert somebody.post("/jobs/run/999/retry/").status_code == 404


def test_an_admin_pauses_the_site_and_lets_it_go_on(somebody: Client) -> None:
    run = factories.make_run()

    page = html.get(somebody, "/workers/")
    page = html.read(html.body(somebody.post(buttons(page)["Pause all"], follow=True)))

    assert "The site is paused by" in page.text
    assert "The site is paused by" in html.get(somebody, run.get_absolute_url()).text
    page = html.read(html.body(somebody.post(buttons(page)["Go on"], follow=True)))
    assert "paused" not in page.text


def test_a_worker_of_another_version_is_flagged(client: Client) -> None:
    factories.make_worker(version="0.0.1")

    assert "0.0.1 not the site's" in html.get(client, "/workers/").text


def test_an_admin_removes_a_worker_that_is_gone_until_it_comes_back(somebody: Client) -> None:
    run = factories.make_run(status=Status.COMPLETED, worker=factories.make_worker(alive=False))
    gone, here = run.worker, factories.make_worker()
    assert gone is not None
    address = buttons(html.get(somebody, "/workers/"))["Remove"]

    assert gone.name not in html.body(somebody.post(address, follow=True))
    assert somebody.post(f"/workers/{here.pk}/remove/").status_code == 404

    presence.make_round(gone, idle=False)
    assert gone.name in html.get(somebody, "/workers/").text
