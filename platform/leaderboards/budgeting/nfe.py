"""The NFE curve: quality against network evaluations per image, a line a trained model."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from leaderboards.board import Board, Cell, Column, Row

NFE = "nfe"  # the column of network evaluations per image
WIDE = 10  # times the least value, from which on the axis of quality is logarithmic


@dataclass(frozen=True)
class Point:
    """One entry with one sampler."""

    row: Row
    nfe: float
    quality: Cell


@dataclass(frozen=True)
class Curve:
    """One entry's samplers in the order of their evaluations; a single point where it has one.

    All are drawn from the same checkpoints: those of the entry's seeds.
    """

    points: tuple[Point, ...]

    @property
    def row(self) -> Row:
        return self.points[0].row

    @property
    def is_line(self) -> bool:
        return len({point.nfe for point in self.points}) > 1


@dataclass(frozen=True)
class Chart:
    quality: Column
    curves: tuple[Curve, ...]

    @property
    def points(self) -> list[Point]:
        return [point for curve in self.curves for point in curve.points]

    @property
    def is_log(self) -> bool:
        """Whether quality spans so much that its axis is logarithmic."""
        values = [point.quality.value or 0.0 for point in self.points]
        return min(values) > 0 and max(values) > WIDE * min(values)


def chart(board: Board) -> Chart | None:
    """Return the curves of a board's contenders; None unless one of them is a line.

    Rows without a value, or whose evaluations nobody counted, are left out.
    """
    quality = next((column for column in board.columns if column.corner == "quality"), None)
    if quality is None:
        return None
    of_entries: dict[int, list[Point]] = defaultdict(list)
    for row in board.rows:
        point = None if row.is_control or row.is_trial else _point(row, quality)
        if point is not None:
            of_entries[row.entry.pk].append(point)
    curves = tuple(
        Curve(tuple(sorted(points, key=lambda point: point.nfe))) for points in of_entries.values()
    )
    return Chart(quality, curves) if any(curve.is_line for curve in curves) else None


def _point(row: Row, quality: Column) -> Point | None:
    nfe, cell = row.cells[NFE].value, row.cells[quality.key]
    return Point(row, nfe, cell) if nfe and cell.value is not None else None


def to_dict(chart: Chart) -> dict[str, Any]:
    """Return the chart as plain values, lines in parts.

    Samplers of different kinds are no line: a step of the one is not one more of the other.
    """
    return {
        "quality": {
            "label": f"{chart.quality.label} {chart.quality.arrow}",
            "higher_is_better": chart.quality.higher_is_better,
        },
        "log": chart.is_log,
        "curves": [_curve(part) for curve in chart.curves for part in parts(curve)],
    }


def parts(curve: Curve) -> list[Curve]:
    """Return a curve's samplers of each kind by themselves: DDIM 10 and DDIM 50, Euler 10."""
    by_kind = sorted(curve.points, key=kind)  # in each they stay in the order of evaluations
    return [Curve(tuple(points)) for _, points in groupby(by_kind, key=kind)]


def kind(point: Point) -> str:
    """Return what a sampler is called without its number of steps: "DDIM", of "DDIM 50"."""
    entry, label = point.row.entry, point.row.sampler_label
    given = dict(zip(entry.sampler_labels, entry.samplers, strict=True)) if entry.spec else {}
    steps = str(given.get(label, {}).get("steps", ""))
    return " ".join(word for word in label.split(" ") if word != steps)


def _curve(curve: Curve) -> dict[str, Any]:
    entry = curve.row.entry
    return {
        "label": entry.label,
        "kind": kind(curve.points[0]) if curve.is_line else "",
        "family": entry.family,
        "family_label": entry.family_label,
        "experiment": curve.row.experiment.name,
        "points": [
            {
                "sampler": point.row.sampler_label,
                "key": f"{entry.pk}:{point.row.sampler_label}",
                "nfe": point.nfe,
                "quality": {
                    "value": point.quality.value,
                    "low": point.quality.low,
                    "high": point.quality.high,
                },
            }
            for point in curve.points
        ],
    }


def drawn(board: Board) -> dict[str, Any] | None:
    """Return what a page draws of a board, None where there is no line."""
    found = chart(board)
    return None if found is None else to_dict(found)
