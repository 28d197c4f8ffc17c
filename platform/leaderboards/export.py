"""A board as flat rows, at full precision and complete: the same for files, JSON and the demo."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from experiments.pages import reconstructions
from leaderboards.board import Board, Cell, Column, Row
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import Field, Kind, csv_pieces
from leaderboards.marks import NEAR_TRAINING, NEARER
from leaderboards.scores.baseline import compared
from leaderboards.scores.parts import Parts

T = TypeVar("T")
ALL = Choice()  # columns
DIFFERENCE: dict[str, Kind] = {
    **dict.fromkeys(("minus baseline", "minus baseline low", "minus baseline high"), "number"),
    "is beside baseline": "text",
}

ABOUT: dict[str, Kind] = {  # a row, besides its cells
    **dict.fromkeys(("rank", "rank low", "rank high"), "whole"),
    **dict.fromkeys(("leads", "provisional"), "flag"),
    **dict.fromkeys(("experiment", "entry", "family", "algorithm", "sampler", "kind"), "text"),
    "control": "flag",
    "control_kind": "text",
    **dict.fromkeys(("seeds_scored", "seeds_total", "seeds_failed"), "whole"),
    "protocol": "text",
    "budget_images": "whole",
    "budget_seconds": "number",
    "device": "text",
    "scored_at": "text",
    "same_as": "text",
    "chosen_by": "text",
    "findings": "text",
}
OF_METRIC: dict[str, Kind] = {
    **dict.fromkeys(("low", "high"), "number"),
    "interval of": "text",
    "plug-in": "number",
    **dict.fromkeys(("seeds", "remarks"), "text"),
}
OF_COST: dict[str, Kind] = {"is": "text", "declared": "number"}


def columns(board: Board, choice: Choice = ALL) -> list[str]:
    """Return the names of the exported columns; a metric's name carries its honest label."""
    return [field.name for field in fields(board, autoencoder_columns(board), choice)]


def fields(board: Board, of_autoencoders: Iterable[str], choice: Choice = ALL) -> list[Field]:
    """Return the exported columns; those of autoencoders are there where any row of all has them."""
    found = [Field(name, kind) for name, kind in ABOUT.items()]
    for column in choice.exported(board):
        name, parts = _field(column), OF_COST if column.corner == "cost" else OF_METRIC
        found.append(Field(name, "number"))
        found += [Field(f"{name} {part}", kind) for part, kind in parts.items()]
        if board.baseline is not None:
            found += [Field(f"{name} {part}", kind) for part, kind in DIFFERENCE.items()]
    return found + [Field(name, "number") for name in of_autoencoders]


def autoencoder_columns(board: Board) -> list[str]:
    """Return the columns of what autoencoders cost and lose, where any row knows it."""
    return list(dict.fromkeys(name for row in board.rows for name in _of_autoencoder(board, row)))


def _of_autoencoder(board: Board, row: Row) -> dict[str, float | None]:
    """Return what is known of an autoencoder, means over seeds: what it cost or what it loses."""
    if row.entry.source is None:
        seconds = row.cells["device_seconds"].autoencoder_seconds
        return {} if seconds is None else {"device_seconds of autoencoder": seconds}
    found = reconstructions.means(row.sample_sets, board.protocol)
    return {f"reconstruction {name}": value for name, value in found.items()}


