"""One reader: training, scoring and registering see the same images of a source.

Each row of the table is a way in which people keep images. All three see the same pixels, labels,
classes and split of it, or refuse it in the same words.
"""

import argparse
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalog.preparation import PreparationError, prepare_path
from evaluation.commands.addresses import CommandError
from evaluation.commands.inputs import open_set
from evaluation.imagesets.in_memory import Images, read_images
from evaluation.imagesets.opening import open_images, read_parts
from evaluation.imagesets.sources import ImageError
from evaluation.imagesets.splits import TEST_FRACTION, split_by_fraction
from evaluation.imagesets.writing import write_npz
from generators.commands.arguments import build_parser
from generators.commands.data import measured_data, say_what_is_trained_on, training_data
from generators.specs.options import TrainingConfig
from tests.evaluation.pictures import make_folder, make_zip

Options = Mapping[str, Any]  # resolution, channels
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


def pictures(
    *folders: str, count: int = 3, name: str = "{}.png", **options: Any
) -> dict[str, bytes]:
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


def prepared(place: Path, *, classes: int = 2) -> Path:
    """Return a folder as the site keeps datasets; classes: in the test part."""
    for part, count, number in (("train", 6, 2), ("test", 4, classes)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), np.uint8)
        write_npz(place / "set" / f"{part}.npz", pixels, np.arange(count) % number)
    return place / "set"


def turned(place: Path) -> Path:
    """Return a folder of two images that lie on their left side."""
    exif = Image.Exif()
    exif[274] = 6
    return make_folder(place / "set", pictures("", count=2, exif=exif))


