"""Lists of REST are read in their order from an index: no part of a long table is sorted for a page."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from jobs.models import JobEvent, Status
from tests import factories

pytestmark = pytest.mark.django_db
ADDRESSES = [
    "events/",
    "events/?kind=completed",
    *(f"{kind}/?status=completed" for kind in ("runs", "samplesets", "evaluations")),
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_the_newest_are_read_from_an_index(anyone: APIClient, address: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert anyone.get(f"/api/v1/{address}").status_code == 200

    (sql,) = [q["sql"] for q in asked if re.search(r"ORDER BY .* LIMIT \d+$", q["sql"])]
    assert "TEMP B-TREE FOR ORDER BY" not in plan(sql)


@pytest.mark.parametrize("address", ["events/", "events/?kind=completed"])
@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_lines_of_timelines_are_counted_without_reading_them(
    anyone: APIClient, address: str
) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert anyone.get(f"/api/v1/{address}").status_code == 200

    counts = [plan(q["sql"]) for q in asked if re.search(r'COUNT.*FROM "jobs_jobevent"', q["sql"])]
    whole = [each for each in counts if "job_type=?" not in each]  # others read few
    assert (len(counts), len(whole)) == (3, 1)
    assert "COVERING INDEX" in whole[0]


@pytest.mark.parametrize("kind", ["", "completed", "queued"])
def test_lines_that_are_private_are_not_counted(anyone: APIClient, kind: str) -> None:
    lines = [("run", "queued"), ("run", "completed"), ("question", "queued"), ("intake", "failed")]
    for job, each in lines:
        JobEvent.objects.create(job_type=job, job_id=1, kind=each)

    answer = anyone.get("/api/v1/events/", {"kind": kind} if kind else {}).json()
    assert answer["count"] == len(answer["results"]) == {"": 3, "completed": 1, "queued": 2}[kind]


@pytest.mark.parametrize("status", ["running", "failed"])
@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_experiments_are_found_by_status_from_indexes_alone(client: Client, status: str) -> None:
    """Jobs are many and wide: only an index that has their status is read, those of one owner first."""
    factories.make_run(status=Status.QUEUED)
    factories.make_run(status=Status.FAILED)
    with CaptureQueriesContext(connection) as asked:
        assert client.get("/experiments/", {"status": status}).status_code == 200

    jobs = r'FROM "experiments_(run|sampleset|evaluation)"'
    plans = [plan(q["sql"]) for q in asked if re.search(jobs, q["sql"])]
    assert plans
    for each in plans:
        assert "SCAN experiments_" not in each
    counting = [each for each in plans if "GROUP BY" in each]
    for each in counting:
        assert "_statuses" in each


def plan(sql: str) -> str:
    """Return how the database would answer."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")
        return "; ".join(line for *_, line in cursor.fetchall())


def test_the_description_is_rendered_once_for_each_format(anyone: APIClient) -> None:
    as_yaml = anyone.get("/api/v1/schema/")
    as_json = anyone.get("/api/v1/schema/", {"format": "json"})
    again = anyone.get("/api/v1/schema/")

    assert (again.content, again["Content-Type"]) == (as_yaml.content, as_yaml["Content-Type"])
    assert as_yaml.content.startswith(b"openapi:")
    assert as_json.json()["openapi"] in as_yaml.content.decode()
