"""Tar archives: read as zips are; damaged and hostile ones are refused by file and reason."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from evaluation.imagesets.in_memory import ImageError, read_images, read_parts
from tests.evaluation.imagesets.test_archives import LAYOUTS, NAMES
from tests.evaluation.pictures import (
    GREY,
    PNG,
    make_zip,
    message,
)


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if member.isreg():
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


FILES: list[tuple[tarfile.TarInfo | str, bytes]] = [
    ("b/2.png", PNG),
    ("a/1.png", GREY),
    (special("a", tarfile.DIRTYPE), b""),
    ("._a", b""),
]


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.TGZ", "w:gz")]
)
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_archive_reads_as_a_zip_does(place: Path, name: str, mode: str, kind: int) -> None:
    with tarfile.open(place / name, mode, format=kind) as archive:  # type: ignore[call-overload]
        for folder in (".", "./b"):
            archive.addfile(special(folder, tarfile.DIRTYPE))
        for file, data in (("./b/" + "2" * 120 + ".png", PNG), ("./a/1.png", GREY)):
            if kind == tarfile.USTAR_FORMAT:
                file = file.replace("2" * 120, "2")
            member = tarfile.TarInfo(file)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

    images = read_images(place / name, channels=3)

    expected = read_images(
        make_zip(place / "x.zip", [("a/1.png", GREY), ("b/2.png", PNG)]), channels=3
    )
    assert np.array_equal(images.pixels, expected.pixels)
    assert images.classes == expected.classes
    assert read_parts(place / name) == ()


TAR_REFUSED: dict[str, tuple[list[tuple[tarfile.TarInfo | str, bytes]], str]] = {
    "symlink": (
        [(special("1.png", tarfile.SYMTYPE, "/etc/passwd"), b"")],
        "x.tar: 1.png: a symbolic link; expected plain files and folders",
    ),
    "hard link": (
        [("1.png", PNG), (special("2.png", tarfile.LNKTYPE, "1.png"), b"")],
        "x.tar: 2.png: a hard link; expected plain files and folders",
    ),
    "device": (
        [(special("1.png", tarfile.CHRTYPE), b"")],
        "x.tar: 1.png: a special file; expected plain files and folders",
    ),
    "absolute": ([("/etc/1.png", PNG)], f"x.tar: /etc/1.png: an absolute name; {NAMES}"),
    "climbing": (
        [("a/../../1.png", PNG)],
        f"x.tar: a/../../1.png: a name that leaves its folder or has empty steps; {NAMES}",
    ),
    "not utf-8": (
        [("a\udcff.png", PNG)],
        f"x.tar: 'a\\udcff.png': a name with unprintable characters; {NAMES}",
    ),
    "twice": (
        [("a/1.png", PNG), ("./a/1.png", GREY)],
        "x.tar: a/1.png: stored twice; expected each name once",
    ),
    "nothing": ([], f"x.tar: holds no images; expected {LAYOUTS}"),
}


@pytest.mark.parametrize("case", TAR_REFUSED)
def test_a_hostile_tar_archive_is_refused(place: Path, case: str) -> None:
    members, expected = TAR_REFUSED[case]

    assert message(lambda: read_images(tar_of(place / "x.tar", members))) == expected


def test_a_sparse_member_is_refused(place: Path) -> None:
    member = special("1.png", tarfile.GNUTYPE_SPARSE)
    path = tar_of(place / "x.tar", [(member, b"")])

    assert message(lambda: read_images(path)) == (
        "x.tar: 1.png: a sparse file; expected plain files and folders"
    )


def test_a_tar_archive_cut_anywhere_is_refused(place: Path) -> None:
    content = tar_of(place / "whole.tar", FILES[:2]).read_bytes()
    reasons = set()

    for cut in range(0, 2 * 1024 + 512, 256):
        (place / "x.tar").write_bytes(content[:cut])
        reasons.add(message(lambda: read_images(place / "x.tar", channels=3)))

    assert reasons == {
        "x.tar: truncated (no end mark); expected a whole archive",
        "x.tar: truncated, damaged or not a tar file (empty file); expected a whole archive",
        "x.tar: truncated, damaged or not a tar file (truncated header); expected a whole archive",
        "x.tar: truncated, damaged or not a tar file (unexpected end of data); expected a whole "
        "archive",
        "x.tar: damaged after byte 1,024; expected another file or the end mark",
    }


def test_a_damaged_header_is_not_taken_for_the_end(place: Path) -> None:
    path = tar_of(place / "x.tar", FILES[:2])
    content = bytearray(path.read_bytes())
    content[1024] ^= 1  # the name in the second header
    path.write_bytes(content)

    assert message(lambda: read_images(path)) == (
        "x.tar: damaged after byte 1,024; expected another file or the end mark"
    )


def test_a_header_that_promises_much_takes_no_memory(place: Path) -> None:
    member = special("1.png", tarfile.GNUTYPE_LONGNAME)
    member.size = 2**40
    (place / "x.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))

    assert message(lambda: read_images(place / "x.tar")) == (
        "x.tar: truncated, damaged or not a tar file (a header of 1,099,511,627,776 bytes); "
        "expected a whole archive"
    )


def test_a_packed_bomb_is_unpacked_no_further_than_it_may(place: Path) -> None:
    (place / "x.tar.gz").write_bytes(gzip.compress(bytes(10**7)))
    packed = (place / "x.tar.gz").stat().st_size

    assert message(lambda: read_images(place / "x.tar.gz")) == (
        f"x.tar.gz: unpacks to more than {200 * packed:,} bytes; expected at most that"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "Not a gzipped file (b'he')"),
        (
            gzip.compress(bytes(range(256)) * 9)[:-9],
            "Compressed file ended before the end-of-stream marker was reached",
        ),
    ],
)
def test_what_gzip_did_not_pack_is_refused(place: Path, content: bytes, reason: str) -> None:
    (place / "x.tgz").write_bytes(content)

    assert message(lambda: read_images(place / "x.tgz")) == (
        f"x.tgz: truncated, damaged or not packed by gzip ({reason}); expected a whole archive"
    )


def test_a_missing_tar_archive_is_refused(place: Path) -> None:
    assert message(lambda: read_images(place / "x.tar")) == (
        "x.tar: does not exist; expected a tar archive"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_tar_archive_is_read_or_refused_but_never_crashes(
    place: Path, data: st.DataObject
) -> None:
    content = bytearray(tar_of(place / "x.tar", FILES).read_bytes()[: 2**12])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (place / "x.tar").write_bytes(content)

    try:
        reason = f"x.tar {read_images(place / 'x.tar', channels=3).classes}"
    except ImageError as error:
        reason = str(error)

    assert reason.startswith("x.tar")
