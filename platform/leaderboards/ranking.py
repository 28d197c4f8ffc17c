"""One board: a protocol, a row per entry and sampler, a cell per metric and cost.

Rules: only values of one fingerprint stand together; a cell is the mean over the seeds that were
scored, and `seeds k/n` says how many were not; ties share a rank (1, 2, 2, 4); what is missing is
last. Controls have no rank: real test images stand first, the others after everything else. They
are the same images in every experiment, so each stands once.

Survivors are not the sample: the seeds that failed may be those with the worst values. So under a
metric, rows with failed seeds are ranked behind all rows without, whatever their mean over the
survivors, and never lead; worst first, too, they stand between the others and what is missing.
Costs do not depend on who survives and are ranked by value alone. Nobody leads a metric of
memorisation: noise is furthest from copies.

A distance to the reference below that of the real control, which no model has seen, is no better
quality: the model may have copied training images. Neither is an authenticity below the control's
beyond their intervals: its images are nearer to single training images. Such cells are marked.
"""

from dataclasses import replace

from catalog.models import Protocol
from experiments import controls
from experiments.models import Experiment
from leaderboards.board import Board, Cell, Column, Row, columns_of, shown
from leaderboards.rows import rows_of

DISTANCES = ("fd", "kd")  # metrics that say how far from the reference a sample set is
AUTHENTICITY = "authenticity"  # share of images that are no nearer to a training image than usual


def rank(protocol: Protocol, *, sort: str = "", experiment: Experiment | None = None) -> Board:
    """Return the board of a protocol, of one experiment or of all.

    `sort` is a column's key, "-key" for worst first; by default the first metric.

    Raises:
        ValueError: if there is no such column.
    """
    columns = columns_of(protocol)
    keys = [column.key for column in columns]
    sort = sort or keys[0]
    if sort.removeprefix("-") not in keys:
        raise ValueError(f"expected a column to sort by ({', '.join(keys)}), got {sort!r}")
    rows = rows_of(protocol, columns, experiment)
    for column in columns:
        rows = _ranked(rows, column)
    rows = _marked(rows, columns)
    return Board(protocol, experiment, columns, _sorted(rows, columns, sort), sort)


def _ranked(rows: list[Row], column: Column) -> list[Row]:
    """Return the rows with rank and lead filled in for one column."""
    key = column.key
    contenders = [r for r in rows if not r.is_control and r.cells[key].value is not None]
    if not contenders:
        return rows
    best = min(contenders, key=lambda row: _place(row, column)).cells[key]
    ranked = []
    for row in rows:
        cell = row.cells[key]
        if cell.value is not None and not row.is_control:
            ahead = sum(_place(other, column) < _place(row, column) for other in contenders)
            near = ahead == 0 or _overlap(cell, best)
            leads = near and has_leader(column) and not of_survivors(row, column)
            cell = replace(cell, rank=ahead + 1, leads=leads)
        ranked.append(replace(row, cells={**row.cells, key: cell}))
    return ranked


def _place(row: Row, column: Column) -> tuple[bool, float]:
    """Return what orders present values, best first: rows without failed seeds, then the others."""
    return of_survivors(row, column), _badness(row.cells[column.key], column)


def has_leader(column: Column) -> bool:
    """Return whether being first is a merit: to be further from copies than real images is none."""
    return column.corner != "memorisation"


def of_survivors(row: Row, column: Column) -> bool:
    """Return whether the cell is a metric's mean over what was left when other seeds failed."""
    return column.corner != "cost" and row.seeds_failed > 0


def _badness(cell: Cell, column: Column) -> float:
    assert cell.value is not None, "only present values are compared"
    if column.ideal is not None:
        return abs(cell.value - column.ideal)
    return -cell.value if column.higher_is_better else cell.value


def _marked(rows: list[Row], columns: tuple[Column, ...]) -> list[Row]:
    """Return the rows with the cells marked that speak of copies, beside the real control."""
    control = next((row for row in rows if row.is_real), None)
    if control is None:
        return rows
    return [
        replace(
            row, cells={c.key: _mark(c, row.cells[c.key], control.cells[c.key]) for c in columns}
        )
        for row in rows
    ]


def _mark(column: Column, cell: Cell, control: Cell) -> Cell:
    if column.key in DISTANCES:
        return replace(cell, beats_control=_nearer(column, cell, control))
    if column.key == AUTHENTICITY:
        return replace(cell, near_training=_wholly_below(cell, control))
    return cell


def _nearer(column: Column, cell: Cell, control: Cell) -> bool:
    """Return whether the shown distance is below the control's, whatever their intervals."""
    if cell.value is None or control.value is None:
        return False
    return shown(column, cell.value) < shown(column, control.value)


def _wholly_below(cell: Cell, control: Cell) -> bool:
    """Return whether the whole interval lies below the control's; without one, nothing does."""
    return cell.high is not None and control.low is not None and cell.high < control.low


def _overlap(a: Cell, b: Cell) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _sorted(rows: list[Row], columns: tuple[Column, ...], sort: str) -> tuple[Row, ...]:
    """Return real images, values in order, survivors' values, what is missing, other controls."""
    column = next(c for c in columns if c.key == sort.removeprefix("-"))
    sign = -1.0 if sort.startswith("-") else 1.0

    def place(row: Row) -> tuple[int, float, str, str, int]:
        cell = row.cells[column.key]
        name = (row.entry.label, row.sampler_label, row.entry.pk)
        if row.is_control:
            return (4 * (not row.is_real), controls.KINDS.index(row.control), *name)
        if cell.value is None:
            return (3, 0.0, *name)
        survivors, badness = _place(row, column)
        return (2 if survivors else 1, sign * badness, *name)

    return tuple(sorted(rows, key=place))
