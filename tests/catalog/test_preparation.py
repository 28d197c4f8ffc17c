"""Preparing splits: what they hold, what is refused, and that nothing is left behind."""

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from catalog import preparation
from catalog.preparation import (
    DIGITS,
    PreparationError,
    prepare_packaged,
    prepare_path,
    prepare_torchvision,
)
from evaluation.imagesets.in_memory import (
    ImageError,
    Images,
    content_digest,
    read_images,
    write_npz,
)
from tests.evaluation.imagesets.test_layouts import READ as LAYOUTS, REFUSED as REFUSED_LAYOUTS
from tests.evaluation.pictures import GREY, PNG, encode, make_folder, make_zip

DIGITS_DIGEST = "3b613295e6bc4c04667dbd146151c8d6a2dad6c79d1776fa5ac77988b3b0f9ee"


def labelled(sizes: list[int]) -> Images:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = (np.arange(len(labels)) % 256).astype(np.uint8)[:, None, None, None]
    return Images(pixels, labels, tuple(f"class {i}" for i in range(len(sizes))))


def left_behind(data_dir: Path) -> list[str]:
    return [str(path.relative_to(data_dir)) for path in data_dir.glob("datasets/*")]


def test_the_digest_sees_pixels_labels_classes_and_captions() -> None:
    images = labelled([3, 3])
    assert images.labels is not None
    other_pixels = Images(images.pixels + np.uint8(1), images.labels, images.classes)
    other_labels = Images(images.pixels, images.labels[::-1], images.classes)
    other_classes = Images(images.pixels, images.labels, ("a", "b"))
    unlabelled = Images(images.pixels, None, ())

    captions = [replace(images, captions=(text,) * 6) for text in ("a cat", "a dog")]

    everything = (images, other_pixels, other_labels, other_classes, unlabelled, *captions)
    digests = {content_digest({"train": each, "test": images}) for each in everything}

    assert len(digests) == 7


# --- Digits -----------------------------------------------------------------------------------


def test_the_digits_are_scaled_and_split_by_class(data_dir: Path) -> None:
    with prepare_packaged(DIGITS) as prepared:
        train = read_images(prepared.folder / "train.npz")
        test = read_images(prepared.folder / "test.npz")

    assert (prepared.train_size, prepared.test_size) == (1297, 500)
    assert (prepared.resolution, prepared.channels) == (8, 1)
    assert prepared.classes == [str(digit) for digit in range(10)]
    assert prepared.digest == DIGITS_DIGEST
    assert test.labels is not None
    assert set(np.bincount(test.labels)) <= {48, 49, 50, 51}
    levels = {round(level * 255 / 16) for level in range(17)}
    assert set(np.unique(train.pixels)) == levels
    total = int(train.pixels.sum(dtype=np.int64)) + int(test.pixels.sum(dtype=np.int64))
    scaled = np.rint(load_digits().images * 255 / 16)
    assert total == scaled.sum()
    assert left_behind(data_dir) == []


def test_the_digits_can_be_had_in_another_size() -> None:
    with prepare_packaged(DIGITS, resolution=16, channels=3) as prepared:
        assert (prepared.resolution, prepared.channels) == (16, 3)
        assert prepared.preparation == (
            "scikit-learn load_digits, 0..16 scaled to 0..255 and rounded; RGB, grey repeated; "
            "16x16 by centre crop to a square, then PIL Lanczos (antialiased) in 8 bits; "
            "split by seed 0, 500 images for the test split, stratified"
        )


# --- Folders and archives ---------------------------------------------------------------------


def test_an_archive_with_both_parts_is_taken_as_it_is(tmp_path: Path) -> None:
    entries = [(f"{part}/{c}/1.png", PNG) for part in ("train", "test") for c in "ab"]

    with prepare_path(make_zip(tmp_path / "x.zip", entries)) as prepared:
        assert sorted(path.name for path in prepared.folder.iterdir()) == ["test.npz", "train.npz"]

    assert (prepared.train_size, prepared.test_size) == (2, 2)
    assert (prepared.resolution, prepared.channels) == (4, 3)
    assert prepared.classes == ["a", "b"]
    assert prepared.preparation == "read from x.zip"


