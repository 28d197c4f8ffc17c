"""Lists of REST are read in their order from an index: no part of a long table is sorted for a page."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

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
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")
        plan = "; ".join(line for *_, line in cursor.fetchall())
    assert "TEMP B-TREE FOR ORDER BY" not in plan


def test_the_description_is_rendered_once_for_each_format(anyone: APIClient) -> None:
    as_yaml = anyone.get("/api/v1/schema/")
    as_json = anyone.get("/api/v1/schema/", {"format": "json"})
    again = anyone.get("/api/v1/schema/")

    assert (again.content, again["Content-Type"]) == (as_yaml.content, as_yaml["Content-Type"])
    assert as_yaml.content.startswith(b"openapi:")
    assert as_json.json()["openapi"] in as_yaml.content.decode()
