"""Reads images that somebody hands in as protocols want them, and says what is odd about them.

What a protocol cannot score is refused: another size, too few, lossy files where it takes none,
prompts that are missing or there twice. Everything else is a finding, a sentence that stays with the
images; it changes no value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor

from evaluation.imagesets.decoding import Lossy
from evaluation.imagesets.in_memory import ImageError, Images, check_array_bytes
from evaluation.imagesets.lint import lint, shared_images
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.splits import choose, take
from evaluation.metrics.copies import copied_share
from evaluation.metrics.pairs.thumbnails import (
    NearestThumbnails,
    nearest_thumbnails,
    shift_of,
    thumbnails,
)
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.prompts import PromptSet, order_of_prompts
from evaluation.protocols.record import LOSSY_ACCEPTED, Protocol
from evaluation.scoring.checks import EvaluationError, check_enough, check_shape
from evaluation.scoring.classes import SHOWN, label_warning, numbers_of
from evaluation.scoring.of_images import SELECTION_SEED

MOST_COMPARED = 2_000  # handed-in images whose nearest training images are looked for
COPIES_LEVEL = 0.01  # the chance that images without copies are said to hold some, at most
LEAST_COPIES = 0.04  # images of one class alone, none of them a copy, may count 2.5 %

KeepGoing = Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What protocols that score the same images want of them.

    prompts: what each image was asked with, None = nothing. labelled: whether classes and captions
    are looked at, which decides the order of the images, as `score` has it. classes: of the reference
    in label order, so that labels mean these whatever folders there are; () = they are not known.
    """

    protocols: tuple[Protocol, ...]
    prompts: PromptSet | None
    labelled: bool
    lossy: Lossy
    classes: tuple[str, ...] = ()

    @classmethod
    def by(
        cls,
        protocols: Sequence[Protocol],
        prompts: PromptSet | None = None,
        *,
        classes: Sequence[str] = (),
    ) -> Self:
        """Return what these protocols want; without any, everything that can be read is welcome."""
        names = {name for protocol in protocols for name in protocol.metrics}
        takes_lossy = all(each.images.lossy == LOSSY_ACCEPTED for each in protocols)
        return cls(
            tuple(protocols),
            prompts,
            labelled=not protocols
            or prompts is not None
            or any("labels" in METRICS[name].needs for name in names),
            lossy="accept" if takes_lossy else "refuse",
            classes=tuple(classes),
        )


@dataclass(frozen=True)
class HandedIn:
    """Images in the order in which they are scored, and what was found.

    says: whether the files say of each image its "prompt" and its "class".
    """

    images: Images
    findings: tuple[str, ...]
    says: Mapping[str, bool]


def read_handed_in(
    path: Path,
    wanted: Wanted,
    *,
    train: ImageStream | None = None,  # what copies are looked for in
    held_out: ImageStream | None = None,  # real images that are none, to tell near from usual
    resolution: int | None = None,  # made so large by RESIZE_RULE; None = as they come, all alike
    keep_going: KeepGoing = lambda: None,
) -> HandedIn:
    """Return the images of a file or folder with the findings.

    keep_going: called after each chunk; it may raise to end the work.

    Raises:
        EvaluationError: if a protocol cannot score them.
        ImageError: if they cannot be read.
        ProtocolError: if prompts are missing or there twice.
    """
    stream = open_images(path, labelled=wanted.labelled, lossy=wanted.lossy, resolution=resolution)
    assert stream.count is not None, "files are counted when they are opened"
    for protocol in wanted.protocols:
        check_shape(protocol, stream.name, stream)
        check_enough(protocol, stream.count)
    order = _order(stream, wanted)
    check_array_bytes(stream.name, (stream.count, *stream.shape))
    found = lint(stream, keep_going=keep_going)
    told = _told(path, stream)
    findings = [*_left_out(told), *_of_count(stream.count, wanted), *found.warnings()]
    findings += _of_labels(path, stream, wanted)
    pixels = _pixels(stream, keep_going)
    if train is not None:
        findings += _copies(stream, train, keep_going)
    if train is not None and held_out is not None:
        findings += _near_copies(stream, train, held_out, keep_going)
    images = Images(pixels, *_labels(stream, wanted), captions=stream.captions)
    ordered = images if order is None else take(images, order)
    return HandedIn(ordered, tuple(findings), _says(told))


