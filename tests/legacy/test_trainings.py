"""Trainings that an earlier Trilemma began are gone on with and sampled as if nothing had changed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.legacy import trainings
from tests.legacy.trainings import OPTIONS, PART, WHOLE

CHANGING = ("begun", "device_seconds", "files", "images_seen", "judged", "kept", "resume", "steps")
LATER = {"class_counts"}  # what manifests did not say then
Endings = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainings")
    trainings.unpack(folder)
    return folder


@pytest.fixture(params=list(OPTIONS))
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def begun(unpacked: Path, algorithm: str, tmp_path: Path) -> Path:
    """Return the folder of an algorithm's training, which ends at a part of its budget."""
    return shutil.copytree(unpacked / algorithm, tmp_path / "begun" / algorithm)


@pytest.fixture(scope="module")
def endings() -> Endings:
    found: Endings = json.loads(trainings.ENDINGS.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def same_bits(endings: Endings) -> bool:
    """Return whether this processor and these libraries compute as those of then."""
    return bool(endings["processor"] == trainings.processor())


def test_it_goes_on_to_the_end_that_it_would_have_had(
    algorithm: str, begun: Path, endings: Endings, same_bits: bool, tmp_path: Path
) -> None:
    again = shutil.copytree(begun, tmp_path / "again" / algorithm)

    answer = trainings.train(algorithm, begun, "--resume")
    trainings.train(algorithm, again, "--checkpoint-at", str(PART + 8))
    shutil.rmtree(again / f"ckpt-{WHOLE}")  # as if it had been stopped a second time
    trainings.train(algorithm, again)

    end = trainings.weights(begun / f"ckpt-{WHOLE}")
    assert end == trainings.weights(again / f"ckpt-{WHOLE}")
    assert answer["resume"] in ("exact", "approximate")
    check_ending(begun)
    if same_bits:
        assert end == endings["trainings"][algorithm]["gone_on"]


def check_ending(folder: Path) -> None:
    """See that what came after the fixture says the same of the training, and that losses go on."""
    before, after = (manifest_of(folder / f"ckpt-{images}") for images in (PART, WHOLE))
    assert before.keys() | LATER == after.keys()
    for name in before.keys() - {*CHANGING, "numerics"}:
        assert before[name] == after[name], name
    lines = (folder / "losses.jsonl").read_text("utf-8").splitlines()
    seen = [json.loads(line)["images_seen"] for line in lines]
    assert seen == sorted(set(seen)) and seen[-1] == WHOLE


def manifest_of(checkpoint: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trainings.manifest(checkpoint))
    return found


def test_the_same_training_from_its_beginning_leaves_the_same(
    algorithm: str, begun: Path, endings: Endings, same_bits: bool, tmp_path: Path
) -> None:
    out = tmp_path / "anew" / algorithm

    trainings.train(algorithm, out, "--checkpoint-at", str(PART))

    old, new = begun / f"ckpt-{PART}", out / f"ckpt-{PART}"
    assert trainings.shapes(old) == trainings.shapes(new)
    before, after = manifest_of(old), manifest_of(new)
    assert before.keys() | LATER == after.keys()
    for name in before.keys() - {"device_seconds", "files", "numerics"}:
        assert before[name] == after[name], name
    if same_bits:
        then = endings["trainings"][algorithm]
        assert trainings.weights(new) == then["part"]
        assert trainings.weights(out / f"ckpt-{WHOLE}") == then["whole"]


def test_it_is_sampled_from(
    algorithm: str, begun: Path, endings: Endings, same_bits: bool, tmp_path: Path
) -> None:
    drawn = trainings.sample(begun / f"ckpt-{PART}", tmp_path)

    then = endings["trainings"][algorithm]["samples"]
    assert drawn == (then if same_bits else trainings.sample(begun / f"ckpt-{PART}", tmp_path))
