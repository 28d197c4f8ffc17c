"""Pages by cursor: no row is skipped or there twice, whatever arrives meanwhile."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from experiments.models import Entry, Run
from jobs.models import Status
from tests import factories
from tests.api.test_problems import problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry() -> Entry:
    """Return an entry with thirteen runs, some of them finished at the same time, some never."""
    entry = factories.contenders_of(factories.make_experiment(seeds=range(13)))[0]
    finished = Run.objects.filter(entry=entry).order_by("pk")[:6]
    for number, run in enumerate(finished):
        at = run.queued_at.replace(microsecond=number // 3)
        Run.objects.filter(pk=run.pk).update(status=Status.COMPLETED, finished_at=at)
    return entry


def walk(client: APIClient, address: str, link: str = "next") -> list[Any]:
    """Return the pages from an address on, each as the ids of its rows."""
    pages = []
    wanted: str | None = address
    while wanted:
        page = client.get(wanted).json()
        pages.append([row["id"] for row in page["results"]])
        wanted = page[link]
    return pages


ORDERINGS = ["id", "-id", "finished_at", "-finished_at", "seed", "-seed", "queued_at", "-queued_at"]


@pytest.mark.parametrize("size", [1, 5, 13, 14])
@pytest.mark.parametrize("ordering", ORDERINGS)
def test_the_pages_are_the_list_forwards_and_backwards(
    anyone: APIClient, entry: Entry, ordering: str, size: int
) -> None:
    name, descends = ordering.lstrip("-"), ordering[0] == "-"
    known = [r for r in Run.objects.all() if getattr(r, name) is not None]
    unknown = [r for r in Run.objects.all() if getattr(r, name) is None]
    known.sort(key=lambda run: (getattr(run, name), run.pk), reverse=descends)
    unknown.sort(key=lambda run: run.pk, reverse=descends)
    address = f"/api/v1/runs/?ordering={ordering}&page_size={size}"

    pages = walk(anyone, address)

    assert [key for page in pages for key in page] == [run.pk for run in known + unknown]
    assert {len(page) for page in pages[:-1]} <= {size}
    last = address
    for _ in pages[1:]:
        last = anyone.get(last).json()["next"]
    assert walk(anyone, last, "previous") == pages[::-1]


def test_rows_that_arrive_are_neither_skipped_nor_shift_others(
    anyone: APIClient, entry: Entry
) -> None:
    before = [run.pk for run in Run.objects.order_by("-pk")]
    page = anyone.get("/api/v1/runs/?page_size=4").json()
    seen = [row["id"] for row in page["results"]]

    while page["next"]:
        factories.make_experiment(seeds=range(2))
        page = anyone.get(page["next"]).json()
        seen += [row["id"] for row in page["results"]]

    assert seen == before
    assert page["count"] == Run.objects.count() > len(before)
    newest_last = [key for p in walk(anyone, "/api/v1/runs/?ordering=id&page_size=4") for key in p]
    assert newest_last == [run.pk for run in Run.objects.order_by("pk")]


@pytest.mark.parametrize("kind", ["runs", "samplesets", "evaluations", "experiments", "entries"])
def test_the_last_page_asks_the_database_no_more_than_the_first(
    anyone: APIClient, kind: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(4):
        factories.make_evaluation()

    with django_assert_max_num_queries(9):
        first = anyone.get(f"/api/v1/{kind}/?page_size=1").json()
    with django_assert_max_num_queries(9):
        last = anyone.get(f"/api/v1/{kind}/?page_size=1&ordering=id").json()

    assert first["count"] == last["count"] >= 4
    assert first["results"][0]["id"] > last["results"][0]["id"]


def test_filters_and_page_size_stay_in_the_links(anyone: APIClient, entry: Entry) -> None:
    page = anyone.get("/api/v1/runs/?status=completed&page_size=5").json()

    following = anyone.get(page["next"]).json()

    assert (page["count"], len(page["results"]), len(following["results"])) == (6, 5, 1)
    assert {row["status"] for row in following["results"]} == {"completed"}
    assert following["next"] is None


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("page_size=0", "page_size", "expected 1 to 500, got '0'"),
        ("page_size=501", "page_size", "expected 1 to 500"),
        ("page_size=1e2", "page_size", "expected 1 to 500"),
        ("page_size=", "page_size", "expected 1 to 500, got ''"),
        ("ordering=error", "ordering", "expected one of id, -id, queued_at"),
        ("ordering=", "ordering", "expected one of id, -id, queued_at"),
        ("cursor=x", "cursor", "expected the one of a page's `next` or `previous`"),
        ("cursor=", "cursor", "expected the one of a page's `next` or `previous`"),
        ("page=2", "page", "unknown parameter"),
    ],
)
def test_what_no_page_has_is_refused_at_its_parameter(
    anyone: APIClient, query: str, field: str, words: str
) -> None:
    told = problem(anyone.get(f"/api/v1/runs/?{query}"), 400)

    assert words in told["errors"][field]


def test_a_cursor_is_of_one_order(anyone: APIClient, entry: Entry) -> None:
    cursor = (
        anyone.get("/api/v1/runs/?page_size=1").json()["next"].split("cursor=")[1].split("&")[0]
    )

    told = problem(anyone.get(f"/api/v1/runs/?ordering=seed&cursor={cursor}"), 400)

    assert told["errors"] == {"cursor": "it is of ordering=-id, got seed"}


def test_bounds_and_orders_are_described(anyone: APIClient) -> None:
    paths = anyone.get("/api/v1/schema/", {"format": "json"}).json()["paths"]
    told = {p["name"]: p["schema"] for p in paths["/api/v1/runs/"]["get"]["parameters"]}

    assert (told["page_size"]["minimum"], told["page_size"]["maximum"]) == (1, 500)
    assert {"id", "-id", "finished_at", "seed"} <= set(told["ordering"]["enum"])
    assert {"cursor", "status", "experiment", "dataset", "algorithm", "seed"} <= told.keys()
    assert (told["seed"]["minimum"], told["seed"]["maximum"]) == (0, 2**63 - 1)
    assert told["tag"]["maxLength"] == 30


def test_the_bounds_of_boards_and_submissions_are_described(anyone: APIClient) -> None:
    described = anyone.get("/api/v1/schema/", {"format": "json"}).json()
    board = described["paths"]["/api/v1/leaderboards/{fingerprint}/"]["get"]["parameters"]
    values = described["paths"]["/api/v1/evaluations/"]["get"]["parameters"]
    submission = described["components"]["schemas"]["Submission"]["properties"]

    told = {p["name"]: p["schema"] for p in board}
    assert (told["page_size"]["maximum"], told["page"]["minimum"]) == (500, 1)
    said = {p["name"]: p.get("description", "") for p in values}
    assert "a beginning of 8 characters" in said["protocol"]
    assert submission["entries"]["description"].startswith("1 to 50")
    assert "at most 100" in submission["seeds"]["description"]
