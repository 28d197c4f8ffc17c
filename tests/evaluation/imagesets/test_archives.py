"""Damaged, hostile and disorderly archives and folders: each is refused by file and reason."""

import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from evaluation.imagesets.in_memory import ImageError, read_images, read_parts, write_npz
from tests.evaluation.pictures import (
    GREY,
    PNG,
    Entry,
    encode,
    make_folder,
    make_zip,
    message,
)


def info(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


# --- Hostile and damaged archives -------------------------------------------------------------

NAMES = "expected plain relative names"
LAYOUTS = "train/<class>/* and test/<class>/*, <class>/*, or images alone"
REFUSED: dict[str, tuple[list[Entry], str]] = {
    "climbing": (
        [("a/../../1.png", PNG)],
        f"x.zip: a/../../1.png: a name that leaves its folder or has empty steps; {NAMES}",
    ),
    "absolute": ([("/etc/1.png", PNG)], f"x.zip: /etc/1.png: an absolute name; {NAMES}"),
    "drive": ([("C:/1.png", PNG)], f"x.zip: C:/1.png: an absolute name; {NAMES}"),
    "backslash": ([("a\\1.png", PNG)], f"x.zip: a\\1.png: a name with a backslash; {NAMES}"),
    "double slash": (
        [("a//1.png", PNG)],
        f"x.zip: a//1.png: a name that leaves its folder or has empty steps; {NAMES}",
    ),
    "dot": (
        [("./1.png", PNG)],
        f"x.zip: ./1.png: a name that leaves its folder or has empty steps; {NAMES}",
    ),
    "newline": (
        [("a\n1.png", PNG)],
        f"x.zip: 'a\\n1.png': a name with unprintable characters; {NAMES}",
    ),
    "hidden and climbing": (
        [("1.png", PNG), (".hidden/../../x", b"")],
        f"x.zip: .hidden/../../x: a name that leaves its folder or has empty steps; {NAMES}",
    ),
    "deep": (
        [("/".join("abcdefghi"), PNG)],
        f"x.zip: a/b/c/d/e/f/g/h/i: more than 8 steps deep; {NAMES}",
    ),
    "symlink": (
        [(info("a/1.png", stat.S_IFLNK | 0o777), b"/etc/passwd")],
        "x.zip: a/1.png: a symbolic link; expected plain files and folders",
    ),
    "device": (
        [(info("a/1.png", stat.S_IFCHR | 0o666), b"")],
        "x.zip: a/1.png: a special file; expected plain files and folders",
    ),
    "twice": (
        [("a/1.png", PNG), ("b/1.png", PNG), ("a/1.png", GREY)],
        "x.zip: a/1.png: stored twice; expected each name once",
    ),
    "nothing": ([], f"x.zip: holds no images; expected {LAYOUTS}"),
    "folders only": ([("train/", b"")], f"x.zip: holds no images; expected {LAYOUTS}"),
    "hidden only": ([("a/.1.png", PNG)], f"x.zip: holds no images; expected {LAYOUTS}"),
    "text": (
        [("a/1.png", PNG), ("a/notes.doc", b"hello"), ("b/1.png", PNG)],
        "x.zip: a/notes.doc: not an image; expected only PNG, JPEG and WebP files",
    ),
    "gif": (
        [("1.gif", encode(kind="GIF"))],
        "x.zip: 1.gif: not an image; expected only PNG, JPEG and WebP files",
    ),
    "zero bytes": (
        [("1.png", b"")],
        "x.zip: 1.png: not an image; expected only PNG, JPEG and WebP files",
    ),
    "misnamed": (
        [("1.jpg", PNG)],
        "x.zip: 1.jpg: a PNG image by content but not by name; expected both alike",
    ),
    "unnamed": (
        [("1", PNG)],
        "x.zip: 1: a PNG image by content but not by name; expected both alike",
    ),
    "cut png": (
        [("1.png", encode(size=(64, 64))[:-200])],
        "x.zip: 1.png: truncated or damaged (no end mark); expected a whole PNG file",
    ),
    "cut jpeg": (
        [("1.jpg", encode(size=(64, 64), kind="JPEG")[:600])],
        "x.zip: 1.jpg: truncated or damaged (Truncated File Read); expected a whole JPEG file",
    ),
    "cut webp": (
        [("1.webp", encode(size=(64, 64), kind="WEBP")[:-50])],
        "x.zip: 1.webp: truncated or damaged (could not create decoder object); "
        "expected a whole WebP file",
    ),
    "mixed sizes": (
        [("1.png", PNG), ("2.png", encode(size=(5, 4)))],
        "x.zip: 2.png: 5x4 pixels where 1.png has 4x4; expected one size, or a resolution to "
        "resize to",
    ),
    "mixed colour": (
        [("1.png", PNG), ("2.png", GREY)],
        "x.zip: 2.png: grey where 1.png is colour; expected all alike, or a number of channels to "
        "convert to",
    ),
    "16 bit": (
        [("1.png", encode("I;16"))],
        "x.zip: 1.png: 16 bits a channel; expected 8-bit grey, RGB or palette: convert it first, as the way it is done "
        "changes a score",
    ),
    "cmyk": (
        [("1.jpg", encode("CMYK", kind="JPEG"))],
        "x.zip: 1.jpg: colour mode CMYK; expected 8-bit grey, RGB or palette: convert it first, as the way it is done "
        "changes a score",
    ),
    "animated": (
        [
            (
                "1.webp",
                encode(kind="WEBP", save_all=True, append_images=[Image.new("RGB", (4, 4))]),
            )
        ],
        "x.zip: 1.webp: animated; expected a still image",
    ),
    "too wide": (
        [("1.png", encode("1", size=(9000, 1)))],
        "x.zip: 1.png: 9000x1 pixels; expected at most 8192 a side",
    ),
    "beside classes": (
        [("a/1.png", PNG), ("b/1.png", PNG), ("1.png", PNG)],
        "x.zip: 1.png: lies beside the class folders; expected every image inside one",
    ),
    "beside parts": (
        [("train/a/1.png", PNG), ("1.png", PNG)],
        "x.zip: 1.png: lies beside train/ and test/; expected every image inside them",
    ),
    "third part": (
        [("train/a/1.png", PNG), ("extra/a/1.png", PNG)],
        "x.zip: extra/a/1.png: lies beside train/ and test/; expected every image inside them",
    ),
    "too deep": (
        [("a/b/1.png", PNG), ("c/1.png", PNG)],
        f"x.zip: a/b/1.png: too deep; expected {LAYOUTS}",
    ),
    "case": (
        [("cat/1.png", PNG), ("Cat/2.png", PNG)],
        "x.zip: cat: the same class as Cat but for spelling; expected each class once",
    ),
    "unicode": (
        [("train/caf\u00e9/1.png", PNG), ("train/cafe\u0301/2.png", PNG)],
        "x.zip: train/caf\u00e9: the same class as train/cafe\u0301 but for spelling; "
        "expected each class once",
    ),
    "empty class": (
        [("cat/1.png", PNG), ("dog/", b"")],
        "x.zip: dog: an empty class; expected at least one image",
    ),
    "class of hidden files": (
        [("cat/1.png", PNG), ("dog/.1.png", PNG)],
        "x.zip: dog: an empty class; expected at least one image",
    ),
    "empty part": (
        [("train/1.png", PNG), ("test/", b"")],
        "x.zip: test/: an empty part; expected at least one image",
    ),
    "class only in test": (
        [("train/a/1.png", PNG), ("test/a/1.png", PNG), ("test/b/1.png", PNG)],
        "x.zip: test/b: not a class of train/; expected the same classes in both",
    ),
    "class only in train": (
        [("train/a/1.png", PNG), ("train/b/1.png", PNG), ("test/a/1.png", PNG)],
        "x.zip: train/b: not a class of test/; expected the same classes in both",
    ),
    "unlabelled test": (
        [("train/a/1.png", PNG), ("test/1.png", PNG)],
        "x.zip: test/: without classes where train/ has them; expected the same classes in both",
    ),
    "test alone": (
        [("test/a/1.png", PNG)],
        f"x.zip: test/ without train/; expected {LAYOUTS}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_is_refused_with_the_file_and_the_reason(place: Path, case: str) -> None:
    entries, expected = REFUSED[case]
    path = make_zip(place / "x.zip", entries)

    def read_all() -> None:
        for part in read_parts(path) or (None,):
            read_images(path, part=part)

    assert message(read_all) == expected
    assert [left.name for left in place.iterdir()] == ["x.zip"]


def test_an_encrypted_archive_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)])
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flags of the member
    data[data.index(b"PK\1\2") + 8] |= 1  # and of the table of contents
    path.write_bytes(data)

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: encrypted; expected an archive without a password"
    )


