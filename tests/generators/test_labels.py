"""`python -m generators sample` draws classes in the shares of the training images."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets.writing import write_npz
from generators.__main__ import main
from generators.training.checkpoints import MANIFEST

Output = pytest.CaptureFixture[str]
Draw = Callable[..., list[int]]
COUNTS = [0, 35, 10, 0, 5]  # labels begin at 1, and one between is missing


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a checkpoint of a training on labels of which some are never there."""
    labels = np.repeat(np.arange(5), COUNTS)
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)
    write_npz(tmp_path / "data.npz", images, labels)
    train = ["train", "vae.conv", "--data", str(tmp_path / "data.npz"), "--budget-images", "16"]
    train += ["--out", str(tmp_path / "run"), "--set", "base_channels=8", "--set", "batch_size=16"]
    assert main([*train, "--set", "latent_dim=4", "--device", "cpu"]) == 0
    return tmp_path / "run" / "ckpt-16"


@pytest.fixture
def draw(checkpoint: Path, tmp_path: Path) -> Draw:
    def drawn(*more: str, num: int = 20) -> list[int]:
        command = ["sample", str(checkpoint), "--num", str(num), "--out", str(tmp_path / "set.npz")]
        assert main([*command, *more]) == 0
        with np.load(tmp_path / "set.npz") as found:
            labels: list[int] = found["labels"].tolist()
        return labels

    return drawn


def test_samples_have_the_classes_of_the_training_images_in_their_shares(draw: Draw) -> None:
    assert Counter(draw()) == Counter(draw("--labels", "training")) == {1: 14, 2: 4, 4: 2}
    assert draw(num=50)[:20] == draw(num=20)


def test_other_shares_are_asked_for(draw: Draw) -> None:
    assert draw("--labels", "uniform", num=7) == [1, 2, 4, 1, 2, 4, 1]
    assert Counter(draw("--labels", "0,1,1,0,2")) == {1: 5, 2: 5, 4: 10}
    assert set(draw("--label", "2")) == {2}


def test_classes_that_were_never_seen_are_refused(checkpoint: Path, capsys: Output) -> None:
    sample = ["sample", str(checkpoint), "--out", "never.npz"]

    assert main([*sample, "--labels", "1,1,1,0,1"]) == 2
    assert main([*sample, "--label", "3"]) == 2

    assert capsys.readouterr().err.splitlines()[-2:] == [
        "error: --labels: expected shares of classes with training images alone, got one for class "
        "0, which the generator never saw",
        "error: --label: the generator never saw an image of class 3",
    ]


def test_where_one_class_is_wanted_it_is_the_first_that_was_seen(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "path.npz"

    command = ["interpolate", str(checkpoint), "--seeds", "0", "1", "--num", "2"]
    assert main([*command, "--out", str(out)]) == 0

    with np.load(out) as found:
        assert found["labels"].tolist() == [1, 1]


def test_a_checkpoint_that_does_not_say_its_counts_is_sampled_in_turn(
    checkpoint: Path, draw: Draw, capsys: Output
) -> None:
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    assert manifest.pop("class_counts") == COUNTS
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))

    assert draw(num=7) == draw("--labels", "uniform", num=7) == [0, 1, 2, 3, 4, 0, 1]
    assert main(["sample", str(checkpoint), "--out", "x.npz", "--labels", "training"]) == 2
    assert "does not say how many images each class had" in capsys.readouterr().err


def test_counts_that_are_none_are_a_damaged_checkpoint(checkpoint: Path, capsys: Output) -> None:
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    (checkpoint / MANIFEST).write_text(json.dumps(manifest | {"class_counts": [1, -1]}))

    assert main(["sample", str(checkpoint), "--out", "x.npz"]) == 2
    assert "'class_counts' are no counts of its classes" in capsys.readouterr().err
