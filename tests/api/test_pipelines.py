"""Pipelines that were trained elsewhere, over REST."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from catalog.models import Protocol
from experiments.models import Experiment
from tests import factories

REVISION = "0" * 40


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol()


def submission(protocol: Protocol, **entry: Any) -> dict[str, Any]:
    data = factories.experiment_data(protocol=protocol, seeds=2, entries=[entry])
    del data["budget"]
    return data


def test_a_hubs_pipeline_is_submitted_and_found_by_its_kind(
    writer: APIClient, protocol: Protocol
) -> None:
    samplers = [{"scheduler": "DDIMScheduler", "steps": 4, "guidance": [1, 3]}]
    data = submission(protocol, pipeline="us/tiny", revision=REVISION, samplers=samplers)

    response = writer.post("/api/experiments/", data)

    assert response.status_code == 201, response.json()
    told = response.json()
    assert told["budget"] is None and told["progress"]["total"] == 4 * 2 + 2 * 2 * 2
    (entry,) = writer.get("/api/entries/?kind=pipeline").json()["results"]
    assert (entry["label"], entry["family"], entry["algorithm"]) == ("tiny", "pipeline", "")
    assert entry["config"]["revision"] == REVISION
    sets = writer.get(f"/api/samplesets/?experiment={told['id']}").json()["results"]
    drawn = [(s["sampler_label"], s["seed"]) for s in sets if s["entry"] == entry["id"]]
    assert sorted(drawn) == [
        ("DDIM 4 w=1", 0),
        ("DDIM 4 w=1", 1),
        ("DDIM 4 w=3", 0),
        ("DDIM 4 w=3", 1),
    ]
    assert all(s["provenance"] == {} for s in sets)


def test_a_hubs_pipeline_joins_an_experiment(
    writer: APIClient, anyone: APIClient, protocol: Protocol, user: User
) -> None:
    mine, stranger = factories.make_experiment(protocols=[protocol], user=user), APIClient()
    stranger.force_authenticate(factories.make_user())
    entry = {"pipeline": "us/tiny", "revision": REVISION}

    joined = writer.post(f"/api/experiments/{mine.pk}/entries/", entry)
    wrong = writer.post(f"/api/experiments/{mine.pk}/entries/", entry)
    trained = writer.post(f"/api/experiments/{mine.pk}/entries/", {"algorithm": "gan.sngan"})

    assert joined.status_code == 201, joined.json()
    assert joined.json()["experiment"] == mine.pk and len(joined.json()["sample_sets"]) == 1
    assert anyone.get(joined["Location"]).json()["label"] == "tiny"
    assert wrong.json()["errors"] == {"label": "'tiny' is taken, expected another"}
    assert list(trained.json()["errors"]) == ["algorithm"]
    assert stranger.post(f"/api/experiments/{mine.pk}/entries/", entry).status_code == 403


def test_pipelines_are_rehearsed_and_submitted_again(writer: APIClient, protocol: Protocol) -> None:
    data = submission(protocol, pipeline="us/tiny", revision=REVISION)

    rehearsed = writer.post("/api/experiments/?dry_run=true", data)
    told = writer.post("/api/experiments/", data).json()
    spec = writer.get(f"/api/experiments/{told['id']}/spec/").json()

    assert (rehearsed.status_code, rehearsed.json()["spec"]) == (200, spec), rehearsed.json()
    assert "budget" not in spec and spec["entries"][0]["revision"] == REVISION
    assert writer.post("/api/experiments/", {**spec, "name": "again"}).status_code == 201


def test_what_is_wrong_is_said_at_its_field(writer: APIClient, protocol: Protocol) -> None:
    data = submission(protocol, pipeline="../tiny", samplers=[{"scheduler": "Mine"}])

    response = writer.post("/api/experiments/", data)

    assert response.status_code == 400
    errors = response.json()["errors"]
    assert sorted(errors) == ["entries.0.pipeline", "entries.0.samplers.0.scheduler"]
    assert errors["entries.0.pipeline"].startswith("expected the name of a folder of the storage")
    assert not Experiment.objects.exists()


def test_the_description_says_how_a_pipeline_is_submitted(anyone: APIClient) -> None:
    parts = anyone.get("/api/schema/", {"format": "json"}).json()["components"]["schemas"]

    entry = parts["EntrySubmission"]["properties"]
    assert {"pipeline", "revision", "algorithm"} <= entry.keys()
    assert "algorithm" not in parts["EntrySubmission"].get("required", [])
    assert entry["config"]["anyOf"][-1]["title"] == "pipeline"
    assert "negative_prompt" in entry["samplers"]["items"]["anyOf"][-1]["properties"]
