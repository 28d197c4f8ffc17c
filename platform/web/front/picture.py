"""The trilemma of a board as a drawing without scripts: places of marks, labels and ticks.

All lengths are units of the drawing's own box, `WIDTH` by `HEIGHT`, from its top left corner.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from web import formats

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 468, 12, 286  # of what lies between the axes
SMALLEST, LARGEST = 5.0, 13.0  # radius of a mark
LETTER, CAPITAL, LINE = 6.4, 8.4, 15  # width of letters and height of a line, roughly
GAP = 5  # between a mark and its label
LONGEST = 26  # letters of a label
TICKS = 4  # about as many on an axis
MARGIN = 0.09  # of an axis, free on both ends
SHAPES = {"gan": "circle", "vae": "square", "control": "cross"}  # others are diamonds


class Box(NamedTuple):
    """A part of the drawing that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Scale:
    """Where on an axis a value stands; better is always further from `begin`."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high, at = map(self._measure, (self.low, self.high, value))
        share = (at - low) / (high - low)
        return self.begin + share * (self.end - self.begin)

    def _measure(self, value: float) -> float:
        return math.log(value) if self.is_log else value

    def ticks(self) -> list[tuple[float, str]]:
        """Return places of round values with their text."""
        least, most = sorted((self.low, self.high))
        found = _round_log(least, most) if self.is_log else _round(least, most)
        return [(self.place(value), f"{value:.9g}".replace("-", "−")) for value in found]


@dataclass(frozen=True)
class Mark:
    """An entry: a shape of its family, as large as it is fast, with its name beside it."""

    family: str
    family_label: str
    shape: str
    x: float
    y: float
    radius: float
    across: tuple[float, float]  # ends of the interval of coverage
    upright: tuple[float, float]  # and of quality
    name: str
    told: str  # all that is known of it, in a sentence
    label: tuple[float, float] | None = None  # its left end and base line; None: there is no room

    @property
    def shown(self) -> str:
        return self.name if len(self.name) <= LONGEST else f"{self.name[: LONGEST - 1]}…"

    @property
    def path(self) -> str:
        """Return the outline of a shape that is no circle."""
        x, y, r = self.x, self.y, self.radius
        if self.shape == "square":
            return f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z"
        if self.shape == "cross":
            return f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
        r *= 1.25
        return f"M{x:.1f} {y - r:.1f}l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z"

    @property
    def boxes(self) -> list[Box]:
        """Return what it covers: the mark and both intervals."""
        r = self.radius + 1
        return [
            Box(self.x - r, self.y - r, self.x + r, self.y + r),
            Box(*(self.across[0], self.y - 2), *(self.across[1], self.y + 2)),
            Box(*(self.x - 2, self.upright[0]), *(self.x + 2, self.upright[1])),
        ]


@dataclass(frozen=True)
class Picture:
    """The whole drawing."""

    marks: tuple[Mark, ...]
    joins: tuple[tuple[str, str], ...]  # family and path of a line between samplers of one model
    across: list[tuple[float, str]]  # ticks of coverage
    upright: list[tuple[float, str]]  # and of quality
    coverage: str  # names of the axes
    quality: str
    is_log: bool

    @property
    def families(self) -> list[Mark]:
        """Return one mark of each family, for the legend."""
        return list({mark.family: mark for mark in reversed(self.marks)}.values())[::-1]


def picture(chart: dict[str, Any]) -> Picture | None:
    """Return the drawing of what `charts.trilemma` says, None where nothing has a place on it."""
    is_log = chart["log"]
    points = [p for p in chart["points"] if not is_log or p["quality"]["value"] > 0]
    if not points:
        return None
    across = _scale(points, chart, "coverage", LEFT, RIGHT)
    upright = _scale(points, chart, "quality", BOTTOM, TOP, is_log=is_log)
    fastest = max(p["images_per_second"] or 0 for p in points)
    marks = [_mark(p, chart, across, upright, fastest) for p in points]
    by_key = {point["key"]: mark for point, mark in zip(points, marks, strict=True)}
    return Picture(
        marks=tuple(_with_labels(marks)),
        joins=tuple(_joins(chart["joined"], by_key)),
        across=across.ticks(),
        upright=upright.ticks(),
        coverage=chart["coverage"]["label"],
        quality=chart["quality"]["label"],
        is_log=is_log,
    )


def _joins(
    joined: Iterable[Sequence[str]], by_key: Mapping[str, Mark]
) -> Iterable[tuple[str, str]]:
    for keys in joined:
        marks = [by_key[key] for key in keys if key in by_key]
        if marks:
            yield marks[0].family, "M" + "L".join(f"{mark.x:.1f} {mark.y:.1f}" for mark in marks)


def _scale(
    points: Iterable[dict[str, Any]],
    chart: dict[str, Any],
    side: str,
    begin: float,
    end: float,
    *,
    is_log: bool = False,
) -> Scale:
    """Return an axis that holds all values; intervals may reach over its ends."""
    values = [point[side]["value"] for point in points]
    low, high = min(values), max(values)
    if is_log:
        room = (high / low) ** MARGIN if high > low else 2.0
        low, high = low / room, high * room
    else:
        room = (high - low) * MARGIN or abs(high) * MARGIN or 1.0
        low, high = low - room, high + room
    if not chart[side]["higher_is_better"]:
        low, high = high, low
    return Scale(low, high, begin, end, is_log)


def _mark(
    point: dict[str, Any], chart: dict[str, Any], across: Scale, upright: Scale, fastest: float
) -> Mark:
    speed = point["images_per_second"]
    numbers = [
        f"{chart[side]['label']} {formats.significant(point[side]['value'])}"
        for side in ("quality", "coverage")
    ]
    drawn = f"{formats.significant(speed)} images/s" if speed else "not sampled"
    return Mark(
        family=point["family"],
        family_label=point["family_label"],
        shape=SHAPES.get(point["family"], "diamond"),
        x=across.place(point["coverage"]["value"]),
        y=upright.place(point["quality"]["value"]),
        radius=_radius(speed, fastest),
        across=_reach(point["coverage"], across, LEFT, RIGHT),
        upright=_reach(point["quality"], upright, TOP, BOTTOM),
        name=point["label"],
        told=f"{point['label']}: {', '.join(numbers)}, {drawn}",
    )


def _radius(speed: float | None, fastest: float) -> float:
    """Return a radius that falls by the logarithm: a thousandth of the fastest is smallest."""
    if not speed:
        return SMALLEST
    share = max(0.0, 1 + math.log10(speed / fastest) / 3)
    return SMALLEST + share * (LARGEST - SMALLEST)


def _reach(figure: dict[str, float | None], scale: Scale, least: float, most: float) -> Any:
    """Return both ends of an interval within the axes; the value itself where none is known."""
    value = figure["value"]
    ends = [value if figure[end] is None else figure[end] for end in ("low", "high")]
    bounded = [end if not scale.is_log else max(end or 0.0, 1e-300) for end in ends]
    places = [min(most, max(least, scale.place(end or 0.0))) for end in bounded]
    return min(places), max(places)


def _with_labels(marks: Sequence[Mark]) -> Iterable[Mark]:
    """Yield marks with labels where these cover no mark, no interval and no other label."""
    taken = [box for mark in marks for box in mark.boxes]
    for mark in marks:
        width = width_of(mark.shown)
        for left, base in _places(mark, width):
            box = Box(left, base - LINE + 3, left + width, base + 3)
            inside = box.left >= LEFT and box.right <= WIDTH and box.top >= 0 and base < BOTTOM
            if inside and not any(box.meets(other) for other in taken):
                taken.append(box)
                yield Mark(**{**vars(mark), "label": (left, base)})
                break
        else:
            yield mark


def width_of(text: str) -> float:
    return sum(CAPITAL if letter.isupper() else LETTER for letter in text)


def _places(mark: Mark, width: float) -> list[tuple[float, float]]:
    """Return where a label may stand, the best place first: beside, above, below, then askew."""
    x, y, r = mark.x, mark.y, mark.radius + GAP
    right, left = max(x + r, mark.across[1] + GAP), min(x - r, mark.across[0] - GAP) - width
    above, below = min(y - r, mark.upright[0] - GAP), max(y + r, mark.upright[1] + GAP) + LINE - 4
    beside = [(right, y + 4), (left, y + 4)]
    askew = [(x + r, y - r), (x + r, y + r + 9), (x - r - width, y - r), (x - r - width, y + r + 9)]
    middle = min(max(x - width / 2, LEFT + 1), WIDTH - width)
    stacked = [(middle, above), (middle, below), (middle, below + LINE)]
    return [*beside, *askew, *stacked]


def _round(low: float, high: float) -> list[float]:
    """Return round values between two, 1, 2 or 5 of a power of ten apart."""
    step = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(by for by in (1, 2, 5, 10) if (high - low) / (by * step) <= TICKS + 1)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _round_log(low: float, high: float) -> list[float]:
    """Return powers of ten between two, with twice and five times these where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5)):
        found = [p * 10.0**n for n in powers for p in parts if low <= p * 10.0**n <= high]
        if len(found) >= TICKS - 1:
            break
    return found
