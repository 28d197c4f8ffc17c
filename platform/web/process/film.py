"""What a page shows of a viewing: rows of pictures over frames, and their numbers in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from experiments.models import Viewing
from web import formats
from web.sheets import Sheet

SPARK_WIDTH, SPARK_HEIGHT = 600, 120  # of the verdicts in training


@dataclass(frozen=True)
class Picture:
    """One picture of the film."""

    box: str  # on the sheet
    about: str  # for who does not see it
    notes: list[str]


@dataclass(frozen=True)
class Track:
    """One row of the film."""

    label: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Film:
    """A completed viewing."""

    source: str  # of the sheet
    sheet: Sheet
    frames: list[list[str]]  # what is known of each
    tracks: list[Track]
    summary: list[str]


@dataclass(frozen=True)
class Line:
    """One curve of the verdicts in training."""

    name: str
    points: str  # of an SVG's polyline


def film_of(viewing: Viewing) -> Film:
    """Return a completed viewing as pages show it."""
    facts = viewing.facts
    frames = [in_words(numbers) for numbers in facts["frames"]]
    labels, count = facts["tracks"], len(frames)
    sheet = Sheet(viewing.run.entry.experiment.dataset.resolution, len(labels) * count, count)
    cells = facts.get("cells") or [[{}] * count] * len(labels)
    tracks = [
        Track(
            label, [_picture(sheet, row, at, label, frames[at], numbers) for at, numbers in found]
        )
        for row, (label, found) in enumerate(
            zip(labels, (enumerate(each) for each in cells), strict=True)
        )
    ]
    source = reverse("viewing-sheet", args=[viewing.pk]) + f"?v={viewing.sha256[:12]}"
    return Film(source, sheet, frames, tracks, _summary(facts.get("summary", {})))


def _picture(
    sheet: Sheet, row: int, at: int, label: str, frame: Sequence[str], numbers: Mapping[str, Any]
) -> Picture:
    notes = in_words(numbers)
    about = ", ".join([label, *frame, *notes])
    return Picture(sheet.box(row * sheet.columns + at), about, notes)


def in_words(numbers: Mapping[str, Any]) -> list[str]:
    """Return what is known of a frame or a picture, a few words each."""
    said = [_word(name, value, numbers) for name, value in numbers.items()]
    return [text for text in said if text]


def _word(name: str, value: Any, numbers: Mapping[str, Any]) -> str:
    if name == "snr_db":
        if value is None:
            return "SNR ∞" if numbers.get("alpha_bar", 0) > 0.5 else "SNR 0"
        return f"SNR {_number(value, 1)} dB"
    if name == "psnr_db":
        return "the same" if value is None else f"PSNR {_number(value, 1)} dB"
    if value is None:
        return "clean" if name == "timestep" else ""
    known = {
        "time": lambda: f"t = {_number(value, 2)}",
        "t": lambda: f"t = {_number(value, 3)}",
        "timestep": lambda: f"timestep {value:.0f}",
        "sigma": lambda: f"σ = {formats.significant(value)}",
        "alpha_bar": lambda: f"ᾱ = {value:.3f}" if value >= 0.001 else "ᾱ < 0.001",
        "step": lambda: f"step {value + 1:.0f}",
        "steps": lambda: "1 step" if value == 1 else f"{value:.0f} steps",
        "weight": lambda: f"{100 * value:.0f} %",
        "image": lambda: f"image {value:.0f}",
        "seed": lambda: f"seed {value:.0f}",
        "place": lambda: f"no. {value:.0f}",
        "images_seen": lambda: f"{formats.short_count(value)} images",
        "mean_logit": lambda: f"mean logit {_number(value, 2)}",
        "mean_real": lambda: f"of real images {_number(value, 2)}",
        "passes": lambda: f"{100 * value:.0f} % pass",
        "logit": lambda: f"logit {_number(value, 2)}",
        "nfe": lambda: f"NFE {value:.0f}",
        "reason": lambda: f"cannot: {value}",
        "end": lambda: str(value),
    }
    return known[name]() if name in known else ""


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}".replace("-", "−")


def _summary(numbers: Mapping[str, Any]) -> list[str]:
    """Return what the discriminator says on the whole, in sentences."""
    if "passes" not in numbers:
        return []
    drawn, real = (_number(numbers[name], 2) for name in ("mean_drawn", "mean_real"))
    return [
        f"Mean logit of {numbers['drawn']:,} drawn images {drawn}, of {numbers['real']:,} images of "
        f"the test split {real}.",
        f"A drawn image passes for more real than a real one in {100 * numbers['passes']:.0f} % of "
        "pairs; where nobody can tell them apart it is 50 %.",
    ]


def history(viewing: Viewing) -> dict[str, Any] | None:
    """Return the verdicts in training as two lines of an SVG, None where none were written down."""
    points = viewing.facts.get("history") or []
    values = [value for point in points for value in point[1:] if math.isfinite(value)]
    if len(points) < 2 or not values:
        return None
    low, high = min(values), max(values)
    last = points[-1][0] or 1
    lines = []
    for place, name in ((1, "on real images"), (2, "on drawn images")):
        places = (
            f"{SPARK_WIDTH * point[0] / last:.1f},"
            f"{SPARK_HEIGHT * (high - point[place]) / ((high - low) or 1):.1f}"
            for point in points
        )
        lines.append(Line(name, " ".join(places)))
    return {
        "lines": lines,
        "low": _number(low, 1),
        "high": _number(high, 1),
        "images_seen": formats.short_count(last),
        "width": SPARK_WIDTH,
        "height": SPARK_HEIGHT,
    }