def test_an_unusual_packing_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)], zipfile.ZIP_LZMA)

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: packed by method 14; expected stored or deflated"
    )


def test_a_truncated_archive_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)])
    path.write_bytes(path.read_bytes()[:-30])

    assert message(lambda: read_images(path)) == (
        "x.zip: a truncated or damaged zip file (File is not a zip file); "
        "expected a folder, a .zip or an .npz file"
    )


def test_a_damaged_member_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", PNG)])
    data = bytearray(path.read_bytes())
    data[80] ^= 1
    path.write_bytes(data)

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: damaged in the archive (Bad CRC-32 for file '1.png'); expected a whole file"
    )


@pytest.mark.parametrize("name", ["x.zip", "x.npz", "x.png"])
def test_what_is_no_archive_is_refused(place: Path, name: str) -> None:
    (place / name).write_bytes(b"hello")

    assert message(lambda: read_images(place / name)) == (
        f"{name}: not a zip file (File is not a zip file); "
        "expected a folder, a .zip or an .npz file"
    )


@pytest.mark.parametrize("name", ["x.zip", "x.npz", "x"])
def test_a_missing_file_is_refused(place: Path, name: str) -> None:
    assert message(lambda: read_images(place / name)) == (
        f"{name}: does not exist; expected a folder, a .zip or an .npz file"
    )


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), data=st.data())
def test_damaged_bytes_are_read_or_refused_but_never_crash(
    place: Path, kind: str, data: st.DataObject
) -> None:
    original = bytearray(encode(size=(8, 8), kind=kind))
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(original)))
    path = make_zip(place / "x.zip", [(f"1.{kind.lower()}", bytes(original[: cut or None]))])

    try:
        reason = f"x.zip: 1. {read_images(path).pixels.dtype}"
    except ImageError as error:
        reason = str(error)

    assert reason.startswith("x.zip: 1.")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_archive_is_read_or_refused_but_never_crashes(
    place: Path, data: st.DataObject
) -> None:
    for name in ("x.zip", "x.npz"):
        entries = [("a/1.png", PNG), ("b/1.png", PNG)]
        path = make_zip(place / name, entries, zipfile.ZIP_DEFLATED)
        if name == "x.npz":
            write_npz(path, np.zeros((2, 1, 2, 2), np.uint8), np.array([0, 1]))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)

        try:
            reason = f"{name} {read_images(path).classes}"
        except ImageError as error:
            reason = str(error)

        assert reason.startswith(name)


# --- Folders ----------------------------------------------------------------------------------


def test_a_link_in_a_folder_is_refused(place: Path) -> None:
    folder = make_folder(place / "set", {"a/1.png": PNG})
    (folder / "a" / "2.png").symlink_to("1.png")

    assert message(lambda: read_images(folder)) == (
        "set: a/2.png: a symbolic link; expected plain files and folders"
    )


def test_a_pipe_in_a_folder_is_refused(place: Path) -> None:
    folder = make_folder(place / "set", {"a/1.png": PNG})
    os.mkfifo(folder / "a" / "2.png")

    assert message(lambda: read_images(folder)) == (
        "set: a/2.png: a special file; expected plain files and folders"
    )


def test_an_empty_class_folder_is_refused(place: Path) -> None:
    folder = make_folder(place / "set", {"a/1.png": PNG})
    (folder / "b").mkdir()

    assert message(lambda: read_images(folder)) == (
        "set: b: an empty class; expected at least one image"
    )
