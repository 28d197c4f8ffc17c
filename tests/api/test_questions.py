"""Asking over REST: the same checks as on the page."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from experiments.models import Experiment, Question
from jobs.models import Status
from tests import factories

TEXT = "a red shape"  # the first of the packaged prompts


@pytest.fixture
def experiment(db: None) -> Experiment:
    experiment = factories.make_scenes_experiment()
    entry = factories.contenders_of(experiment)[0]
    factories.make_checkpoint(run=factories.make_run(entry=entry, status=Status.COMPLETED))
    return experiment


def asking(experiment: Experiment, **changes: Any) -> dict[str, Any]:
    return {"experiment": experiment.pk, "text": TEXT, **changes}


def test_a_question_is_queued_and_can_be_followed(
    writer: APIClient, user: User, experiment: Experiment
) -> None:
    response = writer.post("/api/questions/", asking(experiment, images=3, first_seed=4))

    assert response.status_code == 201, response.json()
    question = Question.objects.get()
    assert (question.created_by, question.status) == (user, Status.QUEUED)
    assert response["Location"] == f"http://testserver/api/questions/{question.pk}/"
    shown = writer.get(response["Location"]).json()
    assert shown == response.json()
    assert (shown["seeds"], shown["status"], shown["sheet"]) == ([4, 5, 6], "queued", None)
    assert (shown["entries_done"], shown["entries_total"]) == (0, 1)


def test_answers_are_read_by_anyone(anyone: APIClient, db: None) -> None:
    question = factories.make_question(status=Status.COMPLETED)

    shown = anyone.get(f"/api/questions/{question.pk}/").json()

    first, second = shown["answers"]
    assert first["images"][0] == {"seed": 7, "read": "a small red circle", "follows": True}
    assert first["images"][1]["read"] is None
    assert second["error"] == "weights are lost"
    sheet = anyone.get(shown["sheet"])
    assert (sheet.status_code, sheet["Content-Type"]) == (200, "image/png")
    sheet.close()
    listed = anyone.get("/api/questions/", {"experiment": question.experiment_id}).json()
    assert [each["id"] for each in listed["results"]] == [question.pk]


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"text": "a purple shape"}, "text", "it does not know 'purple'"),
        ({"images": 99}, "images", "expected a whole number of 1 to 8, got 99"),
        ({"experiment": 10**30}, "experiment", "expected an experiment's id"),
        ({"experiment": "x"}, "experiment", "expected an experiment's id, got 'x'"),
        ({"guidance": 3}, "guidance", "unknown field"),
    ],
)
def test_what_is_wrong_is_refused_at_its_field(
    writer: APIClient, experiment: Experiment, changes: dict[str, Any], field: str, message: str
) -> None:
    response = writer.post("/api/questions/", asking(experiment) | changes)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert message in response.json()["errors"][field]
    assert not Question.objects.exists()


def test_who_asks_too_much_is_told_so(
    writer: APIClient, experiment: Experiment, settings: Settings
) -> None:
    settings.QUESTIONS_UNFINISHED = 1
    assert writer.post("/api/questions/", asking(experiment)).status_code == 201

    response = writer.post("/api/questions/", asking(experiment))

    assert response.status_code == 429
    assert response.json()["detail"].startswith("1 question of yours may wait")


def test_strangers_and_viewers_ask_nothing(anyone: APIClient, experiment: Experiment) -> None:
    assert anyone.post("/api/questions/", asking(experiment)).status_code == 401
    anyone.force_authenticate(factories.make_user(role=Role.VIEWER))
    assert anyone.post("/api/questions/", asking(experiment)).status_code == 403
    assert not Question.objects.exists()


def test_only_who_asked_and_admins_cancel(anyone: APIClient, experiment: Experiment) -> None:
    ada = factories.make_user()
    question = factories.make_question(experiment=experiment, user=ada)
    address = f"/api/questions/{question.pk}/cancel/"
    anyone.force_authenticate(factories.make_user())
    assert anyone.post(address).status_code == 403

    anyone.force_authenticate(ada)
    assert anyone.post(address).json()["status"] == "cancelled"
    assert anyone.post(address).status_code == 409
    assert anyone.post(f"/api/questions/{question.pk}/retry/").status_code == 404
