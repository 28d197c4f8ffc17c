"""Looking into trainings over REST: the same checks as on the page."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from experiments.models import Run, Viewing
from jobs.models import Status
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(db: None) -> Run:
    entry = factories.contenders_of(factories.make_experiment(algorithms=["diffusion.ddpm"]))[0]
    run = factories.make_run(entry=entry, status=Status.COMPLETED)
    factories.make_checkpoint(run=run)
    return run


def test_a_viewing_is_queued_and_asked_for_again_it_is_the_same(
    writer: APIClient, user: User, run: Run
) -> None:
    wanted = {"run": run.pk, "kind": "reverse", "first": 4, "told": "3"}

    response = writer.post("/api/viewings/", wanted)
    again = writer.post("/api/viewings/", wanted)

    assert response.status_code == 201, response.json()
    viewing = Viewing.objects.get()
    assert (viewing.created_by, viewing.status) == (user, Status.QUEUED)
    assert response["Location"] == f"http://testserver/api/viewings/{viewing.pk}/"
    shown = writer.get(response["Location"]).json()
    assert shown == response.json() == again.json() and again.status_code == 200
    assert (shown["first"], shown["told"], shown["facts"], shown["sheet"]) == (4, "3", {}, None)


def test_pictures_and_their_numbers_are_read_by_anyone(anyone: APIClient) -> None:
    viewing = factories.make_viewing(status=Status.COMPLETED)

    shown = anyone.get(f"/api/viewings/{viewing.pk}/").json()

    assert shown["facts"]["frames"][1]["alpha_bar"] == 0.5
    sheet = anyone.get(shown["sheet"])
    assert (sheet.status_code, sheet["Content-Type"]) == (200, "image/png")
    sheet.close()
    for query in ({"run": viewing.run_id}, {"kind": "reverse"}, {"status": "completed"}):
        listed = anyone.get("/api/viewings/", query).json()
        assert [each["id"] for each in listed["results"]] == [viewing.pk]
    assert anyone.get("/api/viewings/", {"kind": "noising"}).json()["results"] == []


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"kind": "verdict"}, "kind", "expected one of noising, reverse"),
        ({"first": -1}, "first", "expected a whole number"),
        ({"run": 10**30}, "run", "expected a run's id"),
        ({"run": "x"}, "run", "expected a run's id, got 'x'"),
        ({"guidance": 3}, "guidance", "unknown field"),
    ],
)
def test_what_is_wrong_is_refused_at_its_field(
    writer: APIClient, run: Run, changes: dict[str, Any], field: str, message: str
) -> None:
    response = writer.post("/api/viewings/", {"run": run.pk, "kind": "reverse"} | changes)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert message in response.json()["errors"][field]
    assert not Viewing.objects.exists()


def test_who_asks_too_much_is_told_so(writer: APIClient, run: Run, settings: Settings) -> None:
    settings.QUESTIONS_UNFINISHED = 1
    assert writer.post("/api/viewings/", {"run": run.pk, "kind": "reverse"}).status_code == 201

    response = writer.post("/api/viewings/", {"run": run.pk, "kind": "noising"})

    assert response.status_code == 429
    assert response.json()["detail"].startswith("1 question of yours may wait")


def test_strangers_and_viewers_ask_nothing(anyone: APIClient, run: Run) -> None:
    assert anyone.post("/api/viewings/", {"run": run.pk, "kind": "reverse"}).status_code == 401
    anyone.force_authenticate(factories.make_user(role=Role.VIEWER))
    assert anyone.post("/api/viewings/", {"run": run.pk, "kind": "reverse"}).status_code == 403
    assert not Viewing.objects.exists()


def test_only_who_asked_and_admins_cancel(anyone: APIClient) -> None:
    ada = factories.make_user()
    viewing = factories.make_viewing(user=ada)
    address = f"/api/viewings/{viewing.pk}/cancel/"
    anyone.force_authenticate(factories.make_user())
    assert anyone.post(address).status_code == 403

    anyone.force_authenticate(ada)
    assert anyone.post(address).json()["status"] == "cancelled"
    assert anyone.post(address).status_code == 409