def rows(
    board: Board, choice: Choice = ALL, of_autoencoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return every row of the board with the names of `fields`; absent values are None."""
    names = autoencoder_columns(board) if of_autoencoders is None else of_autoencoders
    absent = dict.fromkeys(names)
    return [
        {**_row(board, row, choice), **absent, **_of_autoencoder(board, row)} for row in board.rows
    ]


def to_dict(board: Board, choice: Choice = ALL) -> dict[str, Any]:
    """Return the whole board as plain JSON values: what it measures, its columns, its rows.

    Rows are those of `rows` with more by the key of a column: `details`, what is known of a value
    besides its interval, for each scored seed; `judgements`, its rank and what is marked. Those of
    reconstructions have what the autoencoder loses of a split, for each seed. `budgets` are those
    of the board's entries, each ranked among those of its own.
    """
    chosen = choice.exported(board)
    return {
        "protocol": board.protocol.fingerprint,
        "name": board.protocol.name,
        "board_name": board.protocol.board_name,
        "dataset": board.protocol.dataset.slug,
        "num_images": board.protocol.num_images,
        "experiment": board.experiment.pk if board.experiment else None,
        "sort": board.sort,
        "columns": [_column(column) for column in chosen],
        "budgets": [budget.value for budget in board.budgets],
        "grouped": board.is_grouped,
        "unranked": dict(board.unranked),
        "rows": whole_rows(board, choice),
    }


def whole_rows(
    board: Board, choice: Choice = ALL, of_autoencoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows with all that JSON has of them."""
    keys = {column.key for column in choice.exported(board)}
    return [
        {
            **flat,
            "details": _of(keys, _details(row)),
            "judgements": _of(keys, _judgements(row)),
            **_reconstructions(row),
        }
        for flat, row in zip(rows(board, choice, of_autoencoders), board.rows, strict=True)
    ]


def _of(keys: Collection[str], found: dict[str, T]) -> dict[str, T]:
    return {key: value for key, value in found.items() if key in keys}


def _reconstructions(row: Row) -> dict[str, list[dict[str, Any]]]:
    """Return all that is known of what an autoencoder loses; nothing of other rows."""
    known = [each.reconstruction for each in row.sample_sets if each.reconstruction]
    return {"reconstructions": known} if row.entry.source else {}


def _judgements(row: Row) -> dict[str, dict[str, Any]]:
    """Return what the board says of every cell with a value, by the key of its column."""
    return {
        key: {
            "rank": cell.rank,
            "rank_low": cell.rank_low,
            "rank_high": cell.rank_high,
            "leads": cell.leads,
            "provisional": cell.provisional,
            "seeds_lost": cell.seeds_lost,
            "remarks": remarks(cell),
        }
        for key, cell in row.cells.items()
        if cell.value is not None
    }


def remarks(cell: Cell) -> list[str]:
    """Return in words what is marked in a cell."""
    words = [NEARER * cell.beats_control, NEAR_TRAINING * cell.near_training, cell.no_merit]
    return [word for word in words if word]


def _details(row: Row) -> dict[str, list[dict[str, Any]]]:
    return {key: list(cell.details) for key, cell in row.cells.items() if any(cell.details)}


def _column(column: Column) -> dict[str, Any]:
    """Return a column's meaning; `field` is the key of its value in every row."""
    return {
        "key": column.key,
        "field": _field(column),
        "label": column.label,
        "unit": column.unit,
        "higher_is_better": column.higher_is_better,
        "ideal": column.ideal,
        "corner": column.corner,
        "headline": column.headline,
        "help": column.help,
    }


def _field(column: Column) -> str:
    return column.key if column.corner == "cost" else column.label


def _row(board: Board, row: Row, choice: Choice) -> dict[str, Any]:
    sorted_by = row.cells[board.ranked_by.key]
    flat: dict[str, Any] = {
        "rank": sorted_by.rank,
        "rank low": sorted_by.rank_low,
        "rank high": sorted_by.rank_high,
        "leads": sorted_by.leads,
        "provisional": sorted_by.provisional,
        "experiment": row.experiment.name,
        "entry": row.entry.label,
        "family": row.entry.family,
        "algorithm": row.entry.algorithm,
        "sampler": row.sampler_label,
        "kind": row.entry.kind,
        "control": row.is_control,
        "control_kind": row.control,
        "seeds_scored": row.seeds_scored,
        "seeds_total": row.seeds_total,
        "seeds_failed": row.seeds_failed,
        "protocol": board.protocol.fingerprint,
        "budget_images": None if row.is_control else row.budget.images,
        "budget_seconds": None if row.is_control else row.budget.seconds,
        "device": row.device,
        "scored_at": row.scored_at.isoformat() if row.scored_at else None,
        "same_as": "; ".join(row.same_as),
        "chosen_by": row.chosen_by,
        "findings": "; ".join(row.findings),
    }
    for column in choice.exported(board):
        flat |= _of_cell(row, column)
        if board.baseline is not None:
            flat |= _of_difference(row, board.baseline, column)
    return flat


def _of_difference(row: Row, baseline: Row, column: Column) -> dict[str, Any]:
    """Return by how much a number differs from the baseline's, and what that surely says."""
    found = compared(row, baseline, column)
    values = (None, None, None, "") if found is None else (*found.difference, found.verdict)
    names = [f"{_field(column)} {part}" for part in DIFFERENCE]
    return dict(zip(names, values, strict=True))


def _of_cell(row: Row, column: Column) -> dict[str, Any]:
    cell = row.cells[column.key]
    flat: dict[str, Any] = {}
    if column.corner == "cost":
        flat[column.key] = cell.value
        flat[f"{column.key} is"] = _basis(row, cell)
        flat[f"{column.key} declared"] = cell.declared
    else:
        flat[column.label] = cell.value
        flat[f"{column.label} low"] = cell.low
        flat[f"{column.label} high"] = cell.high
        flat[f"{column.label} interval of"] = cell.interval_of
        flat[f"{column.label} plug-in"] = cell.plug_in
        flat[f"{column.label} seeds"] = f"{len(cell.seeds)} of {row.seeds_total}"
        flat[f"{column.label} remarks"] = "; ".join(remarks(cell))
    return flat


def _basis(row: Row, cell: Cell) -> str:
    """Return what is known of a cost: "measured", "unknown", "declared", "to come" or "none"."""
    if row.is_control:
        return "none"
    if cell.unknown:
        return "unknown" if cell.declared is None else "declared"
    return "to come" if cell.value is None else "measured"


def to_csv(board: Board, choice: Choice = ALL) -> str:
    """Return the board as CSV; text that a spreadsheet would run as a formula is quoted by '."""
    whole = fields(board, autoencoder_columns(board), choice)
    return b"".join(csv_pieces(whole, [told_rows(board, choice)])).decode()


def told_rows(
    board: Board, choice: Choice = ALL, of_autoencoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of CSV: costs that are unknown say so, since a blank is too easily a 0."""
    costs = [column.key for column in board.columns if column.corner == "cost"]
    return [
        row | {key: "unknown" for key in costs if row.get(f"{key} is") in ("unknown", "declared")}
        for row in rows(board, choice, of_autoencoders)
    ]


Told = Callable[[Board, Choice, Iterable[str]], list[dict[str, Any]]]
TOLD: dict[str, Told] = {"csv": told_rows, "jsonl": whole_rows, "parquet": rows}  # by format


@dataclass(frozen=True)
class File:
    """A board as it is exported: never more than a part of it is in memory."""

    fields: Sequence[Field]
    chunks: Iterable[list[dict[str, Any]]]


def file_of(found: Parts, kind: str, choice: Choice = ALL) -> File:
    """Return an export of a board that is read in parts.

    What a large one costs is read twice: whether any row knows its autoencoder's decides the columns.
    """
    first = next(found.boards)
    named = chain([first], found.costs)
    names = list(dict.fromkeys(name for part in named for name in autoencoder_columns(part)))
    every = chain([first], found.boards)
    chunks = (TOLD[kind](part, choice, names) for part in every)
    return File(fields(first, names, choice), chunks)
