"""Sheets of a sample set's images beyond its contact sheet, made of its file as they are asked for.

The web process has no NumPy: an array's header is read, then rows of pixels are cut and joined as bytes.
"""

import ast
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from catalog import stored
from experiments.models import SampleSet
from experiments.pages.pictures import cache_control
from jobs.models import Status

COLUMNS, IMAGES = 10, 100  # of a sheet, image beside image without gaps
COLOUR_TYPES = {1: 0, 3: 2}  # of a PNG, by its channels


@require_safe
def sample_sheet(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Return images 100 k to 100 k + 99 of a sample set as PNG, k being the sheet's number."""
    sample_set = get_object_or_404(SampleSet, pk=pk, status=Status.COMPLETED)
    try:
        path = stored.fetch(sample_set.path)
        with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as file:
            content = _png(*_images(file, number * IMAGES))
    except (OSError, stored.DamagedError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Http404("the images are not there (any more)") from error
    response = HttpResponse(content, content_type="image/png")
    response["Cache-Control"] = cache_control(request)
    return response


def _images(file: IO[bytes], first: int) -> tuple[list[bytes], int, int, int]:
    """Return images of an array (N, H, W, C) uint8 from a number on, with H, W and C.

    Raises:
        ValueError: if it is another array, or has no such image.
    """
    magic = file.read(8)
    size = struct.unpack("<H", file.read(2)) if magic[6:7] == b"\x01" else ()
    if magic[:6] != b"\x93NUMPY" or not size:
        raise ValueError("expected an array as NumPy 1.0 writes it")
    header = ast.literal_eval(file.read(size[0]).decode())
    count, height, width, channels = header["shape"]
    if header["descr"] != "|u1" or header["fortran_order"] or channels not in COLOUR_TYPES:
        raise ValueError(f"expected images of bytes, got {header}")
    if not first < count:
        raise ValueError(f"expected one of {count} images, got {first}")
    length = height * width * channels
    file.seek(file.tell() + first * length)
    images = [file.read(length) for _ in range(min(IMAGES, count - first))]
    return images, height, width, channels


def _png(images: list[bytes], height: int, width: int, channels: int) -> bytes:
    """Return images side by side, row by row; where the last row has fewer it is black."""
    rows = -(-len(images) // COLUMNS)
    lines = b"".join(_lines(images, height, width * channels, rows))
    about = (COLUMNS * width, rows * height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *about)), (b"IDAT", zlib.compress(lines, 1)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in (*chunks, (b"IEND", b"")))


def _lines(images: list[bytes], height: int, length: int, rows: int) -> Iterator[bytes]:
    """Yield each line of pixels of the sheet, after the byte that says that it is not filtered."""
    blank = bytes(height * length)
    for row in range(rows):
        band = images[row * COLUMNS : (row + 1) * COLUMNS]
        band += [blank] * (COLUMNS - len(band))
        for y in range(height):
            yield b"\0" + b"".join(image[y * length : (y + 1) * length] for image in band)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
