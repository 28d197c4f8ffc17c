"""Fingerprints, digests, options, the API and the command lines are those of an earlier Trilemma.

A change that is meant is written down by `python -m tests.legacy.freeze`; see there.
"""

import hashlib
import json
from pathlib import Path

import pytest

from evaluation.protocols.record import Protocol
from tests.legacy import facts

TESTS = Path(__file__).parents[1]


def check(name: str, now: facts.Facts) -> None:
    """Fail with a line for each value that is not as it was; new names are no change."""
    before = facts.frozen(name)
    changed = facts.changes(before, {key: now[key] for key in before if key in now})
    assert not changed, f"changed since {name}.json was frozen:\n" + "\n".join(changed)


def test_protocols_are_made_as_they_were() -> None:
    check("protocols", facts.protocols())


@pytest.mark.parametrize("file", ["protocols", "protocols_before"])
def test_records_of_protocols_are_read_as_they_were(file: str) -> None:
    for name, before in facts.frozen(file).items():
        protocol = Protocol.from_record(before["record"])

        assert protocol.to_record() == before["record"], name
        assert protocol.canonical_json() == before["canonical_json"], name
        assert protocol.fingerprint() == before["fingerprint"], name
        digest = hashlib.sha256(before["canonical_json"].encode()).hexdigest()
        assert digest == before["fingerprint"], name


def test_a_record_of_the_first_version_is_refused_as_it_was() -> None:
    record = json.loads((TESTS / "protocol_version_1.json").read_text())

    assert facts.refusal(record) == (
        "version: expected 2, got 1, of an earlier Trilemma: register it again"
    )


def test_datasets_have_the_digests_that_they_had() -> None:
    check("datasets", facts.datasets())


def test_algorithms_have_the_options_presets_and_samplers_that_they_had() -> None:
    check("algorithms", facts.algorithms())


def test_the_api_is_described_as_it_was() -> None:
    check("schema", facts.schema())


def test_what_the_api_had_before_it_had_a_version_is_in_its_first() -> None:
    before, now = facts.frozen("schema_before"), facts.frozen("schema")
    fields = {
        name: set(s.get("properties", ())) for name, s in now["components"]["schemas"].items()
    }

    for path, operations in before["paths"].items():
        for method, operation in operations.items():
            kept = now["paths"][path.replace("/api/", "/api/v1/", 1)][method]
            asked = {parameter["name"] for parameter in operation.get("parameters", ())}
            assert asked - {"page"} <= {p["name"] for p in kept.get("parameters", ())}, path
            assert operation["responses"].keys() <= kept["responses"].keys(), path
    for name, schema in before["components"]["schemas"].items():
        if name not in ("Errors", "Detail"):  # are problem details now, which have both fields
            assert set(schema.get("properties", ())) <= fields.get(name, set()), name
    assert {"errors", "detail"} <= fields["Problem"]


def test_commands_have_the_options_and_exit_statuses_that_they_had() -> None:
    before, now = facts.frozen("commands"), facts.commands()

    gone = {
        name: missing
        for name, options in before["options"].items()
        if (missing := set(options) - set(now["options"].get(name, [])))
    }
    assert not gone, f"options that commands no longer have: {gone}"
    assert facts.changes(before["exit_status"], now["exit_status"]) == []


def test_a_change_is_named_with_its_place() -> None:
    before = {"one": {"a": [1, {"b": 2}], "c": 3}, "two": 4}
    now = {"one": {"a": [1, {"b": 5}], "d": 6}, "two": 4}

    assert facts.changes(before, now) == [
        "/one/a/1/b: was 2, is 5",
        '/one/c: was 3, is "nothing"',
        '/one/d: was "nothing", is 6',
    ]