def _order(stream: ImageStream, wanted: Wanted) -> np.ndarray | None:
    """Return the places of the images in the order of the prompts, None where there are none."""
    if wanted.prompts is None or not wanted.protocols:
        return None
    rule = wanted.protocols[0].prompts
    assert rule is not None, "protocols with prompts say how many images each has"
    if stream.captions is None:
        raise EvaluationError(
            f"{stream.name}: no captions; expected the prompt that each image was asked with, in "
            "`text` of metadata.csv or metadata.jsonl, in 1.txt beside 1.png, or in `captions`"
        )
    places = order_of_prompts(stream.captions, wanted.prompts, rule["images_per_prompt"])
    return np.array(places)


def _pixels(stream: ImageStream, keep_going: KeepGoing) -> np.ndarray:
    pixels = np.empty((stream.count or 0, *stream.shape), np.uint8)
    done = 0
    for chunk in stream.chunks():
        pixels[done : done + len(chunk)] = chunk
        done += len(chunk)
        keep_going()
    return pixels


def _told(path: Path, stream: ImageStream) -> ImageStream:
    """Return the files with what they say of each image, also where no protocol looks at it."""
    try:
        return open_images(path, lossy="accept")
    except ImageError:  # laid out in no classes; scoring takes images at any depth
        return stream


def _says(told: ImageStream) -> dict[str, bool]:
    return {"prompt": told.captions is not None, "class": told.labels is not None}


def _left_out(stream: ImageStream) -> Iterator[str]:
    for line in stream.left_out:
        if line != "1 text file (manifest.yaml)":
            yield f"left out {line}"


def _of_count(count: int, wanted: Wanted) -> Iterator[str]:
    for scored in sorted({protocol.num_images for protocol in wanted.protocols}):
        if count > scored:
            yield f"{count:,} images, of which a seeded choice of {scored:,} is scored"


def _labels(stream: ImageStream, wanted: Wanted) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the labels as numbers of the reference's classes, None where these are others."""
    if stream.labels is None or not wanted.classes:
        return stream.labels, stream.classes
    numbers = _class_numbers(stream, wanted)
    if numbers is None:
        return None, ()
    return np.array(numbers, np.int64)[stream.labels], wanted.classes


def _class_numbers(stream: ImageStream, wanted: Wanted) -> list[int] | None:
    numbers = numbers_of(stream.classes, wanted.classes)
    return numbers if numbers and max(numbers) < len(wanted.classes) else None


def _of_labels(path: Path, stream: ImageStream, wanted: Wanted) -> Iterator[str]:
    """Yield how labels differ from what the protocols say, and classes from the reference's."""
    if stream.labels is not None and wanted.classes and _class_numbers(stream, wanted) is None:
        others = [name for name in stream.classes if name not in wanted.classes]
        named = ", ".join(others[:SHOWN]) + ", …" * (len(others) > SHOWN)
        yield f"no class of the reference is called {named}; the labels are not used"
    by_rule = {str(each.images.labels): each for each in wanted.protocols}  # most have the same
    yield from filter(
        None, (label_warning(path, None, wanted.classes, each) for each in by_rule.values())
    )


def _copies(stream: ImageStream, train: ImageStream, keep_going: KeepGoing) -> Iterator[str]:
    same = shared_images(stream.digests(), train.digests(keep_going))
    if same:
        yield f"{same:,} of {stream.count:,} images are training images, bit for bit"


def _near_copies(
    stream: ImageStream, train: ImageStream, held_out: ImageStream, keep_going: KeepGoing
) -> Iterator[str]:
    """Yield that images are copies but for small changes, where chance makes that unlikely.

    The test of the metric `copies`, see `copied_share`, on at most MOST_COMPARED images.
    """
    small = thumbnails(train.chunks(), keep_going=lambda _done: keep_going())
    fake, real = (_nearest(images, small, keep_going) for images in (stream, held_out))
    found = copied_share(fake, real, shift=shift_of(*small.shape[1:]))
    share, chance = found.value or 0.0, float(found.details["p_value"])
    if share >= LEAST_COPIES and chance <= COPIES_LEVEL:
        yield (
            f"{found.details['below']:,} of {found.details['generated']:,} images looked at lie nearer to a "
            f"training image than 99 % of unseen real images do (by chance: p = {chance:.2g}): "
            "these may be copies"
        )


def _nearest(images: ImageStream, to: Tensor, keep_going: KeepGoing) -> NearestThumbnails:
    count = images.count or 0
    chosen = choose(count, min(count, MOST_COMPARED), seed=SELECTION_SEED)
    small = thumbnails(images.chunks(chosen), keep_going=lambda _done: keep_going())
    return nearest_thumbnails(small, to, keep_going=lambda _done: keep_going())
