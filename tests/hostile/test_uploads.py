"""What strangers hand in: each is refused in words, leaves nothing, and takes little memory.

`CORPUS` goes through the site's own entrances: archives and folders by `register_dataset`, files by
`submit`, bodies by REST, image arrays by `evaluation`. Every case counts files of the data folder and
rows of the database before and after, and the most memory the process took in between.
"""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from evaluation.__main__ import main as evaluation
from tests import factories
from tests.api.conftest import user, writer
from tests.evaluation.imagesets.test_archives import REFUSED
from tests.evaluation.imagesets.test_images import NPZ_REFUSED
from tests.evaluation.imagesets.test_refused_pictures import chunk
from tests.evaluation.pictures import GREY, PNG, encode, make_folder, make_zip

__all__ = ["user", "writer"]

pytestmark = pytest.mark.django_db
MOST_BYTES = 128 * 2**20  # of memory, above what the process had before

Write = Callable[[Path], Path]  # from a folder to what is handed in


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Write:
    return lambda place: make_zip(place / "x.zip", entries, method)


def file(name: str, content: bytes) -> Write:
    def write(place: Path) -> Path:
        (place / name).write_bytes(content)
        return place / name

    return write


def changed(old: bytes, new: bytes, *entries: tuple[str, bytes]) -> Write:
    """Return an archive that lies: bytes of a good one are replaced."""

    def write(place: Path) -> Path:
        path = make_zip(place / "x.zip", entries, zipfile.ZIP_DEFLATED)
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return write


