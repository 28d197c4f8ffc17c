"""What `--data` names: a packaged set, or a set of images of any kind that the site reads."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluation.imagesets.in_memory import Images, convert_images, read_images, read_parts
from evaluation.imagesets.packaged import PACKAGED
from evaluation.imagesets.sources import PARTS, ImageError, MixedImages
from evaluation.imagesets.splits import TEST_FRACTION
from evaluation.imagesets.texts import caption_facts
from generators.specs.mirroring import mirror_warning, mirrored_words
from generators.specs.options import TrainingConfig, to_dict

TRAIN, TEST = PARTS


@dataclass(frozen=True)
class Data:
    """Images with what people are told of them.

    part: the part that was read; None = the source has no parts, and all of it was read.
    """

    name: str
    images: Images
    part: str | None

    def facts(self) -> str:
        """Return what was read, in one line."""
        pixels, classes = self.images.pixels, self.images.classes
        count, channels, height, width = pixels.shape
        kind = f"{len(classes)} classes" if classes else "unlabelled"
        if self.images.captions is not None:
            kind = f"{kind}, {caption_facts(self.images.captions)}"
        part = "" if self.part is None else f"{self.part} "
        return f"{self.name}: {count:,} {part}images, {width}x{height}x{channels}, {kind}"


def training_data(options: argparse.Namespace) -> Data:
    """Return the train part of `--data`; of a source without parts, all of it.

    Raises:
        ImageError: if it cannot be read.
    """
    return _read(options, TRAIN if parts_of(options.data) else None)


def measured_data(options: argparse.Namespace) -> Data:
    """Return `--part` of `--data`; where that is not given the test part, or what has no parts.

    Raises:
        ImageError: if it cannot be read, or a test part is asked of a source that has none.
    """
    parts = parts_of(options.data)
    if options.part == TEST and not parts:
        raise ImageError(
            f"--part: {options.data} has no parts, so that all of it was trained on; expected "
            "train/ and test/ in it, or no --part to measure on all of it"
        )
    return _read(options, (options.part or TEST) if parts else None)


def parts_of(source: str) -> tuple[str, ...]:
    """Return the parts that a source has, () if it is not parted."""
    return PARTS if source in PACKAGED else read_parts(Path(source))


def _read(options: argparse.Namespace, part: str | None) -> Data:
    """Read what the options name, fitted as they say.

    A folder that is called like a packaged set is reached by its path: `./digits`.
    """
    source, shape = options.data, {"resolution": options.resolution, "channels": options.channels}
    if source in PACKAGED:
        assert part is not None, "packaged sets have parts"
        images = convert_images(PACKAGED[source](part), name=source, **shape)
        return Data(source, images, part)
    try:
        return Data(source, read_images(Path(source), part=part, **shape), part)
    except MixedImages as error:
        raise ImageError(f"{error} (--{error.option})") from error


def say_what_is_trained_on(data: Data, config: TrainingConfig) -> None:
    """Tell people on stderr what a training has read, and what was left out and why."""
    images = data.images
    notice(data.facts())
    if images.classes and images.captions is not None:
        notice(f"{data.name}: the images' classes are learned, not their captions")
    if words := mirrored_words(to_dict(config), images.classes or images.captions or ()):
        notice(f"warning: {mirror_warning(words, 'horizontal_flip')}")
    for what in images.left_out:
        notice(f"{data.name}: left out {what}")
    if images.lossy:
        notice(
            f"{data.name}: {images.lossy:,} of {len(images.pixels):,} images are from lossy files"
        )
    if data.part is None:
        notice(
            f"{data.name}: it has no test part, so all of it is trained on (register_dataset "
            f"would keep {100 * TEST_FRACTION:g} % of each class for one)"
        )


def notice(text: str) -> None:
    """Tell people something on stderr, where no program reads it."""
    sys.stderr.write(f"{text}\n")
