"""What the trilemma chart draws: quality against coverage, with the speed of sampling."""

from typing import Any

from experiments.models import Entry
from leaderboards.board import Board, Cell, Column, Row


def trilemma(board: Board) -> dict[str, Any] | None:
    """Return axes and points of the chart, None if the protocol measures too little for it."""
    quality = _first(board, "quality")
    coverage = _first(board, "coverage")
    if quality is None or coverage is None:
        return None
    rows = [row for row in board.rows if not row.is_aside]
    drawn = [_point(row, quality, coverage) for row in rows]
    points = [point for point in drawn if point is not None]
    if not points:
        return None
    contenders = [point for point in points if not point["is_control"]]
    best = front(contenders, quality, coverage, speed=True)
    for point in points:
        point["on_front"] = point in best
    return {
        "quality": _axis(quality),
        "coverage": _axis(coverage),
        "points": points,
        "front": [point["key"] for point in front(contenders, quality, coverage, speed=False)],
    }


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


def _first(board: Board, corner: str) -> Column | None:
    return next((column for column in board.columns if column.corner == corner), None)


def _axis(column: Column) -> dict[str, Any]:
    return {"label": f"{column.label} {column.arrow}", "higher_is_better": column.higher_is_better}


def _point(row: Row, quality: Column, coverage: Column) -> dict[str, Any] | None:
    x, y = row.cells[coverage.key], row.cells[quality.key]
    if x.value is None or y.value is None:
        return None
    return {
        "key": f"{row.entry.pk}:{row.sampler_label}",
        "is_control": row.is_control,
        "label": _label(row),
        "experiment": row.experiment.name,
        "family": row.entry.family,
        "family_label": row.entry.family_label,
        "coverage": _number(x),
        "quality": _number(y),
        "images_per_second": row.cells["images_per_second"].value,
    }


def _label(row: Row) -> str:
    is_external = row.entry.kind == Entry.Kind.EXTERNAL
    named_by_entry = row.is_control or is_external or row.sampler_label == "direct"
    return row.entry.label if named_by_entry else f"{row.entry.label}, {row.sampler_label}"


def _number(cell: Cell) -> dict[str, float | None]:
    assert cell.value is not None, "only points with both values are drawn"
    return {"value": cell.value, "low": cell.low, "high": cell.high}
