"""Submitting, cancelling and retrying, and who may."""

import bz2
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from accounts.models import User
from catalog.models import Protocol
from experiments.comparison import config_tables
from experiments.models import Experiment, Run
from generators.specs import registry
from generators.specs.algorithms import Preset
from generators.specs.options import to_dict
from jobs.models import Status
from tests import factories


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol()


def submission(protocol: Protocol, **changes: Any) -> dict[str, Any]:
    return factories.experiment_data(protocol=protocol, **changes)


def test_a_submission_writes_everything_that_is_to_be_done(
    writer: APIClient, user: User, protocol: Protocol
) -> None:
    entries = [
        {"algorithm": "gan.sngan", "config": {"latent_dim": 32}},
        {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 10}]},
    ]
    data = submission(protocol, name="first", seeds=[3, 4], entries=entries)

    response = writer.post("/api/experiments/", data)

    assert response.status_code == 201
    experiment = Experiment.objects.get()
    assert response["Location"] == f"http://testserver/api/experiments/{experiment.pk}/"
    assert type(response["Location"]) is str  # WSGI takes no subclass
    assert response.json()["progress"] == {"completed": 0, "failed": 0, "total": 20}
    assert (experiment.name, experiment.created_by) == ("first", user)
    gan, diffusion = factories.contenders_of(experiment)
    assert gan.config["latent_dim"] == 32
    assert diffusion.sampler_labels == ["DDIM 10"]
    assert list(gan.runs.values_list("seed", "status")) == [(3, "queued"), (4, "queued")]


def test_protocols_that_draw_labels_by_other_rules_are_refused_at_their_field(
    writer: APIClient, protocol: Protocol
) -> None:
    counts = [20] * protocol.dataset.num_classes
    ruled = factories.make_protocol(dataset=protocol.dataset, class_counts=counts, labels="uniform")
    both = [protocol.fingerprint, ruled.fingerprint]

    response = writer.post("/api/experiments/", submission(protocol, protocols=both))

    assert response.status_code == 400
    (path, message), *others = response.json()["errors"].items()
    assert (path, others) == ("protocols.1", [])
    assert f"{ruled.label} draws labels in equal shares of the reference's 10" in str(message)
    shown = writer.get(f"/api/protocols/{ruled.fingerprint}/").json()["record"]["images"]["labels"]
    assert (shown["rule"], shown["shares"]) == ("uniform", [1] * 10)


def test_every_wrong_field_is_named_by_its_path_and_nothing_is_written(
    writer: APIClient, protocol: Protocol
) -> None:
    data = submission(
        protocol,
        name="",
        dataset="nothing",
        budget={"images": 0},
        seeds=[1, 1],
        entries=[
            {"algorithm": "vae.conv", "config": {"beta": -1, "bata": 1}},
            {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 0}]},
            {"algorithm": "gan.other"},
        ],
        extra=1,
    )

    response = writer.post("/api/experiments/", data)

    assert response.status_code == 400
    errors = response.json()["errors"]
    assert errors.keys() == {
        "name",
        "dataset",
        "budget",
        "seeds",
        "extra",
        "entries.0.config.beta",
        "entries.0.config.bata",
        "entries.1.samplers.0.steps",
        "entries.2.algorithm",
    }
    assert errors["entries.0.config.beta"] == "expected a number in 0..1000, got -1"
    assert errors["entries.0.config.bata"] == "unknown field, did you mean 'beta'?"
    assert not Experiment.objects.exists()


@pytest.mark.parametrize(
    ("changes", "path", "limit"),
    [
        ({"seeds": [2**63]}, "seeds", "a list of different seeds in 0..2147483647, got [9223372"),
        (
            {"seeds": [2**31]},
            "seeds",
            "a list of different seeds in 0..2147483647, got [2147483648]",
        ),
        ({"seeds": 101}, "seeds", "a count of 1 to 100"),
        ({"budget": {"images": 10**12 + 1}}, "budget", "of 1 to 1,000,000,000,000 images"),
        ({"budget": {"device_seconds": 1e10}}, "budget", "or 1,000,000,000 seconds, got"),
        ({"memory_gb": 2**63}, "memory_gb", "expected 0 to 10000 GB, got 9223372036854775808"),
    ],
)
def test_what_is_too_large_is_refused_with_its_limit(
    writer: APIClient, protocol: Protocol, changes: dict[str, Any], path: str, limit: str
) -> None:
    response = writer.post("/api/experiments/", submission(protocol, **changes))

    assert response.status_code == 400
    assert limit in response.json()["errors"][path]


