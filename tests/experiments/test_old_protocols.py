"""Protocols of version 1: their boards stay, nothing new is scored under them."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Role
from catalog.models import Protocol
from experiments import services, tasks
from experiments.models import Entry, Evaluation, Experiment, SampleSet
from experiments.submission.specification import SpecificationError
from jobs.models import Status
from tests import factories
from tests.web import html

REFUSAL = "version: expected 2, got 1, of an earlier Trilemma: register it again"
# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def experiment() -> Experiment:
    """A finished experiment of that time: one entry and one control."""
    protocol = factories.make_old_protocol()
    experiment = Experiment.objects.create(
        name="old", dataset=protocol.dataset, budget_images=1000, seeds=[0]
    )
    experiment.protocols.set([protocol])
    shared: dict[str, Any] = {"experiment": experiment, "samplers": []}
    control = Entry.objects.create(
        **shared, kind="control", label="Real test images", config={"control": "test"}
    )
    SampleSet.objects.create(entry=control, sampler_label="test split", count=500)
    vae = Entry.objects.create(**shared, algorithm="vae.conv", label="VAE", position=1)
    vae.samplers = [{"name": "direct"}]
    vae.save()
    for entry, fd in ((control, 1.0), (vae, 4.5)):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd, "recall": 0.5}])
    return experiment


def test_its_board_its_page_and_its_exports_stay(experiment: Experiment, client: Client) -> None:
    fingerprint = experiment.protocols.get().fingerprint

    for address in (
        f"/leaderboards/{fingerprint}/",
        f"/protocols/{fingerprint}/",
        experiment.get_absolute_url(),
        experiment.entries.get(label="VAE").runs.get().get_absolute_url(),
        "/leaderboards/",
        "/",
    ):
        html.get(client, address)
    board = html.get(client, f"/leaderboards/{fingerprint}/")
    row = board.one("tr", data_entry="VAE")
    assert row.one("td", data_column="fd").attributes["data-value"] == "4.5"
    data = client.get(f"/api/leaderboards/{fingerprint}/").json()
    assert [row["FD[classifier]"] for row in data["rows"]] == [1.0, 4.5]
    assert client.get(f"/api/protocols/{fingerprint}/").json()["metrics"][0]["name"] == "fd"


def test_it_differs_from_every_other_protocol_by_its_version(experiment: Experiment) -> None:
    old = experiment.protocols.get()
    new = factories.make_protocol(dataset=experiment.dataset)

    assert old.differences(old) == []
    assert old.differences(new) == new.differences(old) == [f"{old.label}: {REFUSAL}"]


def test_it_is_not_offered_and_a_submission_that_names_it_is_refused(
    experiment: Experiment, client: Client
) -> None:
    old = experiment.protocols.get()
    new = factories.make_protocol(dataset=experiment.dataset)
    client.force_login(factories.make_user(role=Role.ADMIN))

    page = client.get("/submit/experiment/").content.decode()
    with pytest.raises(SpecificationError) as caught:
        services.submit_data(factories.experiment_data(protocol=old), user=None)

    assert f'value="{new.fingerprint}" checked>' in page
    assert f'value="{old.fingerprint}" disabled>' in page and REFUSAL in page
    assert caught.value.errors == {"protocols.0": f"{old.label}: {REFUSAL}"}


def test_a_queued_evaluation_of_it_fails_with_the_reason(experiment: Experiment) -> None:
    evaluation = Evaluation.objects.filter(sample_set__run__isnull=False).get()
    Evaluation.objects.filter(pk=evaluation.pk).update(
        status=Status.QUEUED, finished_at=None, queued_at=timezone.now()
    )

    tasks.evaluate_samples(evaluation.pk)

    evaluation.refresh_from_db()
    assert (evaluation.status, evaluation.reason) == (Status.FAILED, REFUSAL)


def test_it_may_be_renamed(experiment: Experiment) -> None:
    old = experiment.protocols.get()
    old.name = "Our first protocol"
    old.save()

    assert Protocol.objects.get(pk=old.pk).name == "Our first protocol"
