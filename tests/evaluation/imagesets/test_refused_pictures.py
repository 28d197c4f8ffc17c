"""Pictures in archives: what PIL would change in silence, and what is too large, is refused."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.imagesets import in_memory as images_module, sources as archives
from evaluation.imagesets.in_memory import read_images
from tests.evaluation.pictures import (
    PNG,
    encode,
    make_zip,
    message,
    png_of,
)


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def test_colour_of_16_bits_is_refused_though_pil_would_drop_half_of_it(place: Path) -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = zlib.compress(b"\0" + bytes(6))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    path = make_zip(place / "x.zip", [("1.png", data)])

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: 16 bits a channel; expected 8-bit grey, RGB or palette: convert it first, as the way it is done "
        "changes a score"
    )


def test_a_picture_of_enormous_size_is_refused_before_it_is_decoded(place: Path) -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    path = make_zip(place / "x.zip", [("1.png", data)])

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: 2147483647x2147483647 pixels; expected at most 8192 a side"
    )


def test_an_enormous_webp_is_refused_before_it_is_decoded(place: Path) -> None:
    data = bytearray(encode("RGBA", kind="WEBP", lossless=True))
    assert data[12:16] == b"VP8L"
    data[21:25] = struct.pack("<I", 16383 | 16383 << 14)  # width and height, less one
    path = make_zip(place / "x.zip", [("1.webp", bytes(data))])

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.webp: Image size (268435456 pixels) exceeds limit of 178956970 pixels, could be "
        "decompression bomb DOS attack.; expected at most 8192 a side"
    )


@pytest.mark.parametrize(("mode", "transparent"), [("P", 0), ("RGB", (255, 0, 255)), ("L", 7)])
def test_a_transparent_colour_is_refused(place: Path, mode: str, transparent: Any) -> None:
    image = Image.new(mode, (4, 4), transparent)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=transparent)
    path = make_zip(place / "x.zip", [("1.png", file.getvalue())])

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: partly transparent; expected no alpha or an opaque one: put it on a background "
        "of your choice first"
    )


def test_a_translucent_image_is_refused(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", png_of(np.full((4, 4, 4), 254, np.uint8)))])

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: partly transparent; expected no alpha or an opaque one: put it on a background "
        "of your choice first"
    )


def test_a_bomb_is_refused_before_it_is_unpacked(place: Path) -> None:
    path = make_zip(place / "x.zip", [("1.png", bytes(10**6))], zipfile.ZIP_DEFLATED)

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: unpacks from 985 to 1,000,000 bytes; expected at most 200 times as many"
    )


def test_a_member_that_lies_about_its_size_is_unpacked_no_further_than_it_said(
    place: Path,
) -> None:
    path = make_zip(place / "x.zip", [("1.png", bytes(10**6))], zipfile.ZIP_DEFLATED)
    lie = path.read_bytes().replace(struct.pack("<I", 10**6), struct.pack("<I", 1000))
    path.write_bytes(lie)

    assert message(lambda: read_images(path)) == (
        "x.zip: 1.png: damaged in the archive (Bad CRC-32 for file '1.png'); expected a whole file"
    )


@pytest.mark.parametrize(
    ("bound", "value", "expected"),
    [
        ("MAX_FILES", 2, "x.zip: more than 2 files; expected at most that many"),
        ("MAX_FILE_BYTES", 50, "x.zip: 1.png: {size} bytes; expected at most 50"),
        ("MAX_TOTAL_BYTES", 150, "x.zip: {total} bytes unpacked; expected at most 150 in all"),
        (
            "MAX_DIRECTORY_BYTES",
            100,
            "x.zip: a table of contents of 153 bytes; expected at most 100",
        ),
    ],
)
def test_counts_and_sizes_are_bounded(
    place: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, expected: str
) -> None:
    monkeypatch.setattr(archives, bound, value)
    path = make_zip(place / "x.zip", [(f"{i}.png", PNG) for i in (1, 2, 3)])

    assert message(lambda: read_images(path)) == expected.format(size=len(PNG), total=3 * len(PNG))


def test_the_memory_of_all_images_together_is_bounded(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "MAX_ARRAY_BYTES", 100)
    path = make_zip(place / "x.zip", [(f"{i}.png", PNG) for i in (1, 2, 3)])

    assert message(lambda: read_images(path)) == (
        "x.zip: 3 images of 4x4x3 take 144 bytes; expected at most 100, or a smaller resolution"
    )