def tables(place: Path, *, names: tuple[str, str] = ("cat", "dog")) -> Path:
    """Return a folder with a parquet table for each part, as datasets are published.

    names: of the classes in the test part.
    """
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (place / "set").mkdir()
    for at, part in enumerate(("train", "test")):
        files = pictures("", count=4 if at else 6, name=f"{part}{{}}").values()
        images = pa.array(
            [{"bytes": data, "path": "x.png"} for data in files],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        labels = [*(names if at else ("cat", "dog"))] * (len(images) // 2)
        pq.write_table(
            pa.table({"image": images, "label": labels}), place / "set" / f"{part}.parquet"
        )
    return place / "set"


@dataclass(frozen=True)
class Read:
    """What all three see of a source: images of each class by part, "all" where it has no parts.

    Of unlabelled images the list has one number; what was left out is told beside the first part.
    """

    sizes: dict[str, list[int]]
    classes: tuple[str, ...]
    shape: tuple[int, int, int] = (3, 8, 8)
    left_out: tuple[str, ...] = ()
    lossy: int = 0


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
TRAIN_TEST = {"train": [2, 2], "test": [2, 2]}
AB = ("a", "b")

SOURCES: dict[str, tuple[Callable[[Path], Path], Options, Read | str]] = {
    "classes": (folder(CLASSES), {}, Read({"all": [3, 3]}, AB)),
    "classes in a zip": (zipped(CLASSES), {}, Read({"all": [3, 3]}, AB)),
    "images alone": (folder(pictures("", count=6)), {}, Read({"all": [6]}, ())),
    "parts": (folder(SPLIT), {}, Read(TRAIN_TEST, AB)),
    "parts in a wrapper folder": (
        zipped({f"mydata/{name}": data for name, data in SPLIT.items()}),
        {},
        Read(TRAIN_TEST, AB),
    ),
    "parts in a tar": (tarred(SPLIT, "set.tar"), {}, Read(TRAIN_TEST, AB)),
    "parts in a packed tar": (tarred(SPLIT, "set.tar.gz"), {}, Read(TRAIN_TEST, AB)),
    "parts in capitals": (
        folder({name.title().replace(".Png", ".png"): data for name, data in SPLIT.items()}),
        {},
        Read(TRAIN_TEST, ("A", "B")),
    ),
    "train, val and test": (
        folder(SPLIT | pictures("val/a/", "val/b/", count=1)),
        {},
        Read(TRAIN_TEST, AB, left_out=("2 images of validation/, a part of its own",)),
    ),
    "a train part alone": (
        folder(pictures("train/a/", "train/b/")),
        {},
        Read({"train": [3, 3]}, AB),
    ),
    "a class in test only": (
        folder(SPLIT | pictures("test/c/")),
        {},
        "set: test/c: not a class of train/; expected the same classes in both",
    ),
    "prepared arrays": (
        prepared,
        {},
        Read({"train": [3, 3], "test": [2, 2]}, ("0", "1"), (1, 8, 8)),
    ),
    "parquet": (
        tables,
        {},
        Read(
            {"train": [3, 3], "test": [2, 2]},
            ("cat", "dog"),
        ),
    ),
    "a class in the test array only": (
        partial(prepared, classes=3),
        {},
        "set: test/2: not a class of train/; expected the same classes in both",
    ),
    "a class in the test table only": (
        partial(tables, names=("ant", "dog")),
        {},
        "set: test/ant: not a class of train/; expected the same classes in both",
    ),
    "a class that the test table lacks": (
        partial(tables, names=("dog", "dog")),
        {},
        "set: train/cat: not a class of test/; expected the same classes in both",
    ),
    "numbers as classes": (folder(pictures("10/", "9/")), {}, Read({"all": [3, 3]}, ("9", "10"))),
    "words with numbers": (
        folder(pictures("class10/", "class9/")),
        {},
        Read({"all": [3, 3]}, ("class10", "class9")),
    ),
    "classes of one name in two folders": (
        folder(pictures("pets/cat/", "wild/cat/")),
        {},
        "set: pets/cat/0.png: too deep; expected train/<class>/* and test/<class>/*, "
        "<class>/*, or images alone",
    ),
    "a stray image": (
        folder(CLASSES | pictures("", count=1)),
        {},
        "set: 0.png: lies beside the class folders; expected every image inside one",
    ),
    "a hidden folder": (
        folder(CLASSES | pictures(".cache/")),
        {},
        Read({"all": [3, 3]}, AB, left_out=("3 hidden files (.cache/0.png, …)",)),
    ),
    "text beside": (
        folder(CLASSES | {"README.md": b"# Mine"}),
        {},
        Read({"all": [3, 3]}, AB, left_out=("1 text file (README.md)",)),
    ),
    "metadata": (
        folder(
            pictures("", count=4)
            | {
                "metadata.jsonl": b"".join(
                    b'{"file_name": "%d.png", "label": "%s"}\n' % (i, b"ab"[i % 2 : i % 2 + 1])
                    for i in range(4)
                )
            }
        ),
        {},
        Read({"all": [2, 2]}, AB),
    ),
    "names in another script": (
        folder(pictures("\u732b\u3000\u5927/", "\u72ac/")),
        {},
        Read({"all": [3, 3]}, ("\u72ac", "\u732b\u3000\u5927")),
    ),
    "BMP beside PNG": (
        folder(CLASSES | pictures("b/", name="{}.bmp", kind="BMP")),
        {},
        "set: b/0.bmp: not an image; expected only PNG, JPEG and WebP files",
    ),
    "a class of TIFF": (
        folder(CLASSES | pictures("c/", name="{}.tiff", kind="TIFF")),
        {},
        "set: c/0.tiff: not an image; expected only PNG, JPEG and WebP files",
    ),
    "a link": (linked, {}, "set: c: a symbolic link; expected plain files and folders"),
    "an animation": (
        folder(
            CLASSES
            | {
                "b/9.webp": picture(
                    9,
                    kind="WEBP",
                    lossless=True,
                    save_all=True,
                    append_images=[Image.new("RGB", (8, 8))],
                )
            }
        ),
        {},
        "set: b/9.webp: animated; expected a still image",
    ),
    "16-bit grey": (
        folder(pictures("a/", "b/", mode="I;16")),
        {},
        "set: a/0.png: 16 bits a channel; expected 8-bit grey, RGB or palette: convert "
        "it first, as the way it is done changes a score",
    ),
    "partly transparent": (
        folder(CLASSES | pictures("b/", mode="RGBA")),
        {},
        "set: b/0.png: partly transparent; expected no alpha or an opaque one: put it "
        "on a background of your choice first",
    ),
    "CMYK": (
        folder(CLASSES | pictures("b/", mode="CMYK", name="{}.jpg", kind="JPEG")),
        {},
        "set: b/0.jpg: colour mode CMYK; expected 8-bit grey, RGB or palette: convert "
        "it first, as the way it is done changes a score",
    ),
    "lossy": (
        folder(CLASSES | pictures("b/", name="{}.jpg", kind="JPEG")),
        {},
        Read({"all": [3, 6]}, AB, lossy=3),
    ),
    "palette and bilevel": (
        folder(pictures("a/", mode="P") | pictures("b/", mode="P")),
        {},
        Read({"all": [3, 3]}, AB),
    ),
    "turned by EXIF": (turned, {}, Read({"all": [2]}, (), (3, 8, 8))),
    "mixed sizes": (
        folder(pictures("a/") | pictures("b/", size=(12, 9))),
        {},
        "set: b/0.png: 12x9 pixels where a/0.png has 8x8; expected one size, or a "
        "resolution to resize to",
    ),
    "mixed sizes, fitted": (
        folder(pictures("a/") | pictures("b/", size=(12, 9))),
        {"resolution": 8},
        Read({"all": [3, 3]}, AB),
    ),
    "grey among colour": (
        folder(pictures("a/") | pictures("b/", mode="L")),
        {},
        "set: b/0.png: grey where a/0.png is colour; expected all alike, or a number "
        "of channels to convert to",
    ),
    "grey among colour, fitted": (
        folder(pictures("a/") | pictures("b/", mode="L")),
        {"channels": 1},
        Read({"all": [3, 3]}, AB, (1, 8, 8)),
    ),
    "nothing of the kind": (
        lambda place: place / "nowhere",
        {},
        "nowhere: does not exist; expected a folder, a .zip or an .npz file",
    ),
    "an array with labels": (
        arrays(PIXELS, labels=np.arange(6) % 2),
        {},
        Read({"all": [3, 3]}, ("0", "1")),
    ),
    "an array with labels without a name": (
        arrays(PIXELS, arr_1=np.arange(6) % 2),
        {},
        Read({"all": [3, 3]}, ("0", "1")),
    ),
    "an array without labels": (arrays(PIXELS), {}, Read({"all": [6]}, ())),
    "an array, fitted": (
        arrays(PIXELS),
        {"resolution": 4, "channels": 1},
        Read({"all": [6]}, (), (1, 4, 4)),
    ),
    "an array, colour first": (arrays(PIXELS.transpose(0, 3, 1, 2)), {}, Read({"all": [6]}, ())),
    "an array of floats": (
        arrays(PIXELS / 255),
        {},
        "set.npz: arr_0: float64 (6, 8, 8, 3); expected uint8 (N, H, W, 1 or 3) or (N, "
        "1 or 3, H, W) and at least one image; floats are not rounded here: how it is "
        "done changes a score",
    ),
    "an array of objects": (
        arrays(np.array([{}] * 6, dtype=object)),
        {},
        "set.npz: arr_0: object (6,) does not fit its size; expected a plain array",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder; tmp_path itself holds the site's data folder."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.parametrize("case", SOURCES)
def test_training_scoring_and_registering_see_the_same(case: str, place: Path) -> None:
    make, options, expected = SOURCES[case]
    path = make(place)

    if isinstance(expected, str):
        assert refusals(path, options) == [expected] * 3
        return
    trained = training(path, options)
    assert_same(trained, scoring(path, options))
    assert_same(registering(path, options), split_as_registered(path.name, trained))
    assert_expected(trained, expected)


def test_images_are_seen_upright(place: Path) -> None:
    lying = read_images(folder(pictures("", count=2))(place / "lying"))

    upright = training(turned(place), {})["all"]

    assert np.array_equal(upright.pixels, np.rot90(lying.pixels, -1, axes=(2, 3)))


def test_training_takes_lossy_files_and_says_so_where_scoring_refuses_generated_ones(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder(CLASSES | pictures("b/", name="{}.jpg", kind="JPEG") | {".x": b""})(place)

    say_what_is_trained_on(training_data(asked("train", path, {})), TrainingConfig())

    assert capsys.readouterr().err.splitlines()[:3] == [
        f"{path}: 9 images, 8x8x3, 2 classes",
        f"{path}: left out 1 hidden file (.x)",
        f"{path}: 3 of 9 images are from lossy files",
    ]
    with pytest.raises(ImageError, match="a lossy JPEG image; expected PNG or lossless WebP"):
        list(open_images(path).chunks())


# --- What each of the three sees --------------------------------------------------------------


def training(path: Path, options: Options) -> Splits:
    """Return what `python -m generators train` trains on, and `measure --part test` measures on."""
    train = training_data(asked("train", path, options))
    splits = {train.part or "all": train.images}
    try:
        test = measured_data(asked("measure", path, options, "--part", "test"))
    except ImageError:
        return splits
    assert test.part == "test"
    return splits | {"test": test.images}


def scoring(path: Path, options: Options) -> Splits:
    """Return what `python -m evaluation` reads as a reference."""
    if not options:
        for part in read_parts(path) or (None,):
            stream = open_set(path, "reference", part=part)
            pixels = np.concatenate(list(stream.chunks()))
            assert np.array_equal(pixels, read_images(path, part=part).pixels)
    return {
        part or "all": read_images(path, part=part, **options)
        for part in read_parts(path) or (None,)
    }


def registering(path: Path, options: Options) -> Splits:
    """Return what `register_dataset` keeps."""
    with prepare_path(path, **options) as prepared:
        found = {part: read_images(prepared.folder / f"{part}.npz") for part in ("train", "test")}
        return {
            part: Images(images.pixels, images.labels, tuple(prepared.classes))
            for part, images in found.items()
        }


def split_as_registered(name: str, splits: Splits) -> Splits:
    """Return what has a test part as it is, and else split by the site's rule."""
    if "test" in splits:
        return splits
    (images,) = splits.values()
    return split_by_fraction(name, images, TEST_FRACTION)


def asked(command: str, path: Path, options: Options, *more: str) -> argparse.Namespace:
    given = ["vae.conv", "--out", "x"] if command == "train" else ["run"]
    fitted = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return build_parser().parse_args([command, *given, "--data", str(path), *fitted, *more])


def refusals(path: Path, options: Options) -> list[str]:
    """Return why training, scoring and registering refuse a source."""
    found = []
    for see in (training, scoring, registering):
        with pytest.raises((ImageError, PreparationError, CommandError)) as caught:
            see(path, options)
        found.append(str(caught.value).partition(" (--")[0])  # the option of the command line
    return found


def assert_same(found: Splits, expected: Splits) -> None:
    assert found.keys() == expected.keys()
    for part, images in found.items():
        others = expected[part]
        assert np.array_equal(images.pixels, others.pixels)
        assert images.classes == others.classes
        assert (images.labels is None) == (others.labels is None)
        assert images.labels is None or np.array_equal(images.labels, others.labels)  # type: ignore[arg-type]  # not None


def assert_expected(found: Splits, expected: Read) -> None:
    assert {part: sizes_of(images) for part, images in found.items()} == expected.sizes
    for images in found.values():
        assert images.classes == expected.classes
        assert images.pixels.shape[1:] == expected.shape
    assert next(iter(found.values())).left_out == expected.left_out
    assert sum(images.lossy for images in found.values()) == expected.lossy


def sizes_of(images: Images) -> list[int]:
    if images.labels is None:
        return [len(images.pixels)]
    counts: list[int] = np.bincount(images.labels, minlength=len(images.classes)).tolist()
    return counts