def test_numbers_may_come_as_text(writer: APIClient, protocol: Protocol) -> None:
    numbers = {"budget": {"images": "1e3"}, "seeds": ["0", 7.0], "memory_gb": "24"}
    data = submission(protocol, name="as text", **numbers)

    response = writer.post("/api/experiments/", data)

    assert response.status_code == 201, response.json()
    experiment = Experiment.objects.get()
    assert (experiment.budget_images, experiment.seeds, experiment.memory_gb) == (1000, [0, 7], 24)


@pytest.fixture
def tiny_vae(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the VAE a preset that is known here, and return what it says."""
    values = {"base_channels": 7, "latent_dim": 5}
    spec = registry.get_spec("vae.conv")
    presets = {**spec.presets, "tiny": Preset(images=1000, config=values)}
    monkeypatch.setitem(registry.ALGORITHMS, "vae.conv", replace(spec, presets=presets))
    return values


def test_a_preset_takes_the_place_of_the_defaults_and_the_config_that_of_the_preset(
    writer: APIClient, protocol: Protocol, tiny_vae: dict[str, Any]
) -> None:
    entries = [
        {"algorithm": "vae.conv", "label": "tiny", "preset": "tiny"},
        {"algorithm": "vae.conv", "label": "mine", "preset": "tiny", "config": {"latent_dim": 6}},
        {"algorithm": "vae.conv", "label": "none", "preset": None},
    ]

    assert (
        writer.post("/api/experiments/", submission(protocol, entries=entries)).status_code == 201
    )

    tiny, mine, none = factories.contenders_of(Experiment.objects.get())
    defaults = to_dict(registry.get_spec("vae.conv").config())
    assert none.config == defaults
    assert tiny.config == {**defaults, **tiny_vae}
    assert mine.config == {**tiny.config, "latent_dim": 6}
    (table,) = config_tables([tiny, mine])
    assert [(row.name, row.values) for row in table.differing] == [("latent_dim", ("5", "6"))]


@pytest.mark.parametrize("preset", ["huge", 1, ["tiny"]])
def test_a_preset_that_the_algorithm_lacks_is_refused_with_those_it_has(
    writer: APIClient, protocol: Protocol, preset: object
) -> None:
    entries = [{"algorithm": "vae.conv", "preset": preset, "config": {"beta": -1}}]

    response = writer.post("/api/experiments/", submission(protocol, entries=entries))

    errors = response.json()["errors"]
    assert errors == {
        "entries.0.preset": f"expected one of tiny, small, paper, got {preset!r}",
        "entries.0.config.beta": "expected a number in 0..1000, got -1",
    }


def test_a_name_is_used_once(writer: APIClient, protocol: Protocol) -> None:
    factories.make_experiment(name="taken", protocols=[protocol])

    response = writer.post("/api/experiments/", submission(protocol, name="taken"))

    assert response.json()["errors"] == {"name": "an experiment is named 'taken' already"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[1]", {"errors": {"": "expected an object with a name"}}),
        ("null", {"errors": {"": "expected an object with a name"}}),
        (
            '{"name": "\\u0000"}',
            {"detail": "JSON parse error - text holds a NUL or half a surrogate pair"},
        ),
        (
            '{"name": ["\\ud800"]}',
            {"detail": "JSON parse error - text holds a NUL or half a surrogate pair"},
        ),
        (
            '{"budget": {"images": 1e999}}',
            {"detail": "JSON parse error - a number is out of range"},
        ),
        (
            '{"name": "a", "budget": {"images": 1, "images": 2}}',
            {"detail": "JSON parse error - 'images' is there twice"},
        ),
        ("[" * 100_000, {"detail": "JSON parse error - nested too deeply"}),
    ],
)
def test_a_body_that_nothing_can_keep_is_refused(
    writer: APIClient, body: str, message: dict[str, Any]
) -> None:
    response = writer.post("/api/experiments/", body, content_type="application/json")

    assert (response.status_code, message.items() <= response.json().items()) == (400, True)


def test_a_body_that_is_no_json_is_refused(writer: APIClient) -> None:
    assert writer.post("/api/experiments/", {"name": "x"}, format=None).status_code in (400, 415)
    form = writer.post("/api/experiments/", "name=x", content_type="text/plain")
    assert form.status_code == 415


@pytest.mark.parametrize("charset", ["bz2_codec", "zlib_codec", "rot13", "base64"])
def test_a_body_is_decoded_by_text_encodings_alone(writer: APIClient, charset: str) -> None:
    bomb = bz2.compress(b"[" + b"0," * 500_000 + b"0]")

    for body in (bomb, b"{}"):
        response = writer.post(
            "/api/experiments/", body, content_type=f"application/json; charset={charset}"
        )

        assert response.status_code == 400
        assert "charset" in response.json()["detail"]


def test_without_a_token_nothing_is_written(anyone: APIClient, protocol: Protocol) -> None:
    run = factories.make_run()
    addresses = [
        "/api/experiments/",
        f"/api/experiments/{run.entry.experiment_id}/cancel/",
        f"/api/runs/{run.pk}/cancel/",
        f"/api/runs/{run.pk}/retry/",
    ]

    for address in addresses:
        response = anyone.post(address, submission(protocol))
        assert response.status_code == 401, address
        assert response["WWW-Authenticate"] == "Token"

    assert Experiment.objects.count() == 1
    run.refresh_from_db()
    assert run.status == Status.QUEUED


def test_a_wrong_token_is_refused_even_for_reading(anyone: APIClient) -> None:
    anyone.credentials(HTTP_AUTHORIZATION="Token " + "0" * 64)

    assert anyone.get("/api/runs/").status_code == 401


def test_a_session_writes_only_with_the_csrf_token(protocol: Protocol, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)

    response = client.post(
        "/api/experiments/", submission(protocol), content_type="application/json"
    )

    assert response.status_code == 403
    assert not Experiment.objects.exists()


def test_reading_can_be_closed(anyone: APIClient, writer: APIClient, settings: Settings) -> None:
    settings.PUBLIC_READ = False

    assert anyone.get("/api/runs/").status_code == 401
    assert writer.get("/api/runs/").status_code == 200


@pytest.mark.parametrize("address", ["/api/schema/", "/api/docs/"])
def test_the_description_is_closed_with_the_reading(
    anyone: APIClient, writer: APIClient, settings: Settings, address: str
) -> None:
    assert anyone.get(address).status_code == 200

    settings.PUBLIC_READ = False

    assert anyone.get(address).status_code == 401
    assert writer.get(address).status_code == 200


def test_cancelling_an_experiment_says_how_many_jobs_it_changed(writer: APIClient) -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    (entry,) = factories.contenders_of(experiment)
    factories.make_run(entry=entry, seed=0, status=Status.COMPLETED)
    running = factories.make_run(entry=entry, seed=1, status=Status.RUNNING)

    response = writer.post(f"/api/experiments/{experiment.pk}/cancel/")

    assert response.json() == {"jobs": 5}  # the running one and four controls
    running.refresh_from_db()
    assert running.status == Status.CANCELLING


def test_retrying_an_experiment_queues_what_failed(writer: APIClient) -> None:
    run = factories.make_run(status=Status.FAILED)

    response = writer.post(f"/api/experiments/{run.entry.experiment_id}/retry/")

    assert response.json() == {"jobs": 1}
    run.refresh_from_db()
    assert (run.status, run.reason) == (Status.QUEUED, "")


def test_a_run_is_cancelled_and_retried(writer: APIClient) -> None:
    run = factories.make_run()

    cancelled = writer.post(f"/api/runs/{run.pk}/cancel/")
    retried = writer.post(f"/api/runs/{run.pk}/retry/")

    assert (cancelled.json()["status"], retried.json()["status"]) == ("cancelled", "queued")


@pytest.mark.parametrize(
    ("status", "action", "message"),
    [
        ("completed", "cancel", "the job is completed, expected it to be queued or running"),
        ("queued", "retry", "the job is queued, expected it to be failed or cancelled"),
    ],
)
def test_what_a_state_does_not_allow_is_a_conflict(
    writer: APIClient, status: str, action: str, message: str
) -> None:
    run = factories.make_run(status=status)

    response = writer.post(f"/api/runs/{run.pk}/{action}/")

    assert (response.status_code, response.json()["detail"]) == (409, message)
    assert Run.objects.get(pk=run.pk).status == status


def test_rows_are_never_edited_but_for_the_tags_of_experiments(writer: APIClient) -> None:
    run = factories.make_run()
    experiment = f"/api/experiments/{run.entry.experiment_id}/"

    assert writer.put(f"/api/runs/{run.pk}/", {}).status_code == 405
    assert writer.patch(f"/api/runs/{run.pk}/", {}).status_code == 405
    assert writer.put(experiment, {}).status_code == 405
    assert writer.patch(experiment, {"name": "Another"}, format="json").status_code == 400
