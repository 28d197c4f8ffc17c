import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluation.imagesets.atomic import sha256_of
from generators.trained.sampling import load_generator
from generators.training import checkpoints
from generators.training.checkpoints import (
    FORMAT,
    MANIFEST,
    WEIGHTS,
    CheckpointError,
    SavedCheckpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from generators.training.loop import TrainingResult

FACTS: dict[str, Any] = {
    "algorithm": "vae.conv",
    "config": {},
    "shape": [1, 8, 8],
    "num_classes": 3,
    "seed": 0,
}


def save(directory: Path, images_seen: int, **tensors: Tensor) -> SavedCheckpoint:
    return save_checkpoint(
        directory,
        tensors or {"a": torch.arange(6.0)},
        FACTS,
        images_seen=images_seen,
        device_seconds=1.5,
    )


def rewrite_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**manifest, **changes}))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)

    saved = save(tmp_path, 128, images=images, step=torch.tensor(3.0), count=torch.tensor([7]))
    manifest, tensors = load_checkpoint(saved.path, sha256=saved.sha256)

    assert saved.path == tmp_path / "ckpt-128"
    assert saved.images_seen == 128 and saved.device_seconds == 1.5
    assert saved.bytes == sum(file.stat().st_size for file in saved.path.iterdir())
    assert torch.equal(tensors["images"], images)
    assert tensors["step"] == 3 and tensors["count"].dtype == torch.int64
    assert manifest == {
        **FACTS,
        "format": FORMAT,
        "images_seen": 128,
        "device_seconds": 1.5,
        "files": {WEIGHTS: sha256_of(saved.path / WEIGHTS)},
    }


def test_the_newest_checkpoint_is_the_one_with_most_images(tmp_path: Path) -> None:
    for images_seen in (900, 1000, 64):
        save(tmp_path, images_seen)
    (tmp_path / "ckpt-x").mkdir()
    (tmp_path / "other").mkdir()

    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "ckpt-1000",
        "ckpt-900",
        "ckpt-64",
    ]
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_pruning_keeps_the_newest_and_clears_what_a_kill_left_behind(tmp_path: Path) -> None:
    here = tmp_path / "here"
    for images_seen in (1, 2, 3):
        save(here, images_seen)
    older, old, young = here / ".tmp-old", here / ".ckpt-3.old.tmp", here / ".ckpt-4.young.tmp"
    for folder in (older, old, young):
        folder.mkdir()
    os.utime(older, (0, 0))
    os.utime(old, (0, 0))

    prune_checkpoints(here, keep=2)

    assert sorted(path.name for path in here.iterdir()) == [young.name, "ckpt-2", "ckpt-3"]


@pytest.mark.parametrize("step", ["_write_weights", "_write_manifest", "_put_in_place"])
def test_a_save_that_fails_leaves_nothing_and_the_checkpoint_before_intact(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    before = save(here, 1)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, step, full)
    with pytest.raises(OSError, match="no space left on device"):
        save(here, 2)

    assert [path.name for path in here.iterdir()] == ["ckpt-1"]
    load_checkpoint(before.path, sha256=before.sha256)


def test_a_good_checkpoint_is_not_written_again_but_a_damaged_one_is(tmp_path: Path) -> None:
    first = save(tmp_path, 5)
    kept = save(tmp_path, 5, a=torch.zeros(1))
    (first.path / WEIGHTS).write_bytes(b"damaged")

    replaced = save(tmp_path, 5, a=torch.ones(1))

    assert kept == first
    assert load_checkpoint(replaced.path)[1]["a"] == 1


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "ckpt-1")

    file = tmp_path / "ckpt-1" / MANIFEST
    assert str(caught.value) == (
        f"{file}: cannot be read ([Errno 2] No such file or directory: '{file}')"
    )


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_one_changed_byte_is_noticed(name: str, tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    file = saved.path / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)

    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(saved.path, sha256=saved.sha256)


def test_another_manifest_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    rewrite_manifest(saved.path, seed=1)

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved.path, sha256=saved.sha256)

    assert str(caught.value) == f"{saved.path / MANIFEST}: its sha256 is not {saved.sha256}"
    load_checkpoint(saved.path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ("not json", "cannot be read"),
        ("[]", "expected a manifest of format 2"),
        ('{"format": 1}', "expected a manifest of format 2"),
        ('{"format": 2}', "'images_seen' is missing or has the wrong type"),
        (" " * (checkpoints.LARGEST_MANIFEST + 1), "larger than 4194304 bytes"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    (saved.path / MANIFEST).write_text(text)

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved.path)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"images_seen": -1}, {"device_seconds": float("nan")}, {"device_seconds": -1.0}]
)
def test_counts_that_make_no_sense_are_refused(change: dict[str, float], tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    rewrite_manifest(saved.path, **change)

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved.path)

    assert str(caught.value) == f"{saved.path / MANIFEST}: expected counts from 0"


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    saved = save(tmp_path, 1)
    (saved.path / WEIGHTS).write_bytes(b"\x80\x04N." * 100)  # a pickle
    rewrite_manifest(saved.path, files={WEIGHTS: sha256_of(saved.path / WEIGHTS)})

    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(saved.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "os.system"}, "unknown algorithm 'os.system', expected one of: "),
        ({"config": {"batch_size": -1}}, "batch_size: expected a whole number in 1..65536, got -1"),
        ({"shape": [1, 8, 100_000]}, "expected sides of 8 to 256 pixels, got 8x100000"),
        ({"shape": [1, 8]}, "not enough values to unpack"),
        ({"shape": [1, 8, None]}, "int() argument must be"),
        ({"num_classes": 10**12}, "expected 0..10000 classes, got 1000000000000"),
        ({"num_classes": 5}, "Error(s) in loading state_dict"),
    ],
)
def test_a_generator_is_not_built_from_a_hostile_manifest(
    change: dict[str, object], message: str, trained: dict[str, TrainingResult], tmp_path: Path
) -> None:
    manifest, tensors = load_checkpoint(trained["vae.conv"].checkpoint.path)
    saved = save_checkpoint(
        tmp_path, tensors, {**manifest, **change}, images_seen=64, device_seconds=1.0
    )

    with pytest.raises(CheckpointError) as caught:
        load_generator(saved.path)

    assert str(caught.value).startswith(f"{saved.path}: ")
    assert message in str(caught.value)