@pytest.mark.parametrize("layout", ["{c}/{i}.png", "train/{c}/{i}.png"])
def test_without_a_test_part_it_is_split(tmp_path: Path, layout: str) -> None:
    files = {layout.format(c=c, i=i): PNG for c in "ab" for i in range(10)}

    with prepare_path(make_folder(tmp_path / "set", files)) as prepared:
        test = read_images(prepared.folder / "test.npz")

    assert (prepared.train_size, prepared.test_size) == (16, 4)
    assert test.labels is not None and np.bincount(test.labels).tolist() == [2, 2]
    assert prepared.preparation == (
        "read from set; split by seed 0, 0.2 of each class for the test split"
    )


def test_the_test_fraction_can_be_chosen(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", [(f"{i}.png", PNG) for i in range(10)])

    with prepare_path(path, test_fraction=0.5) as prepared:
        assert (prepared.train_size, prepared.test_size) == (5, 5)
        assert prepared.classes == []


SQUARE = {"a/1.png": PNG, "a/2.png": PNG, "b/1.png": PNG, "b/2.png": PNG}
REFUSED: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "not square": (
        {"1.png": encode(size=(6, 4)), "2.png": encode(size=(6, 4))},
        {},
        "the images are 6x4 pixels; expected square ones, or a resolution",
    ),
    "unequal parts": (
        {"train/1.png": PNG, "test/1.png": GREY},
        {},
        "test images are 4x4x1 where train images are 4x4x3; expected all alike, or a resolution "
        "and a number of channels",
    ),
    "one image": (
        {"1.png": PNG},
        {},
        "x.zip: 1 image; expected at least 2, one for each split",
    ),
    "one image of a class": (
        {**SQUARE, "c/1.png": PNG},
        {},
        "class c: 1 image; expected at least 2, one for each split",
    ),
    "no fraction": (
        SQUARE,
        {"test_fraction": 0},
        "expected a test fraction between 0 and 1, got 0",
    ),
    "needless fraction": (
        {"train/1.png": PNG, "test/1.png": PNG},
        {"test_fraction": 0.5},
        "x.zip: has a test/ part; a test fraction has no place",
    ),
    "damaged": (
        {**SQUARE, "b/2.png": PNG[:50]},
        {},
        "x.zip: b/2.png: truncated or damaged (no end mark); expected a whole PNG file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(
    tmp_path: Path, data_dir: Path, case: str
) -> None:
    files, options, expected = REFUSED[case]
    path = make_zip(tmp_path / "x.zip", files.items())

    with pytest.raises((ImageError, PreparationError)) as caught, prepare_path(path, **options):
        pass

    assert str(caught.value) == expected
    assert left_behind(data_dir) == []


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_zip(tmp_path / "x.zip", SQUARE.items())
    calls: list[int] = []

    def fsync_once(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:  # the first file is already whole
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync_once)
    with pytest.raises(OSError, match="No space left"), prepare_path(path):
        pass

    assert len(calls) == 2
    assert left_behind(data_dir) == []


def test_an_error_after_preparing_leaves_nothing_behind(tmp_path: Path, data_dir: Path) -> None:
    path = make_zip(tmp_path / "x.zip", SQUARE.items())

    with prepare_path(path):
        assert len(left_behind(data_dir)) == 1
    with pytest.raises(KeyboardInterrupt), prepare_path(path):
        raise KeyboardInterrupt

    assert left_behind(data_dir) == []


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path, data_dir: Path) -> None:
    path = make_zip(tmp_path / "x.zip", SQUARE.items())
    old, recent = (data_dir / "datasets" / f".preparing-{age}" for age in ("old", "recent"))
    for folder in (old, recent):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))

    with prepare_path(path):
        pass

    assert left_behind(data_dir) == ["datasets/.preparing-recent"]


def test_the_folder_here_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_folder(tmp_path / "set", {**SQUARE, "b/3.png": b""}))

    with pytest.raises(ImageError) as caught, prepare_path(Path()):
        pass

    assert str(caught.value) == (
        "set: b/3.png: not an image; expected only PNG, JPEG and WebP files"
    )


def test_arrays_are_a_source_of_a_dataset(tmp_path: Path) -> None:
    images = read_images(make_folder(tmp_path / "set", SQUARE))
    write_npz(tmp_path / "x.npz", images.pixels, images.labels)

    with prepare_path(tmp_path / "x.npz") as prepared:
        assert (prepared.train_size, prepared.test_size) == (2, 2)

    assert prepared.classes == ["0", "1"]


