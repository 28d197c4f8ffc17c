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
    points = [_point(row, quality, coverage) for row in rows]
    points = [point for point in points if point is not None]
    if not points:
        return None
    return {"quality": _axis(quality), "coverage": _axis(coverage), "points": points}


def _first(board: Board, corner: str) -> Column | None:
    return next((column for column in board.columns if column.corner == corner), None)


def _axis(column: Column) -> dict[str, Any]:
    return {"label": f"{column.label} {column.arrow}", "higher_is_better": column.higher_is_better}


def _point(row: Row, quality: Column, coverage: Column) -> dict[str, Any] | None:
    x, y = row.cells[coverage.key], row.cells[quality.key]
    if x.value is None or y.value is None:
        return None
    return {
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
