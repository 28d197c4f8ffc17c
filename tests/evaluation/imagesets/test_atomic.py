import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.imagesets import atomic
from evaluation.imagesets.atomic import (
    move_folder,
    replacing,
    replacing_folder,
    replacing_path,
    sha256_of,
    sha256_of_content,
    temporary_folder,
)

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def write_by_name(path: Path, content: bytes) -> None:
    with replacing_path(path) as temporary:
        temporary.write_bytes(content)


def write_in_folder(path: Path, content: bytes) -> None:
    with replacing_folder(path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(content)


Writer = Callable[[Path, bytes], None]
WRITERS: list[Writer] = [write, write_by_name, write_in_folder]


def content_of(path: Path) -> bytes:
    return (path / "deep" / "file" if path.is_dir() else path).read_bytes()


@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_written_stands_alone_under_its_name(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "name"

    writer(path, b"content")

    assert content_of(path) == b"content"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("writer", WRITERS)
def test_all_is_on_the_disk_before_it_has_its_name_and_the_name_afterwards(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "name"
    flushed: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))

    monkeypatch.setattr(os, "fsync", noting)
    writer(path, b"content")

    assert flushed[-1] == (str(tmp_path), True)
    before = {name for name, had_its_name in flushed[:-1] if not had_its_name}
    written = {".tmp"} if path.is_file() else {".tmp", ".tmp/deep", ".tmp/deep/file"}
    assert {name[name.index(".tmp") :] for name in before} == written


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_that_fails_leaves_nothing_new(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        writer(tmp_path / "here" / "name", b"content")

    assert list((tmp_path / "here").iterdir()) == []


def test_a_file_takes_the_place_of_another_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "name"
    path.write_bytes(b"before")

    with replacing(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"

    assert path.read_bytes() == b"after"


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "here" / "name"
    path.mkdir(parents=True)
    (path / "mine").touch()

    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        write_in_folder(path, b"content")
    with temporary_folder(path) as folder, pytest.raises(OSError):  # noqa: PT011
        move_folder(folder, path)

    assert list(path.parent.iterdir()) == [path]


def test_the_sha256_is_of_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "CHUNK", 2)
    (tmp_path / "name").write_bytes(b"abc")
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4

    assert sha256_of(tmp_path / "name") == sha256_of_content(io.BytesIO(b"abc")) == wanted
    assert sha256_of_content(io.BytesIO()) == EMPTY