def png(width: int, height: int, pixels: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def array_header(shape: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue()


def arrays(**content: Any) -> Write:
    def write(place: Path) -> Path:
        np.savez(place / "x.npz", **content)
        return place / "x.npz"

    return write


@dataclass(frozen=True)
class Link:
    """A folder with a link out of it."""

    target: str

    def __call__(self, place: Path) -> Path:
        folder = make_folder(place / "set", {"a/1.png": PNG, "b/1.png": PNG})
        (folder / "b" / "2.png").symlink_to(self.target)
        return folder


def pipe(place: Path) -> Path:
    folder = make_folder(place / "set", {"a/1.png": PNG})
    os.mkfifo(folder / "a" / "2.png")
    return folder


TWO = (("1.png", PNG), ("2.png", PNG))
ARCHIVES: dict[str, Write] = {
    **{f"archive: {name}": zipped(*entries) for name, (entries, _) in REFUSED.items()},  # type: ignore[arg-type]  # names may be ZipInfo
    "empty file": file("x.zip", b""),
    "text for a zip": file("x.zip", b"PK is what zips begin with"),
    "cut in the middle": lambda place: file("x.zip", zipped(*TWO)(place).read_bytes()[:-80])(place),
    "a zip bomb": zipped(("1.png", bytes(10**8)), method=zipfile.ZIP_DEFLATED),
    "a zip in a zip": zipped(("1.zip", b"PK\5\6" + bytes(18)), *TWO),
    "a size that lies": changed(
        struct.pack("<I", 10**7), struct.pack("<I", 1000), ("1.png", bytes(10**7))
    ),
    "an encrypted member": changed(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0", *TWO),
    "a pixel bomb": zipped(("1.png", png(2**31 - 1, 2**31 - 1, b"")), *TWO),
    "a picture that unpacks to more than it says": zipped(
        ("1.png", png(8, 8, bytes(10**8))), method=zipfile.ZIP_DEFLATED
    ),
    "a picture of 8192 by 8192 of nothing": zipped(("1.png", png(8192, 8192, b"")), *TWO),
    "a script named png": zipped(("1.png", b"#!/bin/sh\nrm -rf /\n"), *TWO),
    "an svg": zipped(("1.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), *TWO),
    "html named jpg": zipped(("1.jpg", b"<script>alert(1)</script>"), *TWO),
    "windows' device": zipped(("con/\x00.png", PNG), *TWO),
    "100,000 names": zipped(*((f"{i}.txt", b"") for i in range(100_000))),
    "labels in one long line": zipped(
        ("metadata.csv", bytes(60 * 10**6)), *TWO, method=zipfile.ZIP_DEFLATED
    ),
    "labels as deep as they are long": zipped(("metadata.jsonl", b"[" * 10**6), *TWO),
    "labels of files elsewhere": zipped(
        ("metadata.csv", b"file_name,label\n/etc/passwd,1\n"), *TWO
    ),
    "a label as long as a book": zipped(
        ("metadata.jsonl", b'{"file_name": "1.png", "label": "' + b"x" * 10**5 + b'"}'), *TWO
    ),
    "a class that hides what follows": zipped(("\u202egnp/1.png", PNG), *TWO),
    "grey among colours": zipped(("1.png", PNG), ("2.png", GREY)),
    "an array for a picture": zipped(("1.png", array_header((4, 4, 3)) + bytes(48))),
    "a pdf": zipped(("1.pdf", b"%PDF-1.4")),
    "a tiff": zipped(("1.tiff", encode(kind="TIFF"))),
    "a link to /etc/passwd": Link("/etc/passwd"),
    "a link to everything": Link("/"),
    "a link to nothing": Link("nowhere"),
    "a pipe": pipe,
    "nothing": lambda place: place / "missing.zip",
}
ARRAYS: dict[str, Write] = {
    **{
        f"arrays: {name}": arrays(**content)
        for name, (content, _) in NPZ_REFUSED.items()
        if "labels" not in content  # which nothing reads for this metric
    },
    "pickled code": file("x.npz", b"cos\nsystem\n(S'touch here'\ntR."),
    "an array that promises a terabyte": zipped(
        ("arr_0.npy", array_header((10**6, 1000, 1000, 1)))
    ),
    "an array of less than nothing": zipped(("arr_0.npy", array_header((-1, 4, 4, 3)))),
    "an array with a header of code": zipped(
        ("arr_0.npy", b"\x93NUMPY\1\0\x40\0" + b"{'descr': __import__('os').getcwd()}".ljust(64))
    ),
    "a bomb of an array": zipped(
        ("arr_0.npy", array_header((10**4, 100, 100, 3)) + bytes(3 * 10**8)),
        method=zipfile.ZIP_DEFLATED,
    ),
}
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
FILES: dict[str, bytes] = {
    "not utf-8": b"name: \xff\xfe",
    "half a mapping": b"name: [1, 2",
    "a list": b"- name: x",
    "nothing at all": b"",
    "code": b"name: !!python/object/apply:os.system ['touch here']",
    "a million laughs": (LAUGHS + "name: *a9\n").encode(),
    "laughs in a config": (LAUGHS + "entries: [{algorithm: vae.conv, config: *a9}]\n").encode(),
    "itself": b"name: &a [*a]",
    "deep": b"name: " + b"[" * 5000 + b"]" * 5000,
    "wide": b"entries: [" + b"{algorithm: vae.conv}, " * 100_000 + b"]",
    "long": b"name: " + b"x" * 10**7,
    "infinite": b"name: x\nbudget: {images: .inf}",
    "no number": b"name: x\nbudget: {device_seconds: .nan}",
    "a date": b"name: 2020-01-01\nseeds: 2020-01-01",
    "a number of 5,000 digits": b"seeds: " + b"9" * 5000,
    "a NUL": b'name: "a\\0b"',
    "half a surrogate pair": b'name: "\\ud800"',
    "tabs": b"name:\tx\n\tbudget: 1",
    "the same key twice": b"name: a\nname: b\nseeds: [1, 1]",
    "keys that are lists": b"? [a, b]\n: 1\nname: x",
}
BODIES: dict[str, bytes] = {
    "no json": b"name=x",
    "a string": b'"name"',
    "half an object": b'{"name": ',
    "deep": b"[" * 100_000,
    "deep objects": b'{"name":' * 50_000,
    "not a number": b'{"name": "x", "budget": {"images": NaN}}',
    "a number of 5,000 digits": b'{"seeds": ' + b"9" * 5000 + b"}",
    "a NUL": b'{"name": "\\u0000"}',
    "half a surrogate pair": b'{"name": "\\ud800"}',
    "latin-1": b'{"name": "\xe9"}',
    "wide": b'{"entries": [' + b'{"algorithm": "vae.conv"},' * 50_000 + b"{}]}",
    "10 MB": b'{"name": "' + b"x" * 10**7 + b'"}',
    "markup": b'{"name": "<script>alert(1)</script>", "dataset": "<b>"}',
    "sql": b'{"name": "x", "dataset": "1; DROP TABLE catalog_dataset", "protocols": ["\' OR 1=1"]}',
    "a path": b'{"name": "x", "dataset": "../../etc/passwd", "protocols": ["/etc/passwd"]}',
    "code": b'{"name": "x", "entries": [{"algorithm": "os.system", "config": {"__class__": 1}}]}',
    "100,000 unknown fields": json.dumps({f"f{i}": i for i in range(100_000)}).encode(),
}


@dataclass(frozen=True)
class Scene:
    """What is there before something is handed in."""

    data: Path
    place: Path

    def found(self) -> tuple[list[str], dict[str, int]]:
        """Return files in the data folder and how many rows each table has."""
        files = sorted(str(path) for path in self.data.rglob("*") if path.is_file())
        models = apps.get_models()
        return files, {model.__name__: model._default_manager.count() for model in models}


def memory(field: str) -> int:
    """Return this process' VmRSS, or its VmHWM since `clear_refs`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


@contextmanager
def within_bounds() -> Iterator[None]:
    """Fail where the process takes more memory in the block than it may."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is now what there is
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < MOST_BYTES


@pytest.fixture
def scene(data_dir: Path, tmp_path: Path) -> Iterator[Scene]:
    """Yield a site with a protocol; afterwards it has what it had, and no file was run."""
    factories.make_protocol()
    scene = Scene(data_dir, tmp_path / "handed in")
    scene.place.mkdir()
    before = scene.found()
    yield scene
    assert scene.found() == before
    assert not Path("here").exists()


def refuse_dataset(path: Path) -> str:
    kind = "--folder" if path.is_dir() else "--archive"
    with pytest.raises(CommandError) as refused:
        call_command("register_dataset", "Handed in", kind, str(path), stderr=io.StringIO())
    return str(refused.value)


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_is_refused(scene: Scene, case: str) -> None:
    path = ARCHIVES[case](scene.place)

    with within_bounds():
        text = refuse_dataset(path)

    assert text.startswith((path.name, str(path)))
    assert len(text) < 500
    assert sorted(left.name for left in scene.place.iterdir()) in ([path.name], [])


@pytest.mark.parametrize("case", ARRAYS)
def test_images_as_arrays_are_refused(
    scene: Scene, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    path = ARRAYS[case](scene.place).rename(scene.place / "x.npz")
    real = scene.place / "real.npz"
    np.savez(real, arr_0=np.random.default_rng(0).integers(0, 256, (80, 4, 4, 3), np.uint8))

    with within_bounds():
        options = ["--reference", str(real), "--extractor", "pixels-pca64", "--metrics", "fd"]
        code = evaluation(["score", str(path), *options])

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: x.npz")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("case", FILES)
def test_the_file_of_an_experiment_is_refused(scene: Scene, case: str) -> None:
    path = file("x.yaml", FILES[case])(scene.place)
    error = io.StringIO()

    with within_bounds(), pytest.raises((CommandError, SystemExit)) as refused:
        call_command("submit", str(path), stderr=error)

    text = error.getvalue() or str(refused.value)
    assert "Traceback" not in text
    assert 0 < len(text) < 10_000


@pytest.mark.parametrize("case", BODIES)
def test_the_body_of_a_request_is_refused(writer: APIClient, scene: Scene, case: str) -> None:
    with within_bounds():
        response = writer.post("/api/experiments/", BODIES[case], content_type="application/json")

    assert response.status_code in {400, 413}
    answer = response.json()
    assert {"type", "title", "status", "detail"} <= set(answer)
    assert len(response.content) < 10_000


def test_the_corpus_is_as_large_as_we_say() -> None:
    assert len(ARCHIVES) + len(ARRAYS) + len(FILES) + len(BODIES) >= 100
