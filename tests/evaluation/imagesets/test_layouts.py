"""Every way in which people lay out images: what is read of it, what is left out and said."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.imagesets.in_memory import read_images, read_parts
from evaluation.imagesets.opening import open_images
from tests.evaluation.imagesets.test_tars import tar_of
from tests.evaluation.pictures import (
    GREY,
    PNG,
    encode,
    make_folder,
    make_zip,
    message,
    png_of,
)

Files = dict[str, bytes]


def picture(value: int) -> bytes:
    return png_of(np.full((2, 2), value, np.uint8))


@dataclass(frozen=True)
class Layout:
    """Files, and what is read of them: the value of every pixel, the class of every image."""

    files: Files
    values: dict[str, list[int]]  # by part, "" where there are none
    classes: dict[str, list[str]] = field(default_factory=dict)  # {} = unlabelled
    left_out: tuple[str, ...] = ()


def lines(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


TWO = {"a/1.png": picture(1), "b/2.png": picture(2)}
SPLIT = {"train/a/1.png": picture(1), "test/a/2.png": picture(2)}
ONE_EACH = {"train": ["a"], "test": ["a"]}
READ: dict[str, Layout] = {
    "images alone": Layout({"2.png": picture(2), "1.png": picture(1)}, {"": [1, 2]}),
    "classes": Layout(TWO, {"": [1, 2]}, {"": ["a", "b"]}),
    "classes in one folder": Layout(
        {f"set/{name}": data for name, data in TWO.items()}, {"": [1, 2]}, {"": ["a", "b"]}
    ),
    "parts": Layout(SPLIT, {"train": [1], "test": [2]}, ONE_EACH),
    "parts in one folder": Layout(
        {f"mydata/{name}": data for name, data in SPLIT.items()} | {"README.md": b"# Mine"},
        {"train": [1], "test": [2]},
        ONE_EACH,
        ("1 text file (README.md)",),
    ),
    "parts in capitals": Layout(
        {"Train/a/1.png": picture(1), "TEST/a/2.png": picture(2)},
        {"train": [1], "test": [2]},
        ONE_EACH,
    ),
    **{
        f"a {name} part": Layout(
            SPLIT | {f"{name}/a/{i}.png": picture(9) for i in range(3)},
            {"train": [1], "test": [2]},
            ONE_EACH,
            ("3 images of validation/, a part of its own",),
        )
        for name in ("val", "valid", "validation", "Val")
    },
    "hidden files": Layout(
        TWO | {".cache/9.png": picture(9), "a/.DS_Store": b"x", "__MACOSX/a/._1.png": b"x"},
        {"": [1, 2]},
        {"": ["a", "b"]},
        ("3 hidden files (.cache/9.png, …)",),
    ),
    "text": Layout(
        TWO | {"README.md": b"# Two", "LICENSE": b"CC0", "a/boxes.json": b"{", "labels.csv": b"a"},
        {"": [1, 2]},
        {"": ["a", "b"]},
        ("4 text files (LICENSE, …)",),
    ),
    "names of any script": Layout(
        {
            "\u732b\u3000\u5927/1\u202f000.png": picture(1),
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645/\U0001f468\u200d\U0001f467.png": picture(
                2
            ),
        },
        {"": [2, 1]},
        {"": ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u732b\u3000\u5927"]},
    ),
    "metadata with labels": Layout(
        {
            "metadata.jsonl": lines(
                {"file_name": "1.png", "label": "dog", "text": "a dog"},
                {"file_name": "2.png", "label": "cat", "text": "a cat"},
            ),
            "1.png": picture(1),
            "2.png": picture(2),
        },
        {"": [2, 1]},
        {"": ["cat", "dog"]},
        ("1 column (text) of metadata",),
    ),
    "metadata with numbers": Layout(
        {
            "metadata.csv": b"file_name,label\nimages/1.png,10\nimages/2.png,9\n",
            "images/1.png": picture(1),
            "images/2.png": picture(2),
        },
        {"": [2, 1]},
        {"": ["9", "10"]},
    ),
    "metadata in parts": Layout(
        {
            "train/metadata.jsonl": lines({"file_name": "1.png", "label": 3}),
            "train/1.png": picture(1),
            "test/metadata.csv": b"\xef\xbb\xbffile_name,labels\r\n2.png,3\r\n",
            "test/2.png": picture(2),
        },
        {"train": [1], "test": [2]},
        {"train": ["3"], "test": ["3"]},
    ),
    "metadata without labels": Layout(
        TWO | {"metadata.jsonl": lines({"file_name": "a/1.png", "text": "an image"})},
        {"": [1, 2]},
        {"": ["a", "b"]},
        ("1 text file (metadata.jsonl)",),
    ),
}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("case", READ)
def test_a_layout_is_read_and_the_rest_is_told(place: Path, case: str, kind: str) -> None:
    layout = READ[case]
    path = stored(kind, place, layout.files)

    assert read_parts(path) == tuple(part for part in layout.values if part)
    for part, values in layout.values.items():
        images = read_images(path, part=part or None)
        assert images.pixels[:, 0, 0, 0].tolist() == values
        assert list(images.classes) == sorted(set(layout.classes.get(part, [])), key=sort_key)
        labels = [] if images.labels is None else [images.classes[i] for i in images.labels]
        assert labels == layout.classes.get(part, [])
        assert images.left_out == layout.left_out


def sort_key(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0, name)


def stored(kind: str, place: Path, files: Files) -> Path:
    if kind == "folder":
        return make_folder(place / "set", files)
    if kind == "zip":
        return make_zip(place / "set.zip", files.items())
    return tar_of(place / "set.tar", list(files.items()))


REFUSED: dict[str, tuple[Files, str]] = {
    "a stray image": (
        {**TWO, "3.png": picture(3)},
        "3.png: lies beside the class folders; expected every image inside one",
    ),
    "classes of one name in two folders": (
        {"pets/cat/1.png": picture(1), "wild/cat/2.png": picture(2)},
        "pets/cat/1.png: too deep; expected train/<class>/* and test/<class>/*, <class>/*, or "
        "images alone",
    ),
    "a part in two spellings": (
        {"train/a/1.png": picture(1), "Train/a/2.png": picture(2)},
        "train: the same part as Train; expected each part once",
    ),
    "a validation part in two spellings": (
        {**SPLIT, "val/a/1.png": picture(1), "valid/a/2.png": picture(2)},
        "valid: the same part as val; expected each part once",
    ),
    "a class that train lacks": (
        {**SPLIT, "test/b/2.png": picture(2)},
        "test/b: not a class of train/; expected the same classes in both",
    ),
    **{
        f"{kind} beside PNGs": (
            {**TWO, f"b/3.{suffix}": encode(kind=kind)},
            f"b/3.{suffix}: not an image; expected only PNG, JPEG and WebP files",
        )
        for kind, suffix in (("BMP", "bmp"), ("TIFF", "tiff"), ("GIF", "gif"))
    },
    "an animated PNG": (
        {**TWO, "b/3.png": encode(save_all=True, append_images=[Image.new("RGB", (4, 4))])},
        "b/3.png: animated; expected a still image",
    ),
    "a class of images that nobody reads": (
        {**TWO, "c/3.bmp": encode(kind="BMP")},
        "c/3.bmp: not an image; expected only PNG, JPEG and WebP files",
    ),
    "a class of text": (
        {**TWO, "c/3.txt": b"hello"},
        "c: an empty class; expected at least one image",
    ),
    "a text that reorders": (
        {**TWO, "a/\u202egnp.3": picture(3)},
        "'a/\\u202egnp.3': a name with unprintable characters; expected plain relative names",
    ),
    "a label for some images": (
        {"metadata.jsonl": lines({"file_name": "a/1.png", "label": 1}), **TWO},
        "b/2.png: no label in metadata.jsonl; expected one for every image or for none",
    ),
    "a label in some rows": (
        {
            "metadata.jsonl": lines({"file_name": "a/1.png"}, {"file_name": "b/2.png", "label": 1}),
            **TWO,
        },
        "metadata.jsonl: row 2: a label, unlike the rows before; expected one in every row or in "
        "none",
    ),
    "a label for an image that is not there": (
        {"metadata.csv": b"file_name,label\n../etc/passwd,1\n", **TWO},
        "metadata.csv: row 1: the image '../etc/passwd' is not there; expected each image once, by "
        "its path from this file",
    ),
    "two labels for an image": (
        {"metadata.csv": b"file_name,label\na/1.png,1\na/1.png,2\n", **TWO},
        "metadata.csv: row 2: the image 'a/1.png' is named twice; expected each image once, by its "
        "path from this file",
    ),
    "a label that is missing": (
        {"metadata.jsonl": lines({"file_name": "a/1.png", "label": None}), **TWO},
        "metadata.jsonl: row 1: the label None; expected text or a whole number",
    ),
    "a label that is no text": (
        {"metadata.jsonl": lines({"file_name": "a/1.png", "label": "a\0"}), **TWO},
        "metadata.jsonl: row 1: the class 'a\\x00'; expected 1 to 255 printable characters",
    ),
    "metadata that is damaged": (
        {"metadata.jsonl": b"{", **TWO},
        "metadata.jsonl: damaged (Expecting property name enclosed in double quotes: line 1 column "
        "2 (char 1)); expected UTF-8 text in rows",
    ),
    "metadata that is deep": (
        {"metadata.jsonl": b"[" * 100_000, **TWO},
        "metadata.jsonl: damaged (maximum recursion depth exceeded while decoding a JSON array "
        "from a unicode string); expected UTF-8 text in rows",
    ),
    "metadata that is no text": (
        {"metadata.csv": b"\xff\xfe", **TWO},
        "metadata.csv: damaged ('utf-8' codec can't decode byte 0xff in position 0: invalid start "
        "byte); expected UTF-8 text in rows",
    ),
}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_layout_is_refused_in_words(place: Path, case: str, kind: str) -> None:
    files, expected = REFUSED[case]
    path = stored(kind, place, files)

    def read_all() -> None:
        for part in read_parts(path) or (None,):
            read_images(path, part=part)

    assert message(read_all) == f"{path.name}: {expected}"


def test_the_validation_part_is_read_where_it_is_asked_for(place: Path) -> None:
    folder = make_folder(place / "set", SPLIT | {"val/a/1.png": picture(9)})
    other = make_folder(place / "other", SPLIT | {"val/b/1.png": picture(9)})

    images = read_images(folder, part="validation")

    assert images.pixels.ravel().tolist() == [9] * 4
    assert images.left_out == ()
    assert message(lambda: read_images(other, part="validation")) == (
        "other: validation/b: not a class of train/; expected the same classes in both"
    )


def test_a_folder_called_val_alone_is_looked_through(place: Path) -> None:
    folder = make_folder(place / "set", {"val/a/1.png": PNG, "val/b/1.png": PNG})

    assert read_images(folder).classes == ("a", "b")


def test_a_large_text_is_left_out_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.imagesets.sources.MAX_FILE_BYTES", 1000)
    monkeypatch.setattr("evaluation.imagesets.sources.MAX_TOTAL_BYTES", 1000)
    text = {"annotations.json": bytes(10**6)}
    path = make_zip(place / "x.zip", (TWO | text).items(), zipfile.ZIP_DEFLATED)

    assert read_images(path).left_out == ("1 text file (annotations.json)",)


def test_metadata_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.imagesets.metadata.MAX_FILE_BYTES", 1000)
    files = {**TWO, "metadata.csv": b"file_name,label\n" + bytes(1000)}

    assert message(lambda: read_images(make_folder(place / "set", files))) == (
        "set: metadata.csv: 1,016 bytes; expected at most 1,000"
    )


def test_without_classes_the_rest_is_told_too(place: Path) -> None:
    folder = make_folder(place / "set", {**TWO, ".x": b"", "notes.txt": b""})

    assert open_images(folder, labelled=False).left_out == (
        "1 hidden file (.x)",
        "1 text file (notes.txt)",
    )
    assert (
        open_images(
            make_folder(place / "parts", {"Train/1.png": GREY}), labelled=False, part="train"
        ).count
        == 1
    )


# --- Arrays -----------------------------------------------------------------------------------

PIXELS = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2, 1)
LABELS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("save", "labels", "left_out"),
    [
        (lambda path: np.savez(path, PIXELS), None, ()),
        (lambda path: np.savez(path, PIXELS, LABELS), LABELS, ()),
        (lambda path: np.savez(path, PIXELS, LABELS.astype(np.uint8)), LABELS, ()),
        (lambda path: np.savez(path, PIXELS, labels=LABELS), LABELS, ()),
        (lambda path: np.savez(path, PIXELS, LABELS[::-1], labels=LABELS), LABELS, ("1 array (arr_1)",)),
        (lambda path: np.savez(path, PIXELS, LABELS / 2), None, ("1 array (arr_1)",)),
        (lambda path: np.savez(path, PIXELS, LABELS[:3]), None, ("1 array (arr_1)",)),
        (lambda path: np.savez(path, PIXELS, fid=LABELS, name=LABELS), None, ("2 arrays (fid, …)",)),
        (lambda path: np.savez(path, PIXELS, mu=LABELS, sigma=LABELS), None, ()),
        (lambda path: np.savez(path, PIXELS, seeds=LABELS), None, ()),
    ],
)  # fmt: skip
def test_the_labels_of_an_array_are_read_and_other_arrays_told(
    place: Path,
    save: Callable[[Path], None],
    labels: np.ndarray | None,
    left_out: tuple[str, ...],
) -> None:
    save(place / "x.npz")

    images = read_images(place / "x.npz")

    assert images.left_out == left_out
    assert (images.labels is None) == (labels is None)
    if images.labels is not None:
        assert images.labels.tolist() == LABELS.tolist()
        assert images.classes == ("0", "1")


def test_labels_in_order_are_packed_well_and_no_bomb(place: Path) -> None:
    labels = np.repeat(np.arange(10), 6000)
    pixels = np.random.default_rng(0).integers(0, 256, (60_000, 2, 2, 1), np.uint8)
    np.savez_compressed(place / "x.npz", arr_0=pixels, labels=labels)
    with zipfile.ZipFile(place / "x.npz") as archive:
        info = archive.getinfo("labels.npy")
        assert info.file_size > 200 * info.compress_size

    images = read_images(place / "x.npz")

    assert images.labels is not None and np.array_equal(images.labels, labels)


def test_a_folder_of_prepared_arrays_has_their_parts(place: Path) -> None:
    np.savez(place / "train.npz", PIXELS, labels=LABELS)
    np.savez(place / "test.npz", PIXELS[::-1], labels=LABELS)
    (place / "notes.txt").write_text("hello")

    train, test = (read_images(place, part=part) for part in read_parts(place))

    assert read_parts(place) == ("train", "test")
    assert train.pixels.ravel().tolist() == PIXELS.ravel().tolist()
    assert test.pixels[-1].ravel().tolist() == PIXELS[0].ravel().tolist()
    assert train.classes == ("0", "1")
    assert train.left_out == ("1 other file (notes.txt)",)
    assert message(lambda: read_images(place)) == (
        "place: has train.npz and test.npz, but no part was chosen; expected one of its parts"
    )
    (place / "test.npz").unlink()
    assert read_parts(place) == ("train",)
    assert read_images(place).classes == ("0", "1")
