"""What is said of a protocol's real images beside what decides a value."""

from collections.abc import Mapping
from typing import Any

from evaluation.imagesets.sources import RESIZE_RULE

COMPRESSION = (
    "features see the compression: a Fréchet distance puts generated images without its traces "
    "further away than they look, and images with such traces nearer"
)


def image_notes(record: Mapping[str, Any]) -> list[str]:
    """Return a sentence on each set of a protocol's record that has images from lossy files.

    Source: Parmar et al., 2022, "On aliased resizing and surprising subtleties in GAN evaluation".
    """
    parts = (("reference", record.get("reference")), ("held-out", record.get("held_out")))
    return [
        lossy_note(part["lossy"], part["count"], f"{what} images")
        for what, part in parts
        if part and part.get("lossy")
    ]


def lossy_note(lossy: int, count: int, what: str) -> str:
    """Return what it means that ``lossy`` of ``count`` images come from lossy files."""
    return f"{lossy:,} of {count:,} {what} are from lossy files (JPEG, lossy WebP); {COMPRESSION}"


def resize_notes(preparation: str, resolution: int) -> list[str]:
    """Return a sentence if a dataset's preparation, in words, says that images were resized."""
    if RESIZE_RULE not in preparation:
        return []
    return [
        f"brought to {resolution}x{resolution} pixels by {RESIZE_RULE} when they were registered: "
        "another way of resizing gives other distances"
    ]
