"""What an autoencoder loses is measured once it is trained, and its reconstructions are a control."""

import csv
import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from catalog.models import Protocol
from catalog.services import Scoring, register_protocol
from experiments import services, tasks
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.pages.reconstructions import distance_label
from experiments.progress import progress
from experiments.submission.specification import SpecificationError
from jobs import lifecycle
from jobs.models import Status
from leaderboards import export, ranking
from tests import factories
from tests.experiments.test_pipeline import work_off

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine_here")]
DAY = timedelta(days=1)
LATENT: dict[str, Any] = {
    "algorithm": "latent.flow",
    "label": "Small",
    "config": {"base_channels": 8, "autoencoder_channels": 8, "batch_size": 20},
    "samplers": [{"name": "euler", "steps": 2}],
}


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def protocol_of(**changes: Any) -> Protocol:
    dataset = factories.make_dataset(
        files=True, **{"resolution": 16, "train_size": 60, "test_size": 40, **changes}
    )
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd", "precision"), num_images=30)
    return register_protocol(dataset, scoring, admission_images=0)[0]


def submit(protocol: Protocol, *, entry: dict[str, Any] = LATENT, **changes: Any) -> Experiment:
    return factories.make_experiment(
        protocols=[protocol], entries=[entry], **{"budget": {"images": 40}, **changes}
    )


def reconstructed(experiment: Experiment) -> Entry:
    return factories.control_of(experiment, "reconstructed")


def test_after_a_latent_training_its_loss_of_the_test_split_is_known_and_shown() -> None:
    protocol = protocol_of()
    experiment = submit(protocol)

    work_off()

    run = Run.objects.get()
    sample_set = run.sample_sets.get(entry=reconstructed(experiment))
    lost = sample_set.reconstruction
    assert (lost["split"], lost["images"]) == ("test", 40)
    with np.load(sample_set.path) as file:
        assert file["arr_0"].shape == (30, 16, 16, 1)
    assert 0 < lost["psnr"]["value"] < 40 and lost["psnr"]["low"] < lost["psnr"]["value"]
    assert -1 < lost["ssim"]["value"] < 1
    rfd = lost["rfd"][protocol.fingerprint]
    assert rfd["value"] > 0 and "40 images are fewer" in rfd["reason"]  # no interval: so few
    page = Client().get(run.get_absolute_url()).content.decode()
    assert "the 40 images of the test split" in page
    assert f'data-metric="psnr" data-value="{lost["psnr"]["value"]!r}"' in page
    label = distance_label(protocol)
    assert label.startswith("rFD[pixels]") and label in page and "dB" in page
    assert Client().get(f"/api/runs/{run.pk}/").json()["reconstruction"] == lost
    assert Client().get(f"/api/samplesets/{sample_set.pk}/").json()["reconstruction"] == lost


def test_the_reconstructions_are_a_control_of_every_seed_on_the_board_and_in_its_exports() -> None:
    protocol = protocol_of()
    experiment = submit(protocol, seeds=[0, 1])
    (standing,) = progress([experiment]).values()
    assert standing.total == 4 * 2 + 2 * (1 + 2) + 2 * 2  # controls, trained entry, its control

    work_off()

    (after,) = progress([experiment]).values()
    assert after.completed == after.total == standing.total
    board = ranking.rank(protocol, experiment=experiment)
    row = next(row for row in board.rows if row.control == "reconstructed")
    assert row.entry.label == "Reconstructed by Small's autoencoder"
    assert row.is_aside and (row.seeds_scored, row.seeds_total, row.seeds_failed) == (2, 2, 0)
    assert row.cells["fd"].value is not None and row.cells["fd"].rank is None
    assert row.cells["device_seconds"].value is None
    means = np.mean([s.reconstruction["psnr"]["value"] for s in row.sample_sets])
    table = list(csv.DictReader(io.StringIO(export.to_csv(board))))
    exported = {line["entry"]: line["reconstruction PSNR dB"] for line in table}
    assert float(exported[row.entry.label]) == pytest.approx(means)
    assert exported["Small"] == ""
    (whole,) = [r for r in export.to_dict(board)["rows"] if r["control_kind"] == "reconstructed"]
    assert [each["images"] for each in whole["reconstructions"]] == [40, 40]
    page = Client().get(f"/leaderboards/{protocol.fingerprint}/").content.decode()
    assert "Reconstructed by Small&#x27;s autoencoder" in page
    assert f"PSNR {means:.3g} dB" in page and "rFD[pixels]" in page
    assert "test split, encoded and decoded" in page
    assert Client().get(experiment.get_absolute_url()).status_code == 200


