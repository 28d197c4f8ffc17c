"""Decodes one image file into the one shared format, and fits images to a size and a colour.

Sizes are checked before a picture is decoded. Grey, RGB, palette and bilevel images are read as
they are; an alpha channel is dropped where it is opaque. Refused are 16-bit images, for there are
several ways to 8 bits; partly transparent ones, for somebody must choose what lies behind them; CMYK,
whose colours need a profile; and animations. Colour becomes grey by ITU-R 601 luma (PIL's "L"), grey
becomes colour by repetition. EXIF orientation is applied, colour profiles are not.

JPEG and lossy WebP files are lossy, whatever they are called: what compression took from images is
in every score of them, so a caller says whether they may be read.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from evaluation.imagesets.sources import BROKEN, ImageError

MAX_SIDE = 8192  # pixels, of an image file as it comes

Lossy = Literal["refuse", "accept"]
Pixels = npt.NDArray[np.uint8]

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WebP": WebPImageFile,
}
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
_PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Target:
    """What images are turned into, and whether lossy files may be.

    resolution: pixels a side, by RESIZE_RULE; None = as they come, all alike.
    channels: 1 or 3; None = as they come, all alike.
    """

    resolution: int | None = None
    channels: int | None = None
    lossy: Lossy = "accept"

    def check(self, name: str) -> None:
        """Raise ImageError if no image can be like this."""
        if self.channels not in (None, 1, 3):
            raise ImageError(f"{name}: expected 1 or 3 channels, got {self.channels}")
        if self.resolution is not None and not 1 <= self.resolution <= MAX_SIDE:
            raise ImageError(
                f"{name}: expected a resolution of 1 to {MAX_SIDE} pixels, got {self.resolution}"
            )
        if self.lossy not in ("refuse", "accept"):
            raise ImageError(f"{name}: expected lossy files refuse or accept, got {self.lossy!r}")

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return what (C, H, W) becomes."""
        channels, height, width = shape
        return self.channels or channels, self.resolution or height, self.resolution or width


@dataclass(frozen=True)
class Picture:
    """A decoded file: an image in mode "L" or "RGB", and whether the file was a lossy one."""

    image: Image.Image
    is_lossy: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width."""
        return 1 if self.image.mode == "L" else 3, self.image.height, self.image.width

    def lossless(self, name: str) -> bytes:
        """Return the image as a file that loses nothing, a WebP or a PNG as its name says."""
        file = io.BytesIO()
        if _SUFFIXES.get(name[name.rfind(".") :].lower()) == "WebP":
            self.image.save(file, "WEBP", lossless=True)
        else:
            self.image.save(file, "PNG")
        return file.getvalue()

    def pixels(self) -> Pixels:
        """Return the image as (C, H, W) uint8."""
        channels, height, width = self.shape
        flat = np.frombuffer(self.image.tobytes(), np.uint8)  # np.asarray is slower
        return flat.reshape(height, width, channels).transpose(2, 0, 1)


def decode(where: str, data: bytes, target: Target, *, name: str | None) -> Picture:
    """Return an image file as the target says.

    where: what errors call the file. name: its name, whose ending must agree with the content;
    None = it has none.

    Raises:
        ImageError: if the file is no image, damaged, of a kind that is not read or a refused one.
    """
    kind = _check_kind(where, name, data)
    is_lossy = kind == "JPEG" or (kind == "WebP" and not _is_lossless_webp(data))
    if is_lossy and target.lossy == "refuse":
        raise ImageError(
            f"{where}: a lossy {kind} image; expected PNG or lossless WebP, or lossy ones "
            "accepted (--allow-lossy): compression changes every score"
        )
    try:
        with _PLUGINS[kind](io.BytesIO(data)) as image:
            _check_header(where, kind, data, image)
            image.load()
            upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
            return Picture(_fit(_flatten(where, upright), target), is_lossy)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # of WebP, whose header PIL checks itself
        raise ImageError(f"{where}: {error}; expected at most {MAX_SIDE} a side") from error
    except BROKEN as error:
        raise ImageError(
            f"{where}: truncated or damaged ({error}); expected a whole {kind} file"
        ) from error


def fit(pixels: Pixels, target: Target) -> Pixels:
    """Return images (N, C, H, W) in the size and colour of the target, by the rules for files."""
    shape = target.shape((pixels.shape[1], pixels.shape[2], pixels.shape[3]))
    if pixels.shape[1:] == shape:
        return pixels
    fitted = np.empty((len(pixels), *shape), np.uint8)
    for index, image in enumerate(pixels):
        hwc = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        fitted[index] = Picture(_fit(Image.fromarray(hwc), target), is_lossy=False).pixels()
    return fitted


def _check_kind(where: str, name: str | None, data: bytes) -> str:
    """Return the file's format by its content, which its name must agree with."""
    kind = None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "PNG"
    elif data.startswith(b"\xff\xd8\xff"):
        kind = "JPEG"
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "WebP"
    if kind is None:
        raise ImageError(f"{where}: not an image; expected only PNG, JPEG and WebP files")
    if name is not None and kind != _SUFFIXES.get(name[name.rfind(".") :].lower()):
        raise ImageError(f"{where}: a {kind} image by content but not by name; expected both alike")
    if kind == "PNG" and _PNG_END not in data:  # PIL forgives a missing end
        raise ImageError(f"{where}: truncated or damaged (no end mark); expected a whole PNG file")
    return kind


