"""Bundles: what is downloaded from a run's page trains and draws the same bits in an empty folder."""

import json
from pathlib import Path

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from experiments import tasks
from experiments.models import Run, SampleSet
from generators.__main__ import main
from jobs.models import Status
from tests import factories
from tests.experiments.test_pipeline import SAMPLER, TINY


@pytest.mark.django_db
def test_pages_offer_a_bundle_or_say_why_there_is_none(client: Client) -> None:
    run = factories.make_run()
    address = f"{run.get_absolute_url()}bundle.json"
    page = client.get(run.get_absolute_url()).content.decode()
    answer = client.get(address)
    told = answer.json()

    assert f'href="{address}"' in page and told["command"] in page
    assert f"run-{run.pk}.json" in answer["Content-Disposition"]
    assert client.get(f"/api/v1/runs/{run.pk}/bundle/").json() == told
    assert told["dataset"]["digest"] == run.entry.experiment.dataset.digest
    assert told["commit"] == "unknown"  # it has not been trained yet
    run.environment = {"commit": "c" * 40}
    run.save()
    assert client.get(address).json()["commit"] == "c" * 40

    run.entry.config["autoencoder"] = "runs/1/ckpt-100"
    run.entry.save()
    assert client.get(address).status_code == 404
    assert b"another run&#x27;s autoencoder" in client.get(run.get_absolute_url()).content


def test_what_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.json"
    for content, problem in (
        ("[", "expected a bundle, JSON of a run's page"),
        ('{"trilemma_bundle": 9}', "expected a bundle of format 1, got 9"),
        ('{"trilemma_bundle": 1}', "a bundle without algorithm, config"),
    ):
        path.write_text(content)
        out = ["--data", "digits", "--out", str(tmp_path / "out")]
        assert main(["reproduce", str(path), *out]) == 2
        assert problem in capsys.readouterr().err


@pytest.mark.slow  # two trainings
@pytest.mark.django_db(transaction=True)
def test_a_bundle_from_a_page_reruns_to_the_same_bits(
    client: Client, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long
    algorithm = "diffusion.ddpm"
    dataset = factories.make_dataset(files=True, train_size=40, test_size=20)
    factories.make_experiment(
        protocols=[factories.make_protocol(dataset=dataset, num_images=20)],
        entries=[
            {"algorithm": algorithm, "config": {**TINY[algorithm], "batch_size": 20}}
            | {"samplers": SAMPLER[algorithm]}
        ],
        budget={"images": 60},
    )
    run = Run.objects.get()
    tasks.train_run(run.pk)
    drawn = SampleSet.objects.get(run=run, entry=run.entry)
    tasks.draw_samples(drawn.pk)
    drawn.refresh_from_db()
    assert drawn.status == Status.COMPLETED, drawn.error
    path = tmp_path / "bundle.json"
    path.write_bytes(client.get(f"{run.get_absolute_url()}bundle.json").content)

    def reproduced(data: Path, name: str) -> int:
        return main(["reproduce", str(path), "--data", str(data), "--out", str(tmp_path / name)])

    assert reproduced(dataset.train_path, "one") == 0
    assert f"the same bits ({drawn.sha256})" in capsys.readouterr().out
    assert (tmp_path / "one" / "samples-1.npz").read_bytes() == drawn.path.read_bytes()

    assert reproduced(dataset.test_path, "other") == 2
    assert f"is not dataset {dataset.slug}: its train_digest is" in capsys.readouterr().err

    told = json.loads(path.read_text())
    told["environment"]["torch"] = "0.1"
    path.write_text(json.dumps(told | {"seed": run.seed + 1}))
    assert reproduced(dataset.train_path, "two") == 1
    printed = capsys.readouterr()
    assert "other bits" in printed.out
    assert "differs: torch: " in printed.err and "0.1 in the bundle" in printed.err