@pytest.mark.parametrize("case", [name for name, each in LAYOUTS.items() if "test" in each.values])
def test_a_layout_is_registered_as_it_is_read(tmp_path: Path, case: str) -> None:
    folder = make_folder(tmp_path / "set", LAYOUTS[case].files)

    with prepare_path(folder) as prepared:
        for part in ("train", "test"):
            stored = read_images(prepared.folder / f"{part}.npz")
            images = read_images(folder, part=part)
            assert np.array_equal(stored.pixels, images.pixels)
            assert np.array_equal(stored.labels, images.labels)  # type: ignore[arg-type]  # or None
            assert stored.captions == images.captions
            assert prepared.classes == list(images.classes)

    assert prepared.left_out == LAYOUTS[case].left_out


@pytest.mark.parametrize("case", REFUSED_LAYOUTS)
def test_a_layout_is_refused_in_the_words_of_the_reader(tmp_path: Path, case: str) -> None:
    files, expected = REFUSED_LAYOUTS[case]

    with pytest.raises(ImageError) as caught:
        with prepare_path(make_folder(tmp_path / "set", files)):
            pass

    assert str(caught.value) == f"set: {expected}"


def test_what_was_left_out_is_kept_in_words(tmp_path: Path) -> None:
    files = {
        **{f"{part}/{c}/1.png": PNG for part in ("train", "test", "val") for c in "ab"},
        "README.md": b"# Set",
        "train/.cache/1.png": PNG,
    }
    with prepare_path(make_folder(tmp_path / "set", files)) as prepared:
        pass

    assert prepared.left_out == (
        "1 hidden file (train/.cache/1.png)",
        "1 text file (README.md)",
        "2 images of validation/, a part of its own",
    )
    assert prepared.preparation == "; ".join(
        ["read from set", *(f"left out {line}" for line in prepared.left_out)]
    )


# --- torchvision ------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim)
    path.write_bytes(header + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


def test_files_placed_by_hand_need_no_network(data_dir: Path) -> None:
    raw = data_dir / "downloads" / "MNIST" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        write_idx(raw / f"{part}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)

    with prepare_torchvision("MNIST") as prepared:
        test = read_images(prepared.folder / "test.npz")

    assert (prepared.train_size, prepared.test_size) == (20, 10)
    assert prepared.classes == list("0123456789")
    assert np.array_equal(test.pixels[:, 0], pixels)


def test_without_a_network_it_says_which_files_to_place_where(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets  # noqa: PLC0415  # takes seconds

    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])

    with pytest.raises(PreparationError) as caught, prepare_torchvision("FashionMNIST"):
        pass

    assert str(caught.value) == (
        "FashionMNIST could not be fetched (RuntimeError: Error downloading "
        "train-images-idx3-ubyte.gz: Tried http://127.0.0.1:9/, got: <urlopen error [Errno 111] "
        "Connection refused>); where there is no network, place train-images-idx3-ubyte.gz, "
        "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz into "
        f"{data_dir}/downloads/FashionMNIST/FashionMNIST/raw and run this again"
    )
    assert left_behind(data_dir) == []


def test_an_unknown_torchvision_dataset_is_refused() -> None:
    with pytest.raises(PreparationError) as caught, prepare_torchvision("ImageNet"):
        pass

    assert str(caught.value) == (
        "expected one of MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100, SVHN, CelebA; "
        "got 'ImageNet'"
    )


@pytest.mark.parametrize("name", preparation.TORCHVISION_ORIGINS)
def test_every_torchvision_dataset_names_its_files(tmp_path: Path, name: str) -> None:
    from torchvision import datasets  # noqa: PLC0415  # takes seconds

    where, files = preparation._torchvision_files(name, getattr(datasets, name), tmp_path)

    assert where.is_relative_to(tmp_path)
    assert files and all(files)


def test_images_from_lossy_files_are_counted_in_both_splits(tmp_path: Path) -> None:
    jpeg = encode(kind="JPEG")
    files = {f"{c}/{i}.jpg": jpeg for c in "ab" for i in range(10)}
    files |= {f"c/{i}.png": PNG for i in range(10)}
    parted = {"train/a/1.jpg": jpeg, "train/a/2.png": PNG, "test/a/3.jpg": jpeg}

    with prepare_path(make_folder(tmp_path / "whole", files), test_fraction=0.5) as whole:
        assert (whole.train_lossy, whole.test_lossy) == (10, 10)
    with prepare_path(make_folder(tmp_path / "parted", parted)) as parts:
        assert (parts.train_lossy, parts.test_lossy) == (1, 1)
    with prepare_packaged(DIGITS) as digits:
        assert (digits.train_lossy, digits.test_lossy) == (0, 0)
