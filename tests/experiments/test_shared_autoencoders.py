"""An entry takes the autoencoder of another entry's run; its digest and its seconds are known."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client
from pytest_django.fixtures import Settings

from catalog.models import Dataset
from experiments import services, tasks
from experiments.models import Checkpoint, Entry, Experiment, Run, SampleSet
from experiments.pipeline import _AutoencoderClock
from experiments.submission import autoencoders
from experiments.submission.specification import SpecificationError
from generators.training.loop import TrainingProgress
from jobs.models import Status
from leaderboards import export, ranking
from tests import factories

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)
SMALL: dict[str, Any] = {"base_channels": 8, "autoencoder_channels": 8, "batch_size": 20}


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def latent(autoencoder: str = "", algorithm: str = "latent.flow", **config: Any) -> dict[str, Any]:
    shared = {"autoencoder": autoencoder} if autoencoder else {}
    return {"algorithm": algorithm, "config": {**SMALL, **shared, **config}}


def submit(dataset: Dataset, *entries: dict[str, Any], **changes: Any) -> Experiment:
    protocol = dataset.protocols.first() or factories.make_protocol(dataset=dataset, num_images=20)
    return factories.make_experiment(
        protocols=[protocol], entries=entries, budget={"images": 60}, **changes
    )


def completed(dataset: Dataset, entry: dict[str, Any] | None = None, **facts: Any) -> Run:
    """Return a completed run with the manifest of a checkpoint on disk."""
    (contender,) = factories.contenders_of(submit(dataset, entry or latent()))
    run = factories.make_run(entry=contender, status=facts.pop("status", Status.COMPLETED), **facts)
    folder = site.DATA_DIR / factories.make_checkpoint(run=run).path
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return run


def refusal(dataset: Dataset, entry: dict[str, Any]) -> str:
    before = Experiment.objects.count()
    with pytest.raises(SpecificationError) as caught:
        submit(dataset, entry)
    assert Experiment.objects.count() == before
    (field,) = caught.value.errors
    assert field == "entries.0.config.autoencoder"
    return caught.value.errors[field].removeprefix(f"expected {autoencoders.EXAMPLE}")


@pytest.mark.slow
def test_an_autoencoder_of_another_run_is_taken_as_it_is_and_its_seconds_count() -> None:
    dataset = factories.make_dataset(files=True, train_size=40, test_size=20)
    tasks.train_run(Run.objects.get(entry=contender(submit(dataset, latent()))).pk)
    SampleSet.objects.all().delete()  # are more urgent than trainings
    source = Run.objects.get()
    last = source.checkpoints.last()
    assert source.status == Status.COMPLETED and last is not None, source.error
    assert source.autoencoder_seconds is not None
    assert 0 < source.autoencoder_seconds < source.device_seconds

    experiment = submit(dataset, latent(f"run {source.pk}", "latent.edm"))

    taker = Run.objects.get(entry=contender(experiment))
    assert taker.entry.config["autoencoder"] == last.path
    tasks.train_run(taker.pk)
    taker.refresh_from_db()
    assert taker.status == Status.COMPLETED, taker.error
    assert taker.autoencoder_seconds == source.autoencoder_seconds
    assert taker.environment["autoencoder"] == f"sha256 {last.sha256}"
    manifest = json.loads((taker.folder / "ckpt-60" / "manifest.json").read_text())
    assert manifest["autoencoder"]["sha256"] == last.sha256
    assert manifest["config"]["autoencoder"] == last.path  # of any data folder
    rows = ranking.rank(dataset.protocols.get()).rows
    cells = {row.entry.pk: row.cells["device_seconds"] for row in rows}
    mine, theirs = cells[taker.entry_id], cells[source.entry_id]
    assert mine.value == taker.device_seconds + source.autoencoder_seconds
    assert theirs.value == source.device_seconds
    assert mine.autoencoder_seconds == theirs.autoencoder_seconds == source.autoencoder_seconds
    board = export.to_dict(ranking.rank(dataset.protocols.get()))
    exported = {row["entry"]: row for row in board["rows"] if row["algorithm"]}
    for row in exported.values():
        assert row["device_seconds of autoencoder"] == source.autoencoder_seconds
        assert row["details"]["device_seconds"][0]["autoencoder_seconds"]
    page = Client().get(f"/leaderboards/{dataset.protocols.get().fingerprint}/").content.decode()
    assert page.count("of which autoencoder") == 2
    assert "of the autoencoder that it takes" in (
        Client().get(taker.get_absolute_url()).content.decode()
    )
    assert (
        Client().get(f"/api/runs/{taker.pk}/").json()["autoencoder_seconds"]
        == source.autoencoder_seconds
    )


def contender(experiment: Experiment) -> Entry:
    (found,) = factories.contenders_of(experiment)
    return found


def test_a_run_is_named_in_several_ways_and_means_the_same() -> None:
    dataset = factories.make_dataset()
    run = completed(dataset)
    ways = (f"run {run.pk}", f"{run.pk}", f"/runs/{run.pk}/", f"runs/{run.pk}/ckpt-1000")

    taken = {contender(submit(dataset, latent(way))).config["autoencoder"] for way in ways}

    assert taken == {f"runs/{run.pk}/ckpt-1000"}


def test_the_same_submission_again_is_the_same_experiment() -> None:
    dataset = factories.make_dataset()
    run = completed(dataset)
    protocol = factories.make_protocol(dataset=dataset)
    data = factories.experiment_data(protocol=protocol, entries=[latent(f"run {run.pk}")])

    first, _ = services.submit_once(data, user=None)
    second, is_new = services.submit_once(data, user=None)

    assert first == second and not is_new


def test_runs_that_are_no_use_are_refused_at_the_field() -> None:
    dataset = factories.make_dataset()
    other = factories.make_dataset(channels=3, resolution=16)
    failed = completed(dataset, status=Status.FAILED)
    deleted = completed(dataset)
    shutil.rmtree(site.DATA_DIR / f"runs/{deleted.pk}")
    good = completed(dataset)
    elsewhere = completed(other)
    no_latent = completed(dataset, {"algorithm": "vae.vq"})
    asked = [
        ("run 999", "; there is no run 999"),
        (f"run {failed.pk}", f"; run {failed.pk} is failed"),
        (f"run {deleted.pk}", f"; the weights of run {deleted.pk} were deleted"),
        (
            f"runs/{good.pk}/ckpt-500",
            f"; that of run {good.pk} is runs/{good.pk}/ckpt-1000",
        ),
        (
            f"run {elsewhere.pk}",
            f"; run {elsewhere.pk} is of {other} (3x16x16), not of {dataset} (1x8x8)",
        ),
        (f"run {no_latent.pk}", f"; run {no_latent.pk} is of vae.vq"),
        ("/etc/passwd", ", got '/etc/passwd'"),
        ("../runs/1/ckpt-1", ", got '../runs/1/ckpt-1'"),
    ]

    for text, expected in asked:
        assert refusal(dataset, latent(text)) == expected

    assert refusal(dataset, latent(f"run {good.pk}", latent_channels=2)) == (
        f"; run {good.pk} does not fit: expected the latent_channels 2, it has 4"
    )
    assert refusal(dataset, latent(f"run {good.pk}", conditional=False)) == (
        f"; run {good.pk} was trained with conditional true"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shutil.rmtree, "the autoencoder that it takes, {}, was deleted"),
        (
            lambda folder: (folder / "manifest.json").write_text("[]"),
            "{}/manifest.json: has sha256",
        ),
    ],
)
def test_what_is_deleted_or_changed_before_the_training_fails_it_with_a_sentence(
    change: Any, reason: str, data_dir: Path
) -> None:
    dataset = factories.make_dataset(files=True, train_size=40, test_size=20)
    source = completed(dataset)
    path = f"runs/{source.pk}/ckpt-1000"
    run = Run.objects.get(entry=contender(submit(dataset, latent(f"run {source.pk}"))))
    change(data_dir / path)
    Run.objects.exclude(pk=run.pk).delete()
    if reason.endswith("sha256"):
        factories.make_checkpoint(run=run).delete()
        Checkpoint.objects.create(run=run, images_seen=1, path=path, sha256="0" * 64, bytes=1)

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert run.reason.startswith(reason.format(path)), run.error
    assert not run.folder.exists() or not list(run.folder.glob("ckpt-60"))


def told(fraction: float, seconds: float) -> TrainingProgress:
    return TrainingProgress(
        images_seen=1,
        budget_fraction=fraction,
        device_seconds=seconds,
        images_per_second=1.0,
        losses={},
        skipped=0,
    )


def test_the_seconds_of_an_autoencoder_are_those_at_the_turn() -> None:
    dataset = factories.make_dataset()
    run = factories.make_run(entry=contender(submit(dataset, latent(autoencoder_share=0.5))))
    clock = _AutoencoderClock(run)

    assert clock.read(told(0.25, 10)) == {}
    assert clock.read(told(0.75, 20)) == {"autoencoder_seconds": 15}
    assert clock.read(told(1, 21)) == {"autoencoder_seconds": 15}
    run.autoencoder_seconds = 15
    assert _AutoencoderClock(run).read(told(0.9, 40)) == {"autoencoder_seconds": 15}
    again = _AutoencoderClock(run)  # of an older checkpoint
    assert again.read(told(0.5 - 1e-9, 30)) == {}
    assert again.read(told(1, 40))["autoencoder_seconds"] == pytest.approx(30)


def test_a_run_of_before_has_cost_the_part_of_its_budget_and_a_plain_one_nothing() -> None:
    dataset = factories.make_dataset()
    old = completed(dataset, latent(autoencoder_share=0.25), device_seconds=40.0)
    plain = completed(dataset, {"algorithm": "vae.conv"})

    assert autoencoders.seconds_of(old) == 10
    assert autoencoders.seconds_of(plain) == 0
