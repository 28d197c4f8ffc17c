"""The OpenAPI description is complete, and the interface behaves as it says."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import sampled_from
from knox.models import AuthToken
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.models import Role
from generators.specs import registry
from generators.specs.algorithms import PRESETS
from generators.specs.options import describe
from jobs.models import Status
from tests import factories

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
TOO_OFTEN = 429


def test_the_description_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert "openapi: 3." in capsys.readouterr().out


def test_the_description_holds_every_address_and_refusal(anyone: APIClient) -> None:
    paths = anyone.get("/api/v1/schema/", {"format": "json"}).json()["paths"]

    assert {path.split("/")[3] for path in paths} == {
        "datasets",
        "promptsets",
        "protocols",
        "experiments",
        "entries",
        "runs",
        "samplesets",
        "evaluations",
        "losses",
        "questions",
        "viewings",
        "workers",
        "events",
        "audit",
        "queues",
        "webhooks",
        "deliveries",
        "watches",
        "preference",
        "leaderboards",
        "compare",
        "claims",
        "advice",
    }
    assert paths["/api/v1/experiments/"]["post"]["responses"].keys() == {
        *("200", "201", "400", "401", "403", "404", "406", "413", "415", "422", "429", "500")
    }
    assert "409" in paths["/api/v1/runs/{id}/retry/"]["post"]["responses"]
    board = paths["/api/v1/leaderboards/{fingerprint}/"]["get"]["responses"]["200"]["content"]
    files = {"text/csv", "application/jsonl", "application/vnd.apache.parquet"}
    runs = paths["/api/v1/runs/"]["get"]["responses"]["200"]["content"]
    assert board.keys() == runs.keys() == {"application/json", *files}
    assert {runs[kind]["schema"]["type"] for kind in files} == {"string"}


def test_the_description_holds_every_algorithms_options_and_presets(anyone: APIClient) -> None:
    schemas = anyone.get("/api/v1/schema/", {"format": "json"}).json()["components"]["schemas"]

    assert schemas["AlgorithmEnum"]["enum"] == registry.algorithm_names()
    assert schemas["PresetEnum"]["enum"] == list(PRESETS)
    entry = schemas["EntrySubmission"]["properties"]
    configs = {config["title"]: config for config in entry["config"]["anyOf"]}
    for name, spec in registry.ALGORITHMS.items():
        fields = configs[name]["properties"]
        assert list(fields) == [field.name for field in describe(spec.config)]
        assert all(preset in configs[name]["description"] for preset in spec.presets)
    assert configs["vae.conv"]["properties"]["variant"]["enum"] == ["beta", "sigma"]
    samplers = {sampler["title"]: sampler for sampler in entry["samplers"]["items"]["anyOf"]}
    steps = samplers["ddim"]["properties"]["steps"]
    assert (steps["type"], steps["default"], steps["minimum"]) == ("integer", 50, 1)
    one, several = samplers["ddim"]["properties"]["guidance"]["oneOf"]
    assert (one["type"], several["type"], several["items"]) == ("number", "array", one)


def test_the_description_says_who_is_shown_a_traceback(anyone: APIClient) -> None:
    schemas = anyone.get("/api/v1/schema/", {"format": "json"}).json()["components"]["schemas"]

    for name in ("Run", "SampleSet", "Evaluation"):
        error = schemas[name]["properties"]["error"]
        assert (error["type"], error["readOnly"]) == ("string", True)
        assert "for who submitted it and admins. Empty for others" in error["description"]


def test_every_writing_operation_says_who_may_write_and_no_reading_one_does(
    anyone: APIClient,
) -> None:
    paths = anyone.get("/api/v1/schema/", {"format": "json"}).json()["paths"]
    operations = [(path, *item) for path, methods in paths.items() for item in methods.items()]

    assert {path.split("/")[-2] for path, method, _ in operations if method == "post"} == {
        *("experiments", "entries", "questions", "viewings", "cancel", "retry"),
        *("webhooks", "watches", "renew", "test"),
    }
    for path, method, operation in operations:
        says = operation["description"].endswith("admins may do this.")
        assert says == (method != "get"), (method, path)
        of_a_row = method != "get" and "{" in path
        is_own = path.split("/")[3] in {"webhooks", "watches"}
        assert ("Who submitted" in operation["description"]) == (of_a_row and not is_own)
        assert ("what is their own" in operation["description"]) == (
            is_own and "{" in path and method != "get"
        )


def test_every_refusal_is_described_as_problem_details(anyone: APIClient) -> None:
    paths = anyone.get("/api/v1/schema/", {"format": "json"}).json()["paths"]
    refusals = [
        (path, code, answer["content"])
        for path, methods in paths.items()
        for operation in methods.values()
        for code, answer in operation["responses"].items()
        if code >= "400"
    ]

    assert len(refusals) > 300
    for path, code, content in refusals:
        (told,) = content.items()
        expected = {"schema": {"$ref": "#/components/schemas/Problem"}}
        assert told == ("application/problem+json", expected), (path, code)


def test_every_creation_and_page_says_its_bounds(anyone: APIClient) -> None:
    paths = anyone.get("/api/v1/schema/", {"format": "json"}).json()["paths"]

    created = paths["/api/v1/experiments/"]["post"]
    assert {"Idempotency-Key", "dry_run"} <= {p["name"] for p in created["parameters"]}
    assert created["requestBody"]["content"].keys() == {"application/json", "application/yaml"}


def test_the_swagger_page_loads_nothing_from_elsewhere(db: None) -> None:
    page = Client().get("/api/v1/docs/").content.decode()

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    for address in loaded:
        assert address.startswith(("/static/drf_spectacular_sidecar/", "/api/v1/docs/?script="))
        with closing(Client().get(address)) as answer:
            assert answer.status_code == 200


Keys = dict[str, object]


@pytest.fixture
def keys(db: None) -> Keys:
    """Return the keys of rows that exist, by the first part of their address."""
    evaluation = factories.make_evaluation()  # no files: the test client would leave them open
    run = factories.make_run(status=Status.RUNNING, loss_points=2)
    protocol = evaluation.protocol
    return {
        "datasets": protocol.dataset.slug,
        "protocols": protocol.fingerprint,
        "experiments": run.entry.experiment_id,
        "runs": run.pk,
        "samplesets": evaluation.sample_set_id,
        "evaluations": evaluation.pk,
        "leaderboards": protocol.fingerprint,
    }


@pytest.fixture
def unlimited(settings: Settings) -> None:
    """Refuse nobody for asking too often: what is refused before it is read is not tried."""
    settings.API_RATE_VISITOR = settings.API_RATE_ACCOUNT = ""


@pytest.fixture
def operations(db: None, static_root: Path, unlimited: None) -> list[Any]:
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", get_wsgi_application())
    found = list(schema.get_all_operations())
    assert all(isinstance(result, Ok) for result in found), found
    return [result.ok() for result in found if isinstance(result, Ok)]


ROLES = ["a stranger", *Role]


LEAST_AND_MOST = (ROLES[0], Role.ADMIN)
OTHERS = [
    pytest.param(role, marks=pytest.mark.slow) for role in ROLES if role not in LEAST_AND_MOST
]


@pytest.mark.parametrize("role", [*LEAST_AND_MOST, *OTHERS])
def test_whatever_is_asked_is_answered_as_described(
    operations: list[Any], keys: Keys, writer_here: None, role: str
) -> None:
    check_all(operations, keys, role, examples=10)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_whatever_else_is_asked_is_answered_as_described(
    operations: list[Any], keys: Keys, writer_here: None, role: str
) -> None:
    check_all(operations, keys, role, examples=200)


def check_all(operations: list[Any], keys: Keys, role: str, *, examples: int) -> None:
    """Ask every operation as an account of a role, of rows that exist and of others."""
    headers = {}
    if role != "a stranger":
        _, token = AuthToken.objects.create(factories.make_user(role=Role(role)))
        headers["Authorization"] = f"Token {token}"
    for operation in operations:
        check_operation(operation, headers=headers, keys=keys, examples=examples)


def check_operation(operation: Any, *, headers: dict[str, str], keys: Keys, examples: int) -> None:
    """Ask so many made-up questions, two of three of them of rows that exist."""

    @given(case=operation.as_strategy(), is_real=sampled_from([True, True, False]))
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any, is_real: bool) -> None:
        resource = case.path.split("/")[3]
        if resource in keys and is_real:
            case.path_parameters = dict.fromkeys(case.path_parameters or {}, keys[resource])
        answer = case.call_and_validate(headers=headers, checks=CHECKS)
        assert answer.status_code != TOO_OFTEN

    check()
