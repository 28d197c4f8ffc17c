"""Agreement of images and prompts by a supplied CLIP-like model, from its registration to a board."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from catalog.models import Dataset, PromptSet, Protocol, StoredFile
from evaluation.__main__ import main as evaluation
from evaluation.imagesets.in_memory import read_images
from evaluation.protocols import agreement
from evaluation.protocols.agreement import CLIP_SCORE
from experiments import tasks
from experiments.models import Evaluation, Experiment, MetricValue, SampleSet
from experiments.submission.external import read_external
from experiments.submission.specification import SpecificationError
from jobs.models import Status
from leaderboards import ranking
from operations import holdings
from tests import factories
from tests.evaluation.tiny_clip import make_clip
from tests.experiments.test_external import (
    SAID,
    TEXTS,
    asked_folder,
    hand_in,
    read_sets,
    write_manifest,
)
from tests.experiments.test_pipeline import work_off

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine_here"),
]


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "tiny")


@pytest.fixture
def dataset() -> Dataset:
    return factories.make_dataset(files=True, classes=(), texts=TEXTS, train_size=60, test_size=20)


def register(dataset: Dataset, folder: Path) -> Protocol:
    prompts = PromptSet.objects.first() or factories.make_prompts(*TEXTS)
    call_command(
        *("register_protocol", dataset.slug, "--extractor=pixels-pca64", "--images-per-prompt=4"),
        *("--metrics=fd,clip_score", f"--prompts={prompts.slug}", f"--clip={folder}"),
        "--admission-images=0",
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )
    return Protocol.objects.get()


def submitted(protocol: Protocol, place: Path) -> Experiment:
    folder = asked_folder(place, list(TEXTS) * 4)
    manifest = write_manifest(place, SAID)
    hand_in(folder, "--manifest", manifest, "--protocol", protocol.fingerprint)
    return Experiment.objects.get()


def test_it_stands_on_the_board_between_floor_and_ceiling(
    dataset: Dataset, folder: Path, tmp_path: Path, client: Client
) -> None:
    protocol = register(dataset, folder)
    shutil.rmtree(folder)  # the site has a copy
    experiment = submitted(protocol, tmp_path)

    work_off()

    label = protocol.metric_label(CLIP_SCORE)
    assert label.startswith("CLIPScore[tiny@")
    found: dict[str, Any] = {
        value.evaluation.sample_set.entry.config.get("control", "external"): value
        for value in MetricValue.objects.filter(metric=CLIP_SCORE)
    }
    assert found.keys() == {"test", "copy", "noise", "blur", "asked", "shuffled", "external"}
    own = found["external"]
    assert own.value > 0 and own.standard_error > 0 and own.details["real_pairs"] > 0
    labels = {entry.label for entry in experiment.entries.all()}
    assert {"Real images for the prompts", "Real images for other prompts"} <= labels
    _check_pairs(dataset)
    assert own.value == pytest.approx(_by_the_command_line(protocol, tmp_path))
    board = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()
    assert label in board and ranking.rank(protocol).rows


def _check_pairs(dataset: Dataset) -> None:
    """Check that the ceiling's images are those of their captions, and the floor's are the same."""
    test = read_images(dataset.test_path)
    told = dict(zip((p.tobytes() for p in test.pixels), test.captions or (), strict=True))
    ceiling, floor = (
        read_images(SampleSet.objects.get(entry__config__control=kind).path)
        for kind in ("asked", "shuffled")
    )
    assert tuple(told[image.tobytes()] for image in ceiling.pixels) == ceiling.captions
    assert sorted(p.tobytes() for p in ceiling.pixels) == sorted(p.tobytes() for p in floor.pixels)
    assert tuple(told[image.tobytes()] for image in floor.pixels) != floor.captions


def _by_the_command_line(protocol: Protocol, place: Path) -> float:
    assert protocol.prompt_set is not None
    record = {"protocol": protocol.record, "prompts": protocol.prompt_set.record}
    (place / "p.json").write_text(json.dumps(record))
    sample_set = SampleSet.objects.exclude(source="").get()
    reference, held_out = protocol.dataset.train_path, protocol.dataset.test_path
    assert protocol.clip_files is not None
    arguments = [
        *("score", sample_set.path, "--reference", reference, "--held-out", held_out),
        *("--protocol", place / "p.json", "--clip", protocol.clip_files),
        *("--cache", place / "cache", "--json", place / "out.json"),
    ]
    assert evaluation([str(each) for each in arguments]) == 0
    found = json.loads((place / "out.json").read_text())["metrics"][CLIP_SCORE]
    return float(found["value"])


def test_the_models_files_are_kept_with_the_sites(dataset: Dataset, folder: Path) -> None:
    protocol = register(dataset, folder)

    place = protocol.clip_files
    assert place is not None
    kept = {row.path for row in StoredFile.objects.filter(kind=StoredFile.Kind.EXTRACTOR)}
    assert {f"extractors/{place.name}/{file.name}" for file in place.iterdir()} <= kept
    assert place / "model.safetensors" in {file for each in holdings.find() for file in each.files}


def test_a_model_that_is_gone_fails_the_job_with_its_name(
    dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    protocol = register(dataset, folder)
    submitted(protocol, tmp_path)
    assert protocol.clip_files is not None
    shutil.rmtree(protocol.clip_files)

    read_sets()
    scored = Evaluation.objects.exclude(sample_set__source="")
    while scored.get().status == Status.QUEUED:
        tasks.evaluate_samples(scored.get().pk)

    assert scored.get().status == Status.FAILED
    assert protocol.metric_label(CLIP_SCORE) in scored.get().reason


def test_a_folder_that_is_none_is_refused_with_what_is_missing(
    dataset: Dataset, folder: Path
) -> None:
    (folder / "preprocessor_config.json").unlink()

    with pytest.raises(CommandError, match=r"the model's preprocessor_config\.json there"):
        register(dataset, folder)

    assert not Protocol.objects.exists()


def test_without_the_extra_nothing_is_registered_or_queued(
    dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = register(dataset, folder)
    monkeypatch.setattr(agreement, "find_spec", lambda _name: None)

    with pytest.raises(SpecificationError, match="pip install 'trilemma"):
        read_external({"manifest": SAID, "protocols": [protocol.fingerprint]})
    Protocol.objects.all().delete()
    with pytest.raises(CommandError, match="pip install 'trilemma"):
        register(dataset, folder)

    assert not Protocol.objects.exists()
