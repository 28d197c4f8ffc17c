"""Queues and the audit trail over REST."""

import json
from typing import Any

from rest_framework.test import APIClient

from accounts.models import User
from experiments import services
from experiments.models import Evaluation
from experiments.uploads.models import Intake
from jobs import lifecycle
from jobs.models import Job, Status
from tests import factories


def test_a_queue_says_what_waits_and_why(
    anyone: APIClient, django_assert_max_num_queries: Any
) -> None:
    done = factories.make_sample_set()
    waiting = Evaluation.objects.create(
        sample_set=done, protocol=done.entry.experiment.protocols.get()
    )
    factories.make_experiment(seeds=range(60))
    run = factories.make_run(status=Status.QUEUED)

    with django_assert_max_num_queries(30):
        gpu, default = anyone.get("/api/v1/queues/").json()

    assert (gpu["queue"], default["queue"]) == ("gpu", "default")
    assert (gpu["waiting"], len(gpu["first"])) == (62, 50)
    first, second, *_ = gpu["first"]
    assert (first["job_type"], first["job_id"]) == ("evaluation", waiting.pk)
    assert second["job_type"] == "run"
    assert first["reason"] == waiting.waiting_for
    assert "no worker is online for the queue gpu" in second["reason"]
    assert second["reason"].endswith("1 ahead")
    lifecycle.pause(by="ada")
    factories.make_worker()
    (gpu, _) = anyone.get("/api/v1/queues/").json()
    assert gpu["workers"] == 1
    assert gpu["paused"].startswith("paused by ada")
    assert run.waiting_for.startswith(gpu["first"][-1]["reason"].split(";")[0])


def test_a_timeline_is_found_of_each_kind_of_job_but_what_was_handed_in(anyone: APIClient) -> None:
    viewing = factories.make_viewing()
    asked = {"viewing": viewing, "question": factories.make_question()}
    factories.make_intake()
    for kind, job in asked.items():
        answer = anyone.get("/api/v1/events/", {"job_type": kind, "job_id": job.pk}).json()

        assert {each["job_type"] for each in answer["results"]} == {kind}
        assert answer["count"] == job.events.count() > 0
    told = anyone.get("/api/v1/events/", {"job_type": "intake"}).json()["errors"]["job_type"]
    assert all(kind.type_name() in told for kind in Job.kinds() if kind is not Intake)
    rows = b"".join(anyone.get("/api/v1/events/?format=jsonl&job_type=viewing"))
    (line,) = [json.loads(row) for row in rows.splitlines()]
    run = viewing.run
    assert (line["experiment"], line["seed"]) == (run.entry.experiment_id, run.seed)


def test_admins_read_who_did_what(writer: APIClient, user: User, anyone: APIClient) -> None:
    experiment = factories.make_experiment(user=user)
    services.cancel_experiment(experiment, user=user)

    found = writer.get("/api/v1/audit/", {"kind": "experiment"}).json()["results"]

    assert [(each["actor"], each["action"]) for each in found] == [
        (user.username, "cancelled"),
        (user.username, "submitted"),
    ]
    assert writer.get("/api/v1/audit/", {"action": "deleted"}).json()["count"] == 0
    assert anyone.get("/api/v1/audit/").status_code == 401