def test_a_vq_vae_has_such_a_control_and_a_model_without_an_autoencoder_none() -> None:
    protocol = protocol_of()
    vq = {"algorithm": "vae.vq", "config": {"batch_size": 20, "base_channels": 8}}

    kinds = [
        [entry.config.get("control") for entry in submit(protocol, entry=entry).entries.all()]
        for entry in (vq, {"algorithm": "vae.conv"})
    ]

    assert ["reconstructed" in each for each in kinds] == [True, False]


def test_no_entry_may_be_called_as_a_control_of_another_is() -> None:
    protocol = factories.make_protocol()
    entry = {"algorithm": "vae.conv", "label": "Reconstructed by Small's autoencoder"}

    with pytest.raises(SpecificationError) as caught:
        factories.make_experiment(protocols=[protocol], entries=[entry])

    assert caught.value.errors == {
        "entries.0.label": '"Reconstructed by Small\'s autoencoder" is taken, expected another'
    }


def test_an_experiment_of_before_gets_the_control_when_its_training_ends() -> None:
    experiment = submit(protocol_of())
    reconstructed(experiment).delete()

    tasks.train_run(Run.objects.get().pk)

    assert reconstructed(experiment).sample_sets.get().run == Run.objects.get()


def test_a_board_tells_autoencoders_apart_and_counts_lost_seeds() -> None:
    protocol = factories.make_protocol()
    experiments = [submit(protocol, seeds=[0, 1]) for _ in range(2)]
    for experiment in experiments:
        entry = factories.contenders_of(experiment)[0]
        run = factories.make_run(entry=entry, seed=0, status=Status.COMPLETED)
        factories.make_run(entry=entry, seed=1, status=Status.FAILED)
        checkpoint = factories.make_checkpoint(run=run)
        services._queue_reconstructions(checkpoint, 10)
        sample_set = reconstructed(experiment).sample_sets.get()
        factories._put(sample_set, Status.COMPLETED, {})
        factories.make_evaluation(sample_set=sample_set, protocol=protocol)

    rows = [r for r in ranking.rank(protocol).rows if r.control == "reconstructed"]

    assert [row.experiment for row in rows] == experiments
    assert {(row.seeds_scored, row.seeds_total, row.seeds_failed) for row in rows} == {(1, 2, 1)}


def test_a_reconstruction_that_was_cancelled_or_whose_worker_died_is_done_once() -> None:
    experiment = submit(protocol_of())
    run = Run.objects.get()
    tasks.train_run(run.pk)
    sample_set = reconstructed(experiment).sample_sets.get()
    assert services.cancel_job(sample_set, user=None)
    sample_set.refresh_from_db()
    assert sample_set.status == Status.CANCELLED and sample_set.reconstruction == {}
    assert services.retry_job(sample_set, user=None)
    dead = lifecycle.claim(SampleSet, sample_set.pk, factories.make_worker())
    assert dead is not None
    SampleSet.objects.filter(pk=sample_set.pk).update(lease_until=timezone.now() - DAY)
    assert lifecycle.requeue_lost() == 1

    work_off()

    with pytest.raises(lifecycle.StaleAttempt):
        services.finish_sampling(dead, sha256="", reconstruction={"images": 1})
    sample_set.refresh_from_db()
    assert sample_set.status == Status.COMPLETED and sample_set.reconstruction["images"] == 40
    assert sample_set.attempt == dead.attempt + 1
    assert Evaluation.objects.filter(sample_set=sample_set).count() == 1
    assert SampleSet.objects.filter(run=run).count() == 2
