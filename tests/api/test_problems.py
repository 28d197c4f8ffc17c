"""Every refusal has one shape: problem details, whoever refuses and whatever was asked for."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from knox.models import AuthToken
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from accounts.models import Role
from experiments.models import Experiment
from tests import factories
from tests.config.test_addresses import ROUTES, Keys, filled, make_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def keys() -> Keys:
    return make_rows()


SUFFIXES = (".json", ".csv", ".api", ".html", ".xml")


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return what is told besides type, title and status, which are as they must be."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    found: dict[str, Any] = response.json()
    assert found.pop("type") == "about:blank"
    assert found.pop("status") == status
    assert found.pop("title")
    assert isinstance(found["detail"], str) and found["detail"]
    return found


@pytest.mark.parametrize("name", ["page_siz", "experment", "seeds", "ordring", "x"])
@pytest.mark.parametrize("address", ["runs", "experiments", "datasets", "leaderboards"])
def test_a_parameter_that_nobody_reads_is_refused_by_its_name(
    anyone: APIClient, address: str, name: str
) -> None:
    told = problem(anyone.get(f"/api/{address}/?{name}=1"), 400)

    assert list(told["errors"]) == [name]
    assert "unknown parameter, " in told["errors"][name]


def test_an_unknown_parameter_is_told_which_are_known(anyone: APIClient) -> None:
    run = factories.make_run()

    told = problem(anyone.get("/api/runs/?zzzzz=1"), 400)
    of_one = problem(anyone.get(f"/api/runs/{run.pk}/?seed=1"), 400)

    for name in ("status", "experiment", "dataset", "algorithm", "seed", "page"):
        assert name in told["errors"]["zzzzz"]
    assert of_one["errors"] == {"seed": "unknown parameter, expected one of: format"}


def test_the_index_is_asked_for_nothing(anyone: APIClient) -> None:
    told = problem(anyone.get("/api/v1/?status=failed"), 400)

    assert told["errors"] == {"status": "unknown parameter, expected one of: format"}
    assert anyone.get("/api/v1/?format=json").status_code == 200


def test_a_typo_while_writing_writes_nothing(writer: APIClient) -> None:
    data = factories.experiment_data(protocol=factories.make_protocol())

    told = problem(writer.post("/api/experiments/?dryrun=true", data), 400)

    assert list(told["errors"]) == ["dryrun"]
    assert not Experiment.objects.exists()


def test_a_parameter_that_is_there_twice_is_refused(anyone: APIClient) -> None:
    told = problem(anyone.get("/api/runs/?seed=1&seed=2"), 400)

    assert told["errors"] == {"seed": "expected once, got 2 times"}
    assert told["detail"] == "seed: expected once, got 2 times"


def test_every_described_parameter_is_read_and_no_other(writer: APIClient, keys: Keys) -> None:
    paths = writer.get("/api/v1/schema/", {"format": "json"}).json()["paths"]
    described = {
        path: {p["name"] for p in methods["get"].get("parameters", []) if p["in"] == "query"}
        for path, methods in paths.items()
        if "get" in methods
    }

    for path, names in described.items():
        told = problem(writer.get(address_of(path, keys), {"nobody": "1"}), 400)
        known = told["errors"]["nobody"].removeprefix("unknown parameter, expected one of: ")
        assert set(known.split(", ")) == names | {"format"}, path
    assert sum(map(len, described.values())) > 50


def address_of(path: str, keys: Keys) -> str:
    route = path.replace("{id}", "<pk>").replace("{", "<").replace("}", ">")
    return filled(route, keys)


def test_what_cannot_be_read_or_written_is_told_what_can(
    anyone: APIClient, writer: APIClient
) -> None:
    run = factories.make_run()
    for address in ("runs/", f"runs/{run.pk}/", "experiments/", "", "schema/"):
        told = problem(anyone.get(f"/api/v1/{address}?format=xml"), 400)
        assert "expected one of " in told["errors"]["format"] and "json" in told["detail"]
    assert "csv" in problem(anyone.get("/api/v1/runs/?format=xml"), 400)["errors"]["format"]
    image = problem(anyone.get("/api/v1/experiments/", headers={"accept": "image/png"}), 406)
    assert image["detail"] == "expected Accept to take application/json"
    text = problem(writer.post("/api/v1/experiments/", "x", content_type="text/yaml"), 415)
    assert text["detail"].endswith("expected application/json or application/yaml")
    whole = problem(writer.post("/api/v1/webhooks/", [], format="json"), 400)
    assert whole["errors"].keys() == {""}


def test_a_body_is_not_lost_where_a_slash_is_missing(writer: APIClient, anyone: APIClient) -> None:
    for address in ("/api/v1/experiments", "/api/experiments", "/api/v1/runs/1/cancel"):
        told = problem(writer.post(address, {"name": "x"}), 404)
        assert told["detail"].endswith(f"{address}/")
    assert anyone.get("/api/v1/runs").headers["Location"] == "/api/v1/runs/"


def test_the_index_leads_to_everything_that_is_described(writer: APIClient) -> None:
    index = writer.get("/api/v1/").json()
    paths = writer.get(index["schema"], {"format": "json"}).json()["paths"]

    assert {path.split("/")[3] for path in paths} <= index.keys()
    for name, address in index.items():
        needs_more = name in ("compare", "advice")
        assert writer.get(address).status_code == (400 if needs_more else 200), name
        if name != "docs":
            told = problem(writer.get(address, {"nobody": "1"}), 400)
            assert "unknown parameter, " in told["errors"]["nobody"], name


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("client", ["a stranger", "an admin"])
def test_an_address_that_does_not_exist_is_told_in_json(method: str, client: str) -> None:
    asker = Client()
    if client == "an admin":
        asker.force_login(factories.make_user(role=Role.ADMIN))
    for address in ("nothing/", "runs/x/", "runs/1/nothing/", "runs.json", "x/y/z", "a%0ab/"):
        response = getattr(asker, method)(f"/api/{address}")
        assert "address" in problem(response, 404)["detail"], address


def test_no_route_has_an_address_with_a_suffix(keys: Keys) -> None:
    client = Client(raise_request_exception=False)
    for route in ROUTES:
        if route.startswith("/api/"):
            for suffix in SUFFIXES:
                problem(client.get(filled(route, keys).rstrip("/") + suffix), 404)


def test_each_kind_of_refusal_has_the_shape(
    anyone: APIClient, writer: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = factories.make_run()
    viewer = APIClient()
    viewer.force_login(factories.make_user(role=Role.VIEWER))
    detail = f"/api/runs/{run.pk}/"

    assert "credentials" in problem(anyone.post("/api/experiments/", {}), 401)["detail"]
    assert "may not" in problem(viewer.post(f"{detail}cancel/"), 403)["detail"]
    assert "No Run" in problem(anyone.get("/api/runs/999999/"), 404)["detail"]
    assert "PUT" in problem(writer.put(detail, {}), 405)["detail"]
    assert problem(anyone.get(detail, headers={"accept": "image/png"}), 406)
    assert "queued" in problem(writer.post(f"{detail}retry/"), 409)["detail"]
    assert problem(writer.post("/api/experiments/", "x", content_type="text/plain"), 415)
    wrong = problem(writer.post("/api/experiments/", {"name": ""}), 400)
    assert wrong["errors"]["name"] in wrong["detail"] and wrong["detail"].endswith("and 2 more")
    assert problem(writer.post("/api/experiments/", "{", content_type="application/json"), 400)
    assert problem(anyone.get("/api/runs/?status=done"), 400)["errors"].keys() == {"status"}
    big: dict[str, Any] = {"CONTENT_LENGTH": str(10**9), "content_type": "application/json"}
    assert "bytes" in problem(writer.post("/api/experiments/", "{}", **big), 413)["detail"]
    assert "NUL" in problem(anyone.get("/api/runs/%00/"), 400)["detail"]
    cache.clear()  # who asked how often
    settings.API_RATE_VISITOR = "1/hour"
    refused = [anyone.get("/api/runs/") for _ in range(2)][-1]
    assert problem(refused, 429) and int(refused["Retry-After"]) > 0


def test_a_board_as_csv_is_refused_in_the_same_shape(anyone: APIClient) -> None:
    board = f"/api/leaderboards/{factories.make_protocol().fingerprint}/"

    told = problem(anyone.get(f"{board}?format=csv&sort=nothing"), 400)

    assert told["errors"].keys() == {"sort"}


def test_a_fault_of_ours_has_the_shape_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("api.http.queries.check_query", fail)
    _, token = AuthToken.objects.create(factories.make_user())

    client = Client(raise_request_exception=False)
    told = problem(client.get("/api/runs/", headers={"authorization": f"Token {token}"}), 500)

    assert "swordfish" not in str(told)


def test_pages_are_refused_as_pages() -> None:
    response = Client().get("/runs/999999/")

    assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")
