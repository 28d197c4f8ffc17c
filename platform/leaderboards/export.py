"""A board as flat rows, at full precision and complete: the same for files, JSON and the demo."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from accounts.models import User
from experiments.pages import reconstructions
from leaderboards.board import Board, Cell, Column, Row
from leaderboards.bulk import files
from leaderboards.bulk.fields import ALL, AUTOENCODER_COST, RECONSTRUCTION, field_of, fields
from leaderboards.bulk.numbers import UNKNOWN, Numbers, remarks_of
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import Chunks, Field, csv_pieces
from leaderboards.origins.seeds import seeds_told
from leaderboards.scores.baseline import compared
from leaderboards.scores.parts import Large, Parts

T = TypeVar("T")


def columns(board: Board, choice: Choice = ALL) -> list[str]:
    """Return the names of the exported columns; a metric's name carries its honest label."""
    return [field.name for field in fields(board, autoencoder_columns(board), choice)]


def autoencoder_columns(board: Board) -> list[str]:
    """Return the columns of what autoencoders cost and lose, where any row knows it."""
    return list(dict.fromkeys(name for row in board.rows for name in _of_autoencoder(board, row)))


def _usernames(keys: Collection[int | None]) -> dict[int, str]:
    """Return the names of accounts by their keys, with one question; None is nobody's."""
    accounts = User.objects.filter(pk__in=[key for key in keys if key is not None]).order_by()
    return dict(accounts.values_list("pk", "username"))


def _of_autoencoder(board: Board, row: Row) -> dict[str, float | None]:
    """Return what is known of an autoencoder, means over seeds: what it cost or what it loses."""
    if row.entry.source is None:
        seconds = row.cells["device_seconds"].autoencoder_seconds
        return {} if seconds is None else {AUTOENCODER_COST: seconds}
    found = reconstructions.means(row.sample_sets, board.protocol)
    return {f"{RECONSTRUCTION} {name}": value for name, value in found.items()}


def rows(
    board: Board, choice: Choice = ALL, of_autoencoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return every row of the board with the names of `fields`; absent values are None."""
    found = autoencoder_columns(board) if of_autoencoders is None else list(of_autoencoders)
    names = [field.name for field in fields(board, found, choice)]
    values = zip(*_columns(board, choice, found), strict=True) if board.rows else ()
    return [dict(zip(names, row, strict=True)) for row in values]


def _columns(board: Board, choice: Choice, of_autoencoders: Sequence[str]) -> list[Sequence[Any]]:
    """Return the rows by columns, of which there is one at least."""
    names = _usernames({row.experiment.created_by_id for row in board.rows})
    about = (_about(board, row, names) for row in board.rows)
    found: list[Sequence[Any]] = [*zip(*about, strict=True)]
    are_controls = [row.is_control for row in board.rows]
    totals = [row.seeds_total for row in board.rows]
    for column in choice.exported(board):
        numbers = Numbers.of([row.cells[column.key] for row in board.rows])
        found += numbers.columns(column, are_controls, totals)
        if (baseline := board.baseline) is not None:
            beside = (_difference(row, baseline, column) for row in board.rows)
            found += zip(*beside, strict=True)
    known = [_of_autoencoder(board, row) for row in board.rows]
    return found + [[each.get(name) for each in known] for name in of_autoencoders]


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
    return remarks_of(cell.beats_control, cell.near_training, cell.no_merit)


def _details(row: Row) -> dict[str, list[dict[str, Any]]]:
    return {key: list(cell.details) for key, cell in row.cells.items() if any(cell.details)}


def _column(column: Column) -> dict[str, Any]:
    """Return a column's meaning; `field` is the key of its value in every row."""
    return {
        "key": column.key,
        "field": field_of(column),
        "label": column.label,
        "unit": column.unit,
        "higher_is_better": column.higher_is_better,
        "ideal": column.ideal,
        "corner": column.corner,
        "headline": column.headline,
        "help": column.help,
    }


def _about(board: Board, row: Row, names: Mapping[int, str]) -> tuple[Any, ...]:
    """Return what is said of a row besides its cells, as `ABOUT` names it; `names` are accounts'."""
    sorted_by = row.cells[board.ranked_by.key]
    return (
        sorted_by.rank,
        sorted_by.rank_low,
        sorted_by.rank_high,
        sorted_by.leads,
        sorted_by.provisional,
        row.experiment.name,
        row.experiment.pk,
        "" if row.is_control else names.get(row.experiment.created_by_id or 0, ""),
        row.entry.label,
        row.entry.pk,
        row.entry.family,
        row.entry.algorithm,
        row.sampler_label,
        row.entry.kind,
        row.is_control,
        row.control,
        _seeds(row),
        row.seeds_scored,
        row.seeds_total,
        row.seeds_failed,
        board.protocol.fingerprint,
        None if row.is_control else row.budget.images,
        None if row.is_control else row.budget.seconds,
        row.device,
        row.scored_at.isoformat() if row.scored_at else None,
        "; ".join(row.same_as),
        row.chosen_by,
        "; ".join(row.findings),
    )


def _seeds(row: Row) -> str:
    entry, drawn = row.entry, (each.seed for each in row.sample_sets)
    runs = entry.search.runs if entry.search else None
    return seeds_told(entry.kind, row.experiment.seeds, entry.trial, runs, drawn)


def _difference(row: Row, baseline: Row, column: Column) -> tuple[Any, ...]:
    """Return by how much a number differs from the baseline's, and what that surely says."""
    found = compared(row, baseline, column)
    return (None, None, None, "") if found is None else (*found.difference, found.verdict)


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
        row | {key: "unknown" for key in costs if row.get(f"{key} is") in UNKNOWN}
        for row in rows(board, choice, of_autoencoders)
    ]


Told = Callable[[Board, Choice, Iterable[str]], list[dict[str, Any]]]
TOLD: dict[str, Told] = {"csv": told_rows, "jsonl": whole_rows, "parquet": rows}  # by format


@dataclass(frozen=True)
class File:
    """A board as it is exported: never more than a part of it is in memory."""

    fields: Sequence[Field]
    chunks: Chunks


def file_of(found: Parts | Large, kind: str, choice: Choice = ALL) -> File:
    """Return an export of a board that is read in parts, or by columns.

    What a large one costs is read twice: whether any row knows its autoencoder's decides the columns.
    """
    if isinstance(found, Large):
        whole = files.file_of(found, kind, choice)
        return File(whole.fields, whole.chunks())
    first = next(found.boards)
    named = chain([first], found.costs)
    names = list(dict.fromkeys(name for part in named for name in autoencoder_columns(part)))
    every = chain([first], found.boards)
    chunks = (TOLD[kind](part, choice, names) for part in every)
    return File(fields(first, names, choice), chunks)
