"""How many images of each class a set has, and whether its labels follow a protocol's rule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.imagesets.in_memory import ImageError
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.protocols.labels import deviations, in_words
from evaluation.protocols.record import Protocol
from evaluation.scoring.references import SavedReference

SHOWN = 3  # classes whose numbers a warning tells; of more, those furthest off


def class_counts(images: ImageStream | SavedReference) -> tuple[int, ...] | None:
    """Return how many images each class has, None of unlabelled ones."""
    if images.labels is None:
        return None
    counts = np.bincount(images.labels, minlength=len(images.classes))
    return tuple(int(count) for count in counts)


def label_warning(
    path: Path, part: str | None, classes: Sequence[str], protocol: Protocol
) -> str | None:
    """Return in words how the labels of generated images differ from the protocol's rule.

    classes: of the reference. None: they do not, the protocol has no rule, or the images carry no
    labels of its classes.
    """
    rule = protocol.images.labels
    found = None if rule is None else _labelled_counts(path, part, classes)
    if rule is None or not found or min(found) >= len(rule["shares"]):
        return None
    if not (off := deviations(rule, found)):
        return None
    numbers = "; ".join(
        f"class {label} has {count:,} of {sum(found.values()):,} images, its share is {due:,.1f}"
        for label, count, due in off[:SHOWN]
    )
    more = f"; {len(off) - SHOWN} more are off" if len(off) > SHOWN else ""
    return f"their labels are not {in_words(rule)}, as the protocol says: {numbers}{more}"


def _labelled_counts(path: Path, part: str | None, classes: Sequence[str]) -> dict[int, int] | None:
    """Return how many generated images there are of each class, None if they have no classes."""
    try:
        images = open_images(path, part=part, lossy="accept")
    except ImageError:  # laid out in no classes; scoring takes images at any depth
        return None
    counts = class_counts(images)
    numbers = numbers_of(images.classes, classes)
    if counts is None or numbers is None:
        return None
    return dict(zip(numbers, counts, strict=True))


def numbers_of(names: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """Return the number of each class among others: by its name, or the number that it is called by.

    None: a name is neither.
    """
    if set(names) <= set(classes):
        return [classes.index(name) for name in names]
    return [int(name) for name in names] if all(map(str.isdecimal, names)) else None
