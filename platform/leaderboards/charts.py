"""What the trilemma chart draws: quality against coverage, with the speed of sampling."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from statistics import quantiles
from typing import Any

from experiments.models import Entry
from leaderboards.board import Board, Cell, Column, Row

SPEED = "images_per_second"
EVALUATIONS = "nfe"
WIDE = 10  # times the lower quartile, from which on the largest value presses the best together


def trilemma(board: Board, others: Iterable[tuple[Any, ...]] = ()) -> dict[str, Any] | None:
    """Return axes and points of the chart, None if too little is measured for it.

    `others` are points of rows on other pages, see `scores.points`. Where quality spans more than
    a factor of `WIDE`, its axis is logarithmic: bad entries would press the best together.
    Values of 0 have no place on that, and are counted in `off`.
    """
    axes = axes_of(board)
    if axes is None:
        return None
    quality, coverage = axes
    rows = [row for row in board.rows if not (row.is_aside or row.is_trial)]
    points = [point for row in rows if (point := _point(row, quality, coverage)) is not None]
    contenders = [point for point in points if not point["is_control"]]
    beyond = [tuple(point) for point in others]
    if not contenders and not beyond:
        return None
    best = front(contenders, quality, coverage, speed=True)
    for point in points:
        point["on_front"] = point in best
    values = [point["quality"]["value"] for point in points] + [point[4] for point in beyond]
    is_log = _is_wide(values, quality)
    return {
        "quality": _axis(quality),
        "coverage": _axis(coverage),
        "points": points,
        "front": [point["key"] for point in front(contenders, quality, coverage, speed=False)],
        "joined": list(_joined(rows, {point["key"] for point in contenders})),
        "others": beyond,
        "log": is_log,
        "speeds": _speeds(points),
        "off": sum(value <= 0 for value in values) if is_log else 0,
    }


def _speeds(points: Iterable[dict[str, Any]]) -> list[float]:
    """Return images per second of the slowest, one between and the fastest, for the key of sizes."""
    speeds = [speed for point in points if (speed := point["images_per_second"])]
    low, high = min(speeds, default=0.0), max(speeds, default=0.0)
    return [low, math.sqrt(low * high), high] if low < high else []


def axes_of(board: Board) -> tuple[Column, Column] | None:
    """Return what the chart has upwards and to the right; None where one is not measured."""
    quality, coverage = _first(board, "quality"), _first(board, "coverage")
    return (quality, coverage) if quality and coverage else None


def keys_drawn(board: Board) -> set[str]:
    """Return the keys of all columns whose numbers the charts of a board's page may draw."""
    axes = (_first(board, "quality"), _first(board, "coverage"))
    return {SPEED, EVALUATIONS, *(column.key for column in axes if column)}


def _is_wide(values: Iterable[float], column: Column) -> bool:
    positive = [value for value in values if value > 0]
    is_unbounded = column.minimum == 0 and column.maximum is None and column.ideal is None
    return is_unbounded and len(positive) > 2 and max(positive) > WIDE * quantiles(positive, n=4)[0]


def front(
    points: list[dict[str, Any]], quality: Column, coverage: Column, *, speed: bool
) -> list[dict[str, Any]]:
    """Return the Pareto front: the points that no other equals everywhere and beats somewhere.

    By quality and coverage, and by speed too if that is asked for; the best coverage is last. Their
    intervals are left aside: a neighbour of the front may belong to it.
    """
    merits = [_merits(point, quality, coverage, speed) for point in points]
    found = [
        (mine, place)
        for place, mine in enumerate(merits)
        if not any(_beats(other, mine) for other in merits)
    ]
    return [points[place] for _, place in sorted(found)]


def _merits(
    point: dict[str, Any], quality: Column, coverage: Column, speed: bool
) -> tuple[float, ...]:
    """Return what is better the larger it is: coverage, quality, images per second."""
    found = tuple(
        point[corner]["value"] * (1 if column.higher_is_better else -1)
        for corner, column in (("coverage", coverage), ("quality", quality))
    )
    return (*found, point["images_per_second"] or 0.0) if speed else found


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def _joined(rows: Iterable[Row], drawn: Collection[str]) -> Iterator[list[str]]:
    """Yield the points of entries that have several, by their network evaluations, fewest first."""
    by_entry: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if _key(row) in drawn:
            by_entry[row.entry.pk].append(row)
    for some in by_entry.values():
        if len(some) > 1:
            yield [_key(row) for row in sorted(some, key=_evaluations)]


def _evaluations(row: Row) -> float:
    return row.cells[EVALUATIONS].value or 0.0


def _key(row: Row) -> str:
    return f"{row.entry.pk}:{row.sampler_label}"


def _first(board: Board, corner: str) -> Column | None:
    return next((column for column in board.columns if column.corner == corner), None)


def _axis(column: Column) -> dict[str, Any]:
    return {"label": f"{column.label} {column.arrow}", "higher_is_better": column.higher_is_better}


def _point(row: Row, quality: Column, coverage: Column) -> dict[str, Any] | None:
    x, y = row.cells[coverage.key], row.cells[quality.key]
    if x.value is None or y.value is None:
        return None
    return {
        "key": _key(row),
        "is_control": row.is_control,
        "label": _label(row),
        "experiment": row.experiment.name,
        "family": row.entry.family,
        "family_label": row.entry.family_label,
        "coverage": _number(x),
        "quality": _number(y),
        "images_per_second": row.cells[SPEED].value,
    }


def _label(row: Row) -> str:
    is_external = row.entry.kind == Entry.Kind.EXTERNAL
    named_by_entry = row.is_control or is_external or row.sampler_label == "direct"
    return row.entry.label if named_by_entry else f"{row.entry.label}, {row.sampler_label}"


def _number(cell: Cell) -> dict[str, float | None]:
    assert cell.value is not None, "only points with both values are drawn"
    return {"value": cell.value, "low": cell.low, "high": cell.high}
