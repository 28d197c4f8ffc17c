"""One reader: training, scoring and registering see the same images of a source.

Each row of the table is a way in which people keep images. All three see the same pixels, labels,
classes and split of it, or refuse it in the same words.
"""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalog.preparation import PreparationError, prepare_path
from evaluation.commands.inputs import open_set
from evaluation.imagesets.in_memory import Images, read_images
from evaluation.imagesets.opening import open_images, read_parts
from evaluation.imagesets.sources import ImageError
from evaluation.imagesets.splits import TEST_FRACTION, split_by_fraction
from evaluation.imagesets.writing import write_npz
from generators.commands.arguments import build_parser
from generators.commands.data import measured_data, say_what_is_trained_on, training_data
from tests.evaluation.pictures import make_folder, make_zip

Options = Mapping[str, int]
Splits = dict[str, Images]  # by part; "all" of a source that has none


def picture(
    seed: int, mode: str = "RGB", size: tuple[int, int] = (8, 8), kind: str = "PNG", **options: Any
) -> bytes:
    """Return a picture that no other seed has, as a file's bytes."""
    rgb = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(rgb)  # RGBA, partly transparent
    if mode == "I;16":
        image = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    elif mode != "RGBA":
        image = image.convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures(*folders: str, count: int = 3, name: str = "{}.png", **options: Any) -> dict[str, bytes]:
    """Return some pictures for each folder by their names, all unlike each other."""
    return {
        f"{folder}{name.format(i)}": picture(100 * at + i, **options)
        for at, folder in enumerate(folders)
        for i in range(count)
    }


SPLIT = pictures("train/a/", "train/b/", "test/a/", "test/b/", count=2)
CLASSES = pictures("a/", "b/")


def folder(files: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda place: make_folder(place / "set", files)


def zipped(files: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda place: make_zip(place / "set.zip", files.items())


def tarred(files: dict[str, bytes], name: str) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        with tarfile.open(place / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for member, data in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return place / name

    return make


def arrays(pixels: np.ndarray, name: str = "set.npz", **more: np.ndarray) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        np.savez_compressed(place / name, arr_0=pixels, **more)  # type: ignore[arg-type]  # stub
        return place / name

    return make


def linked(place: Path) -> Path:
    """Return a folder in which one class is a link."""
    path = make_folder(place / "set", CLASSES)
    make_folder(place / "elsewhere", pictures("", count=2))
    (path / "c").symlink_to(place / "elsewhere")
    return path


def prepared(place: Path) -> Path:
    """Return a folder as the site keeps datasets."""
    for part, count in (("train", 6), ("test", 4)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), np.uint8)
        write_npz(place / "set" / f"{part}.npz", pixels, np.arange(count) % 2)
    return place / "set"


def tables(place: Path) -> Path:
    """Return a folder with a parquet table for each part, as datasets are published."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (place / "set").mkdir()
    for at, part in enumerate(("train", "test")):
        files = pictures("", count=4).values() if at else pictures("", "").values()
        images = pa.array(
            [{"bytes": data, "path": "x.png"} for data in files],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        labels = ["cat", "dog"] * (len(images) // 2)
        pq.write_table(
            pa.table({"image": images, "label": labels}), place / "set" / f"{part}.parquet"
        )
    return place / "set"
