"""The cache: nothing stale, nothing damaged, nothing lost that was just written."""

import hashlib
import logging
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.features.base import ExtractionStopped, extract
from evaluation.features.cache import FeatureCache
from evaluation.features.tensorfiles import write_tensors
from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.opening import open_images
from tests.evaluation.factories import RandomProjection, make_images

Make = Callable[[], dict[str, Tensor]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def making(value: float, *, size: int = 1) -> tuple[Make, list[float]]:
    """Return a function that makes a tensor, and the list of its calls."""
    calls: list[float] = []

    def make() -> dict[str, Tensor]:
        calls.append(value)
        return {"x": torch.full((size,), value, dtype=torch.float64)}

    return make, calls


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


# --- Features ---------------------------------------------------------------------------------


def test_features_of_the_same_images_are_computed_once(folder: Path, tmp_path: Path) -> None:
    cache, extractor, images = FeatureCache(folder), RandomProjection(), make_images(300)
    write_npz(tmp_path / "x.npz", images, None)

    first = cache.features(extractor, images)
    calls = extractor.calls
    again = cache.features(extractor, open_images(tmp_path / "x.npz"))

    assert extractor.calls == calls
    assert torch.equal(first.features, again.features)
    assert first.logits is not None and again.logits is not None
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.features, extract(extractor, images).features)


def test_features_are_those_of_these_images_weights_and_rule(folder: Path) -> None:
    cache, images = FeatureCache(folder), make_images(40)
    changed = images.copy()
    changed[7, 0, 3, 3] ^= 1

    for extractor in (RandomProjection(), RandomProjection(scale=2)):
        for some in (images, changed, images[::-1].copy()):
            for rule in ("", "grey"):
                found = cache.features(extractor, some, rule=rule)
                assert torch.equal(found.features, extract(extractor, some).features)

    assert len(entries(folder)) == 12


def test_chosen_images_are_known_by_their_content(folder: Path) -> None:
    cache, extractor, images = FeatureCache(folder), RandomProjection(), make_images(40)
    chosen = np.array([3, 4, 9])

    found = cache.features(extractor, images, indices=chosen)
    calls = extractor.calls
    again = cache.features(extractor, images[chosen])

    assert torch.equal(found.features, extract(extractor, images[chosen]).features)
    assert torch.equal(found.features, again.features)
    assert extractor.calls == calls + 1  # by the comparison alone


def test_an_iterator_is_extracted_but_not_kept(folder: Path) -> None:
    cache, extractor, images = FeatureCache(folder), RandomProjection(), make_images(40)

    found = cache.features(extractor, open_images(iter([images[:7], images[7:]])))

    assert torch.equal(found.features, extract(extractor, images).features)
    assert not folder.exists()


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    extractor, images = RandomProjection(), make_images(40)
    before = entries(tmp_path)

    FeatureCache(None).features(extractor, images)
    FeatureCache(None).features(extractor, images)
    FeatureCache(None).tensors("key", making(1)[0])

    assert extractor.calls == 2
    assert entries(tmp_path) == before


def test_progress_ends_whether_or_not_it_was_computed(folder: Path) -> None:
    cache, extractor, images = FeatureCache(folder), RandomProjection(), make_images(40)
    seen: list[float] = []

    for _ in range(2):
        cache.features(extractor, images, batch_size=20, on_progress=seen.append)

    assert seen == [0.5, 1.0, 1.0, 1.0]


def test_extraction_that_was_stopped_leaves_nothing(folder: Path) -> None:
    cache, images = FeatureCache(folder), make_images(40)
    answers = iter([False, False, True])

    with pytest.raises(ExtractionStopped):
        cache.features(RandomProjection(), images, batch_size=10, should_stop=lambda: next(answers))

    assert not folder.exists()


