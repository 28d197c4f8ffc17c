"""Turns sets of images and packaged ones into prepared splits; the one module here with numpy.

Management commands and a worker's work import it. Every function is a context manager that yields the PreparedDataset
splits in a temporary folder, for `services.register_dataset` to rename into place; what is left of
the folder afterwards, after an error too, is deleted.
"""

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from catalog.services import PreparedDataset
from evaluation.imagesets import packaged
from evaluation.imagesets.in_memory import (
    CHUNK,
    RESIZE_RULE,
    ImageError,
    Images,
    content_digest,
    convert_images,
    read_images,
    read_parts,
    write_npz,
)
from evaluation.imagesets.packaged import DIGITS, DIGITS_TEST_SIZE
from evaluation.imagesets.sources import PARTS, MixedImages as MixedImages
from evaluation.imagesets.splits import SPLIT_SEED, TEST_FRACTION, split_by_fraction
from evaluation.imagesets.texts import caption_facts, vocabulary

__all__ = [
    "CHUNK",
    "DIGITS",
    "RESIZE_RULE",
    "TEST_FRACTION",
    "ImageError",
]  # what commands need of evaluation.imagesets

MOST_WORDS = 4096  # of captions that are kept to be shown


@dataclass(frozen=True)
class Origin:
    """Where a set comes from that is packaged with the installation, and under which terms.

    made, split: how its parts came about, in words.
    """

    made: str
    split: str
    source: str
    licence: str


def _scenes(side: int) -> Origin:
    return Origin(
        made=f"captioned scenes of one to three objects, drawn at {side}x{side} from seed 0",
        split="splits drawn from seeds of their own; the train split lacks four pairs of colour "
        "and shape that the test split has",
        source="drawn by Trilemma",
        licence="none needed: made by this program",
    )


PACKAGED = {
    DIGITS: Origin(
        made="scikit-learn load_digits, 0..16 scaled to 0..255 and rounded",
        split=f"split by seed {SPLIT_SEED}, {DIGITS_TEST_SIZE} images for the test split, "
        "stratified",
        source="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI "
        "Machine Learning Repository, as packaged by scikit-learn",
        licence="CC BY 4.0",
    ),
    "scenes32": _scenes(32),
    "scenes64": _scenes(64),
}
# Where the downloaded sets come from, and under which terms.
TORCHVISION_ORIGINS = {
    "MNIST": ("Y. LeCun, C. Cortes, C. Burges: The MNIST database", "CC BY-SA 3.0"),
    "FashionMNIST": ("H. Xiao, K. Rasul, R. Vollgraf, 2017: Fashion-MNIST", "MIT"),
    "KMNIST": ("T. Clanuwat et al., 2018: Kuzushiji-MNIST", "CC BY-SA 4.0"),
    "CIFAR10": ("A. Krizhevsky, 2009: Learning multiple layers of features", "none stated"),
    "CIFAR100": ("A. Krizhevsky, 2009: Learning multiple layers of features", "none stated"),
    "SVHN": ("Y. Netzer et al., 2011: Street View House Numbers", "non-commercial use only"),
    "CelebA": ("Z. Liu et al., 2015: Large-scale CelebFaces Attributes", "non-commercial research"),
}

Progress = Callable[[str, int, int], None]  # what is read, images done, images in all


class PreparationError(ValueError):
    """A dataset cannot be prepared; the message says why and what was expected."""


