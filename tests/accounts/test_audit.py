"""The audit trail: who submitted, cancelled, retried, ordered and changed what."""

import pytest
from django.test import Client

from accounts.models import AuditEvent, Role, User
from experiments import services
from experiments.models import Run
from jobs.models import Order, Worker
from tests import factories
from tests.static import static_root

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return factories.make_user(username="ada", role=Role.ADMIN)


@pytest.fixture
def client_of_ada(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def trail() -> list[tuple[str, str, str, str]]:
    """Return actor, action, kind and name of every deed after the first submission."""
    fields = ("actor_name", "action", "kind", "object_name")
    return list(AuditEvent.objects.order_by("pk").values_list(*fields)[1:])


def last() -> AuditEvent:
    event = AuditEvent.objects.first()
    assert event
    return event


def test_submitting_cancelling_and_retrying_are_remembered(ada: User) -> None:
    data = factories.experiment_data(protocol=factories.make_protocol(), name="first")
    experiment = services.submit_data(data, user=ada)

    services.cancel_experiment(experiment, user=ada)
    services.retry_experiment(experiment, user=None)

    assert str(AuditEvent.objects.last()) == "ada submitted experiment first"
    assert trail() == [
        ("ada", "cancelled", "experiment", "first"),
        ("command line", "retried", "experiment", "first"),
    ]
    assert AuditEvent.objects.order_by("pk")[1].detail == "5 jobs"  # a run and four controls


def test_a_job_says_who_cancelled_and_who_retried_it(client_of_ada: Client) -> None:
    run = factories.make_run()

    client_of_ada.post(f"/jobs/run/{run.pk}/cancel/")
    cancelled = Run.objects.get(pk=run.pk).reason
    client_of_ada.post(f"/jobs/run/{run.pk}/retry/")

    assert cancelled == "cancelled by ada while queued"
    assert [event.message for event in run.events][1:] == ["by ada while queued", "retried by ada"]
    assert trail() == [("ada", "cancelled", "run", str(run)), ("ada", "retried", "run", str(run))]


def test_what_changed_nothing_is_no_deed(ada: User) -> None:
    run = factories.make_run(status="completed")

    assert not services.cancel_job(run, user=ada)
    assert not services.retry_job(run, user=ada)

    assert trail() == []


def test_what_workers_are_told_is_remembered(client_of_ada: Client) -> None:
    worker = factories.make_worker()

    client_of_ada.post("/admin/jobs/worker/", {"action": "drain", "_selected_action": [worker.pk]})

    assert Worker.objects.get().order == Order.DRAIN
    assert str(last()) == f"ada ordered worker {worker.name}"
    assert last().detail == "to finish their jobs and take no more"


def test_a_new_role_is_remembered(client_of_ada: Client) -> None:
    grace = factories.make_user(username="grace", role=Role.VIEWER)
    form = {"username": "grace", "role": Role.SUBMITTER, "is_active": "on"}
    dates = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}

    client_of_ada.post(f"/admin/accounts/user/{grace.pk}/change/", form | dates)

    grace.refresh_from_db()
    assert grace.role == Role.SUBMITTER
    event = last()
    assert (event.action, event.object_name) == ("changed", "grace")
    assert "now submitter" in event.detail


def test_the_trail_outlives_the_account(ada: User) -> None:
    services.cancel_job(factories.make_run(), user=ada)

    ada.delete()

    event = last()
    assert (event.actor, event.actor_name) == (None, "ada")


def test_nobody_changes_the_trail_in_the_admin(client_of_ada: Client, ada: User) -> None:
    services.cancel_job(factories.make_run(), user=ada)
    event = last()
    address = f"/admin/accounts/auditevent/{event.pk}"

    client_of_ada.post(f"{address}/change/", {"actor_name": "grace"})
    client_of_ada.post(f"{address}/delete/", {"post": "yes"})

    assert last().actor_name == "ada"
    assert "ada" in client_of_ada.get("/admin/accounts/auditevent/").content.decode()
