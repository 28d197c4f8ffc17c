"""The NFE curve: quality against network evaluations per image, a line a trained model."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.models import Entry
from leaderboards.board import Board, Cell, Column, Row
from leaderboards.models import Score, Standing
from leaderboards.scores.query import Query

MOST = 300  # samplers beyond a page's rows that are drawn
NFE = "nfe"  # the column of network evaluations per image
TOLD = (  # of a score: whose it is, and the first fields of its cell
    *("standing_id", "standing__entry_id", "standing__sampler_label"),
    *("metric", "value", "low", "high"),
)
UNKNOWN = Cell(None)
Key = tuple[int, int, str]  # of a standing, its entry, and its sampler's label
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


def chart(board: Board, beyond: Iterable[Row] = ()) -> Chart | None:
    """Return the curves of a board's contenders; None unless one of them is a line.

    `beyond` are rows of other pages. Rows without a value, or whose evaluations nobody counted, are
    left out.
    """
    quality = _quality(board)
    if quality is None:
        return None
    of_entries: dict[int, list[Point]] = defaultdict(list)
    for row in (*board.rows, *beyond):
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
        "curves": [_curve(*part) for curve in chart.curves for part in parts(curve)],
    }


def parts(curve: Curve) -> Iterator[tuple[str, Curve]]:
    """Yield a curve's samplers of each kind by themselves: DDIM 10 and DDIM 50, Euler 10."""
    entry = curve.row.entry
    given = dict(zip(entry.sampler_labels, entry.samplers, strict=True)) if entry.spec else {}
    of_each: dict[str, list[Point]] = defaultdict(list)  # in the order of evaluations
    for point in curve.points:
        label = point.row.sampler_label
        of_each[kind(label, given.get(label, {}))].append(point)
    for name in sorted(of_each):
        yield name, Curve(tuple(of_each[name]))


def kind(label: str, sampler: Mapping[str, Any]) -> str:
    """Return what a sampler is called without its number of steps: "DDIM", of "DDIM 50"."""
    steps = str(sampler.get("steps", ""))
    return " ".join(word for word in label.split(" ") if word != steps)


def _curve(name: str, curve: Curve) -> dict[str, Any]:
    entry = curve.row.entry
    return {
        "label": entry.label,
        "kind": name if curve.is_line else "",
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


def drawn(board: Board, query: Query | None = None, *, most: int = MOST) -> dict[str, Any] | None:
    """Return what a page draws of a board, None where there is no line.

    All samplers of the entries on the page, those on other pages too; `beyond` says how many rows
    these are and `left_out` how many rows of other pages are not drawn. Of a day before, whose rows
    are not kept, only what stands on the page is drawn.
    """
    query = query or Query()
    rows, counted = ([], 0) if board.as_of is not None else _beyond(board, query, most)
    found = chart(board, rows)
    if found is None:
        return None
    others = (len(board.rows) if board.rows_in_all is None else board.rows_in_all) - len(board.rows)
    return {**to_dict(found), "beyond": len(rows), "left_out": others - counted}


def _beyond(board: Board, query: Query, most: int) -> tuple[list[Row], int]:
    """Return rows of the page's entries that stand elsewhere, and how many of them are asked for.

    Those that a filter leaves out are drawn, too, and are on no page.
    """
    here = {(row.entry.pk, row.sampler_label) for row in board.rows}
    shown = {row.entry.pk: row.entry for row in board.rows if not (row.is_control or row.is_trial)}
    quality = _quality(board)
    is_whole = len(board.rows) == board.rows_in_all and not query.filters
    if is_whole or board.rows_in_all is None or quality is None or not shown:
        return [], 0
    if board.elsewhere is not None and not query.filters:
        drawn = [row for row in board.elsewhere if row.entry.pk in shown][:most]
        return drawn, len(drawn)
    cells = _cells(board, shown, here, [NFE, quality.key])
    found = sorted(cells, key=lambda each: (*_place(shown[each[1]]), each[0]))[:most]
    counted = len(found)
    if query.filters and found:
        mine = Standing.objects.filter(pk__in=[pk for pk, *_ in found])
        counted = query.among(mine, board.protocol).count()
    return [_row(shown[each[1]], each[2], cells[each]) for each in found], counted


def _place(entry: Entry) -> tuple[int, int, int]:
    """Return where an entry stands among those of a board, as `standings.IN_ORDER` has them."""
    return entry.experiment_id, entry.position, entry.pk


def _cells(
    board: Board, entries: Iterable[int], here: Container[tuple[int, str]], columns: Sequence[str]
) -> dict[Key, dict[str, Cell]]:
    """Return the numbers in some columns of entries' samplers that are not here."""
    scores = Score.objects.filter(standing__entry__in=entries, metric__in=columns)
    rows = scores.filter(standing__protocol=board.protocol).order_by()
    found: dict[Key, dict[str, Cell]] = {}
    for pk, entry, sampler, metric, *numbers in rows.values_list(*TOLD):
        if (entry, sampler) not in here:
            cells = found.setdefault((pk, entry, sampler), dict.fromkeys(columns, UNKNOWN))
            cells[metric] = Cell(*numbers)
    return found


def _row(entry: Entry, sampler_label: str, cells: dict[str, Cell]) -> Row:
    """Return a row that is drawn alone: of an entry of the page, with these numbers."""
    return Row(entry, sampler_label, 0, 0, 0, cells, ())


def _quality(board: Board) -> Column | None:
    return next((column for column in board.columns if column.corner == "quality"), None)