# --- Damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "of another key", "a folder"])
def test_a_damaged_entry_is_computed_again(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(folder)
    make, calls = making(1.5, size=100)
    cache.tensors("key", make)
    (path,) = entries(folder)
    data = path.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    match damage:
        case "of another key":
            write_tensors(path, {"x": torch.zeros(3)}, {"key": "another"})
        case "a folder":
            path.unlink()
            path.mkdir()
        case _:
            path.write_bytes({"cut": data[:-100], "flipped": flipped, "emptied": b""}[damage])

    with caplog.at_level(logging.WARNING):
        again = cache.tensors("key", make)
        third = cache.tensors("key", make)

    assert again["x"].tolist() == third["x"].tolist() == [1.5] * 100
    assert len(calls) == (3 if damage == "a folder" else 2)
    assert f"computing again: {path} is damaged: " in caplog.text


def test_tensors_of_every_kind_come_back(folder: Path) -> None:
    made = {
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "rows": torch.arange(12.0).reshape(3, 4).T,
        "bytes": torch.arange(256).to(torch.uint8),
        "nothing": torch.zeros(0, 5),
    }

    FeatureCache(folder).tensors("key", lambda: made)
    found = FeatureCache(folder).tensors("key", dict)

    assert found.keys() == made.keys()
    for name, tensor in made.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_a_full_disk_costs_the_copy_but_not_the_result(
    folder: Path, little_room: None, caplog: pytest.LogCaptureFixture
) -> None:
    make, _ = making(1.5, size=100_000)

    found = FeatureCache(folder).tensors("key", make)

    assert found["x"].tolist() == [1.5] * 100_000
    assert list(folder.iterdir()) == []
    assert "not kept: " in caplog.text


@pytest.fixture
def little_room() -> Iterator[None]:
    """Let no file become longer than 100 kB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- The limit --------------------------------------------------------------------------------


def entry_bytes(folder: Path) -> int:
    FeatureCache(folder / "one").tensors("key 0", making(0, size=1000)[0])
    (path,) = entries(folder / "one")
    return path.stat().st_size


def test_what_was_used_least_recently_goes_first(folder: Path, tmp_path: Path) -> None:
    size = entry_bytes(tmp_path)
    cache = FeatureCache(folder, max_bytes=3 * size)
    for value in range(3):
        cache.tensors(f"key {value}", making(value, size=1000)[0])
        age(folder, seconds=100)
    cache.tensors("key 0", making(0, size=1000)[0])  # used again: now the second is the oldest

    cache.tensors("key 3", making(3, size=1000)[0])

    kept = []
    for value in (0, 2, 3, 1):
        make, calls = making(value, size=1000)
        FeatureCache(folder).tensors(f"key {value}", make)
        kept.append(not calls)
    assert kept == [True, True, True, False]


def age(folder: Path, *, seconds: float) -> None:
    """Let all entries have been used that much earlier."""
    for path in entries(folder):
        used = path.stat().st_mtime - seconds
        os.utime(path, (used, used))


def test_what_was_just_written_stays_though_it_alone_is_too_large(folder: Path) -> None:
    cache = FeatureCache(folder, max_bytes=100)

    for value in range(3):
        cache.tensors(f"key {value}", making(value, size=1000)[0])

    assert len(entries(folder)) == 1
    make, calls = making(2, size=1000)
    cache.tensors("key 2", make)
    assert not calls


def test_other_files_are_neither_counted_nor_deleted(folder: Path) -> None:
    folder.mkdir()
    (folder / "inception.pth").write_bytes(bytes(10_000))
    (folder / "features-notes.txt").write_text("mine")

    FeatureCache(folder, max_bytes=1).tensors("key", making(1)[0])

    assert [path.name.split("-")[0] for path in entries(folder)] == [
        "features",
        "inception.pth",
        "tensors",
    ]


def test_what_a_killed_process_left_behind_is_swept_after_a_day(folder: Path) -> None:
    folder.mkdir()
    old, new = folder / ".tensors-a.safetensors-1", folder / ".tensors-a.safetensors-2"
    old_too = folder / ".tensors-a.safetensors.3.tmp"
    for path in (old, old_too, new):
        path.write_bytes(b"half")
    for path in (old, old_too):
        os.utime(path, (time.time() - 90_000,) * 2)

    FeatureCache(folder).tensors("key", making(1)[0])

    assert not old.exists() and not old_too.exists()
    assert new.exists()


# --- Several at once --------------------------------------------------------------------------


def test_several_that_share_a_small_folder_never_read_anything_wrong(folder: Path) -> None:
    def use(turns: int) -> None:
        cache = FeatureCache(folder, max_bytes=20_000)
        for turn in range(turns):
            value = float(turn % 7)
            found = cache.tensors(f"key {value}", making(value, size=500)[0])
            assert found["x"].tolist() == [value] * 500

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, [100] * 6))

    assert sum(path.stat().st_size for path in entries(folder)) <= 20_000
    assert not [path for path in entries(folder) if path.name.startswith(".")]


def test_names_of_entries_are_as_they_were(folder: Path) -> None:
    FeatureCache(folder).tensors("key", making(1)[0])

    (path,) = entries(folder)
    expected = hashlib.sha256(b"tensors\nkey").hexdigest()[:32]
    assert path.name == f"tensors-{expected}.safetensors"