@contextmanager
def prepare_path(
    path: Path,  # a folder or a file
    *,
    resolution: int | None = None,  # pixels a side; None = as they come
    channels: int | None = None,  # 1 or 3; None = as they come
    test_fraction: float | None = None,  # None = TEST_FRACTION where there is no test part
    on_progress: Progress | None = None,
) -> Iterator[PreparedDataset]:
    """Prepare whatever `evaluation.imagesets.opening` opens by its path.

    Raises:
        ImageError: if it cannot be read or split; the message names the file and the reason.
        PreparationError: if the images are not square.
    """
    path = path.absolute()  # so that "." has a name
    parts = read_parts(path) or (None,)
    if test_fraction is not None and len(parts) == 2:
        raise PreparationError(f"{path.name}: has a test/ part; a test fraction has no place")
    splits = {
        part or "train": read_images(
            path,
            resolution=resolution,
            channels=channels,
            part=part,
            on_progress=_name_progress(on_progress, part or "images"),
        )
        for part in parts
    }
    left_out = tuple(dict.fromkeys(line for each in splits.values() for line in each.left_out))
    steps = [f"read from {path.name}", *_conversion_steps(resolution, channels)]
    steps[1:1] = [f"left out {line}" for line in left_out]
    if "test" not in splits:
        fraction = TEST_FRACTION if test_fraction is None else test_fraction
        splits = split_by_fraction(path.name, splits["train"], fraction)
        steps.append(f"split by seed {SPLIT_SEED}, {fraction:g} of each class for the test split")
    with _write(splits, steps, left_out) as prepared:
        yield prepared


@contextmanager
def prepare_packaged(
    name: str, *, resolution: int | None = None, channels: int | None = None
) -> Iterator[PreparedDataset]:
    """Prepare a set that comes with the installation, one of PACKAGED.

    Raises:
        ImageError: if it cannot be converted so.
    """
    origin, read = PACKAGED[name], packaged.PACKAGED[name]
    splits = {
        part: convert_images(read(part), name=name, resolution=resolution, channels=channels)
        for part in PARTS
    }
    steps = [origin.made, *_conversion_steps(resolution, channels), origin.split]
    with _write(splits, steps) as prepared:
        yield prepared


@contextmanager
def prepare_torchvision(
    name: str, *, resolution: int | None = None, channels: int | None = None
) -> Iterator[PreparedDataset]:
    """Prepare a dataset that torchvision knows, downloaded into DATA_DIR/downloads if need be.

    Raises:
        PreparationError: if it could not be fetched; the message says where files may be placed.
    """
    if name not in TORCHVISION_ORIGINS:
        known = ", ".join(TORCHVISION_ORIGINS)
        raise PreparationError(f"expected one of {known}; got {name!r}")
    root = settings.DATA_DIR / "downloads" / name
    root.mkdir(parents=True, exist_ok=True)
    splits = {
        part: convert_images(
            _read_torchvision(name, root, part, resolution),
            name=f"{name} {part}",
            resolution=resolution,
            channels=channels,
        )
        for part in ("train", "test")
    }
    steps = [f"torchvision {name}", *_conversion_steps(resolution, channels)]
    with _write(splits, steps) as prepared:
        yield prepared


