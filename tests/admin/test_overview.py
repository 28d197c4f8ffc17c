"""The admin's first page, its lists, and rows that are shown as tables."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Role
from jobs import lifecycle
from jobs.models import Status
from tests import factories
from tests.web import html


@pytest.mark.django_db
def test_the_first_page_says_what_waits_who_works_and_what_failed(
    admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    worker = factories.make_worker(name="celery@gpu-7", queues=["gpu"])
    failed = factories.make_run(status=Status.RUNNING, worker=worker)
    lifecycle.fail(failed, "the loss is not finite")
    factories.make_run()

    with django_assert_max_num_queries(30):
        page = html.read(admin.get("/admin/").content.decode())

    shown = page.one(class_name="dashboard")
    assert "1 in gpu; 0 running" in shown.text
    assert "1 online of 1 known" in shown.text
    links = {link.text: link.attributes["href"] for link in shown.all("a")}
    assert links["celery@gpu-7"] == f"/admin/jobs/worker/{worker.pk}/change/"
    assert links[str(failed)] == f"/admin/experiments/run/{failed.pk}/change/"
    assert "the loss is not finite" in shown.text and "free of" in shown.text


@pytest.mark.django_db
def test_a_retried_job_is_no_failure_any_more(admin: Client) -> None:
    run = factories.make_run(status=Status.RUNNING)
    lifecycle.fail(run, "the disk is full")
    assert "the disk is full" in admin.get("/admin/").content.decode()

    lifecycle.retry(run, by="ada")

    assert "No job has failed." in admin.get("/admin/").content.decode()


@pytest.mark.django_db
def test_lists_are_named_in_our_words_for_who_may_read_them(admin: Client) -> None:
    submitter = Client()
    submitter.force_login(factories.make_user(role=Role.SUBMITTER))

    everything = admin.get("/admin/").content.decode()
    little = submitter.get("/admin/").content.decode()

    assert "API tokens" in everything and "Knox" not in everything
    assert "Select API token to change" in admin.get("/admin/knox/authtoken/").content.decode()
    assert "API tokens" not in little and "Audit trail" not in little and "Runs" in little


@pytest.mark.django_db
def test_an_experiment_shows_its_configurations_as_tables_and_links(admin: Client) -> None:
    experiment = factories.make_experiment(seeds=[0, 7])
    factories.make_run(entry=factories.contenders_of(experiment)[0])

    text = admin.get(f"/admin/experiments/experiment/{experiment.pk}/change/").content.decode()

    assert "0, 7" in text and "<pre>{" not in text
    entry = factories.contenders_of(experiment)[0]
    name, value = next((n, v) for n, v in entry.config.items() if isinstance(v, int))
    assert f'<th scope="row">{name}</th><td>{value}</td>' in text
