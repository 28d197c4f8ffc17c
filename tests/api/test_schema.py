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
from knox.models import AuthToken
from rest_framework.test import APIClient
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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


def test_the_description_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert "openapi: 3." in capsys.readouterr().out


def test_the_description_holds_every_address_and_refusal(anyone: APIClient) -> None:
    paths = anyone.get("/api/schema/", {"format": "json"}).json()["paths"]

    assert {path.split("/")[2] for path in paths} == {
        "datasets",
        "promptsets",
        "protocols",
        "experiments",
        "entries",
        "runs",
        "samplesets",
        "evaluations",
        "questions",
        "leaderboards",
    }
    assert paths["/api/experiments/"]["post"]["responses"].keys() == {
        *("201", "400", "401", "403", "404", "413", "415", "429")
    }
    assert "409" in paths["/api/runs/{id}/retry/"]["post"]["responses"]
    board = paths["/api/leaderboards/{fingerprint}/"]["get"]["responses"]["200"]["content"]
    assert board.keys() == {"application/json", "text/csv"}


def test_the_description_holds_every_algorithms_options_and_presets(anyone: APIClient) -> None:
    schemas = anyone.get("/api/schema/", {"format": "json"}).json()["components"]["schemas"]

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
    schemas = anyone.get("/api/schema/", {"format": "json"}).json()["components"]["schemas"]

    for name in ("Run", "SampleSet", "Evaluation"):
        error = schemas[name]["properties"]["error"]
        assert (error["type"], error["readOnly"]) == ("string", True)
        assert "Empty for readers who are not signed in" in error["description"]


def test_every_writing_operation_says_who_may_write_and_no_reading_one_does(
    anyone: APIClient,
) -> None:
    paths = anyone.get("/api/schema/", {"format": "json"}).json()["paths"]
    operations = [(path, *item) for path, methods in paths.items() for item in methods.items()]

    assert {path.split("/")[-2] for path, method, _ in operations if method == "post"} == {
        *("experiments", "entries", "questions", "cancel", "retry")
    }
    for path, method, operation in operations:
        says = operation["description"].endswith("admins may do this.")
        assert says == (method == "post"), (method, path)
        assert ("Who submitted" in operation["description"]) == path.endswith(("cancel/", "retry/"))


def test_the_swagger_page_loads_nothing_from_elsewhere(db: None) -> None:
    page = Client().get("/api/docs/").content.decode()

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    for address in loaded:
        assert address.startswith(("/static/drf_spectacular_sidecar/", "/api/docs/?script="))
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
def operations(db: None, static_root: Path) -> list[Any]:
    schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())
    found = list(schema.get_all_operations())
    assert all(isinstance(result, Ok) for result in found), found
    return [result.ok() for result in found if isinstance(result, Ok)]


def test_whatever_is_asked_of_anyone_is_answered_as_described(
    operations: list[Any], keys: Keys
) -> None:
    for operation in operations:
        check_operation(operation, headers={}, keys={})


def test_whatever_a_writer_asks_of_existing_rows_is_answered_as_described(
    operations: list[Any], keys: Keys
) -> None:
    _, token = AuthToken.objects.create(factories.make_user())
    for operation in operations:
        check_operation(operation, headers={"Authorization": f"Token {token}"}, keys=keys)


def check_operation(operation: Any, *, headers: dict[str, str], keys: Keys) -> None:
    """Ask a few made-up questions; where keys are given, of rows that exist."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=3,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        resource = case.path.split("/")[2]
        if resource in keys:
            case.path_parameters = dict.fromkeys(case.path_parameters or {}, keys[resource])
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()