def _is_lossless_webp(data: bytes) -> bool:
    """Return whether the pixels are in a "VP8L" chunk, and not in a "VP8 " one."""
    at = 12  # after the RIFF header
    while at + 8 <= len(data):
        if data[at : at + 4] in (b"VP8L", b"VP8 "):
            return data[at : at + 4] == b"VP8L"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def _check_header(where: str, kind: str, data: bytes, image: ImageFile.ImageFile) -> None:
    if max(image.size) > MAX_SIDE:
        raise ImageError(
            f"{where}: {image.width}x{image.height} pixels; expected at most {MAX_SIDE} a side"
        )
    if getattr(image, "n_frames", 1) != 1:
        raise ImageError(f"{where}: animated; expected a still image")
    bits_16 = kind == "PNG" and data[24] == 16  # PIL would silently drop the low bytes of RGB
    if bits_16 or image.mode not in ("1", "L", "P", "RGB", "LA", "RGBA"):
        found = "16 bits a channel" if bits_16 else f"colour mode {image.mode}"
        raise ImageError(
            f"{where}: {found}; expected 8-bit grey, RGB or palette: convert it first, as the way "
            "it is done changes a score"
        )


def _flatten(where: str, image: Image.Image) -> Image.Image:
    """Return the image as "L" or "RGB", without its alpha channel if that is opaque."""
    has_alpha = "A" in image.mode or "transparency" in image.info
    if has_alpha and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ImageError(
            f"{where}: partly transparent; expected no alpha or an opaque one: put it on a "
            "background of your choice first"
        )
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image.Image, target: Target) -> Image.Image:
    """Apply the rules for channels and size, in this order."""
    mode = {None: image.mode, 1: "L", 3: "RGB"}[target.channels]
    if image.mode != mode:
        image = image.convert(mode)
    resolution = target.resolution
    if resolution is None or image.size == (resolution, resolution):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: with resize(box=...) the filter would reach beyond the box.
    square = image.crop((left, top, left + side, top + side))
    return square.resize((resolution, resolution), Image.Resampling.LANCZOS)


def fitted(pixels: np.ndarray, resolution: int) -> np.ndarray:
    """Return images (n, C, H, W) uint8 of 1 or 3 channels with this side, by RESIZE_RULE."""
    channels, *sides = pixels.shape[1:]
    if sides == [resolution, resolution]:
        return pixels
    target = Target(resolution=resolution, channels=channels)
    small = [
        np.asarray(_fit(Image.fromarray(each[0] if channels == 1 else each), target))
        for each in (pixels if channels == 1 else np.moveaxis(pixels, 1, -1))
    ]
    stacked = np.stack(small)
    return stacked[:, None] if channels == 1 else np.ascontiguousarray(np.moveaxis(stacked, -1, 1))