def _name_progress(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(what, done, total)


def _conversion_steps(resolution: int | None, channels: int | None) -> list[str]:
    steps = []
    if channels is not None:
        steps.append("grey by ITU-R 601 luma" if channels == 1 else "RGB, grey repeated")
    if resolution is not None:
        steps.append(f"{resolution}x{resolution} by {RESIZE_RULE}")
    return steps


# --- Writing ----------------------------------------------------------------------------------


@contextmanager
def _write(
    splits: dict[str, Images], steps: list[str], left_out: tuple[str, ...] = ()
) -> Iterator[PreparedDataset]:
    train, test = splits["train"], splits["test"]
    _, channels, height, width = train.pixels.shape
    if height != width:
        raise PreparationError(
            f"the images are {width}x{height} pixels; expected square ones, or a resolution"
        )
    if test.pixels.shape[1:] != train.pixels.shape[1:]:
        raise PreparationError(
            f"test images are {_size(test)} where train images are {_size(train)}; expected all "
            "alike, or a resolution and a number of channels"
        )
    captions = _captions(train, test)
    parent = settings.DATA_DIR / "datasets"
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder: Path = parent / f".preparing-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield PreparedDataset(
            folder=folder,
            resolution=height,
            channels=channels,
            classes=list(train.classes),
            train_size=len(train.pixels),
            test_size=len(test.pixels),
            train_lossy=train.lossy,
            test_lossy=test.lossy,
            digest=content_digest(splits),
            train_digest=_write_part(folder / "train.npz", train),
            test_digest=_write_part(folder / "test.npz", test),
            preparation="; ".join(steps),
            captions=captions,
            left_out=left_out,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # already renamed, if it was registered


def _captions(train: Images, test: Images) -> dict[str, Any] | None:
    """Return what the captions of both splits are; None of images without."""
    if train.captions is None and test.captions is None:
        return None
    if train.captions is None or test.captions is None:
        having, without = ("train", "test") if train.captions else ("test", "train")
        raise PreparationError(
            f"{having} images have captions where {without} images have none; expected captions in "
            "both or in neither"
        )
    known = vocabulary(train.captions)
    unknown = sorted({*vocabulary(test.captions)}.difference(known))
    return {
        "train": asdict(caption_facts(train.captions)),
        "test": asdict(caption_facts(test.captions)),
        "unknown": len(unknown),
        "words": known[:MOST_WORDS],
        "unknown_words": unknown[:MOST_WORDS],
    }


def _write_part(path: Path, images: Images) -> str:
    return write_npz(path, images.pixels, images.labels, captions=images.captions)


def _sweep(parent: Path) -> None:
    """Delete what processes that were killed a day ago or earlier left behind."""
    for folder in parent.glob(".preparing-*"):
        if folder.stat().st_mtime < time.time() - 24 * 60 * 60:
            shutil.rmtree(folder, ignore_errors=True)


def _size(images: Images) -> str:
    _, channels, height, width = images.pixels.shape
    return f"{width}x{height}x{channels}"


# --- torchvision ------------------------------------------------------------------------------


def _read_torchvision(name: str, root: Path, part: str, resolution: int | None) -> Images:
    from torchvision import datasets  # noqa: PLC0415  # brings torch; only this function needs it

    kind = getattr(datasets, name)
    choice = {"split": part} if name in ("SVHN", "CelebA") else {"train": part == "train"}
    try:
        loaded = kind(str(root), download=True, **choice)
    except Exception as error:
        where, files = _torchvision_files(name, kind, root)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PreparationError(
            f"{name} could not be fetched ({reason}); where there is no network, place "
            f"{', '.join(files)} into {where} and run this again"
        ) from error
    if name == "CelebA":
        return _read_celeba(root / "celeba" / "img_align_celeba", loaded.filename, resolution)
    pixels = np.asarray(loaded.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]  # (N, H, W) -> (N, 1, H, W)
    elif name != "SVHN":
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))  # CIFAR's NHWC -> NCHW
    labels = np.asarray(loaded.labels if name == "SVHN" else loaded.targets, np.int64)
    named = name not in ("MNIST", "SVHN")  # digits are called by their digit
    classes = tuple(loaded.classes) if named else tuple("0123456789")
    return Images(pixels, labels, classes)


def _read_celeba(folder: Path, names: list[str], resolution: int | None) -> Images:
    if resolution is None:
        raise PreparationError("CelebA's images are 178x218 pixels; expected a resolution")
    images = read_images(folder, resolution=resolution, channels=3)
    position = {path.name: index for index, path in enumerate(sorted(folder.glob("*.jpg")))}
    chosen = [position[name] for name in names]
    return Images(images.pixels[chosen], None, (), is_lossy=np.ones(len(chosen), bool))  # JPEG


def _torchvision_files(name: str, kind: Any, root: Path) -> tuple[Path, list[str]]:
    """Return the folder and the names of the files that torchvision looks for."""
    if name in ("MNIST", "FashionMNIST", "KMNIST"):
        return root / name / "raw", [file for file, _ in kind.resources]
    if name == "SVHN":
        return root, [kind.split_list[part][1] for part in ("train", "test")]
    if name == "CelebA":
        files = [file for _, _, file in kind.file_list]
        return root / "celeba", [f"{f} unpacked" if f.endswith(".zip") else f for f in files]
    return root, [kind.filename]
