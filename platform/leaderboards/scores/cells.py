"""Reads the cells of rows: a board has hundreds of thousands, so that their JSON is read in bulk."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

from django.db.models import Case, Expression, QuerySet, TextField, Value, When
from django.db.models.functions import Cast

from leaderboards.board import Cell, Column
from leaderboards.models import Score
from leaderboards.statistics.spread import Seed

BATCH = 2000
PLAIN = (
    *("value", "low", "high", "interval_of", "plug_in"),  # a cell begins with these
    *("reason", "unknown", "declared", "seeds_lost"),
)
JUDGED = ("value", "low", "high", "seeds_lost")  # what judging asks of a cell, beside its seeds
WITHOUT_LISTS = str.maketrans("", "", "[]")
_seed = partial(tuple.__new__, Seed)  # of a pair


def cells_of(
    scores: QuerySet[Score],
    provisional: Mapping[int, bool],
    details_of: Collection[str] | None,
    fields: Sequence[str] = PLAIN,
) -> Iterator[tuple[int, str, Cell]]:
    """Yield the key of a standing, that of a column, and the number.

    ``provisional`` says of the standings that are wanted whether seeds are still to come. Details
    are read of the columns in ``details_of`` alone, where that is given.
    """
    for batch in _batches(scores, provisional, details_of, fields):
        keys = [key for _, key, *_ in batch]
        for key, (pk, cell) in zip(keys, _cells(batch, provisional, fields), strict=True):
            yield pk, key, cell


class Columns:
    """The cells of a board's rows, one column after the other: all of them together are many.

    What is read at once is in texts; of a column at a time they become numbers, which then lie
    near each other in memory, and are forgotten again.
    """

    def __init__(
        self,
        scores: QuerySet[Score],
        provisional: Mapping[int, bool],  # of standings, in the order of the rows
        details_of: Collection[str],
        absent: Cell,
    ) -> None:
        self.provisional, self.absent = provisional, absent
        self.texts: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for batch in _batches(scores, provisional, details_of, JUDGED):
            for row in batch:
                self.texts[row[1]].append(row)

    def __call__(self, column: Column) -> list[Cell]:
        """Return the cells of all rows."""
        found = dict(_cells(self.texts[column.key], self.provisional, JUDGED))
        return [found.get(pk, self.absent) for pk in self.provisional]


def _batches(
    scores: QuerySet[Score],
    wanted: Container[int],
    details_of: Collection[str] | None,
    fields: Sequence[str],
) -> Iterator[list[tuple[Any, ...]]]:
    texts = (Cast("seeds", TextField()), _details(details_of))
    rows = scores.order_by().values_list("standing_id", "metric", *texts, *fields)
    found = rows.iterator(chunk_size=BATCH)
    while batch := list(islice(found, BATCH)):
        yield [row for row in batch if row[0] in wanted]


def _cells(
    rows: Sequence[tuple[Any, ...]], provisional: Mapping[int, bool], fields: Sequence[str]
) -> Iterator[tuple[int, Cell]]:
    made = _maker(fields)
    seeds = _seeds([row[2] for row in rows])
    details = _parsed([row[3] for row in rows])
    for (pk, _, _, _, *plain), measured, told in zip(rows, seeds, details, strict=True):
        yield pk, made((*plain, measured, tuple(told), provisional[pk]))


def _maker(fields: Sequence[str]) -> Callable[[tuple[Any, ...]], Cell]:
    """Return what makes a cell of its fields, seeds, details, and whether it is provisional."""
    known = (*fields, "seeds", "details", "provisional")
    others = {name: value for name, value in Cell._field_defaults.items() if name not in known}
    names = (*known, *others)
    in_order, left = itemgetter(*map(names.index, Cell._fields)), tuple(others.values())
    return lambda values: Cell._make(in_order(values + left))


def _details(columns: Collection[str] | None) -> Expression:
    text = Cast("details", TextField())
    if columns is None:
        return text
    return Case(When(metric__in=columns, then=text), default=Value("[]"), output_field=TextField())


def _parsed(texts: Iterable[str]) -> Any:
    """Return what texts of JSON say: one call of the parser is much faster than one for each."""
    return json.loads(f"[{','.join(texts)}]")


def _seeds(texts: Sequence[str]) -> Iterator[tuple[Seed, ...]]:
    """Yield the seeds of each text, which has a value and an error for each, or nothing.

    All are read as one list of numbers: lists of lists of lists take a third longer.
    """
    plain = ",".join([text for text in texts if text != "[]"])
    numbers = iter(json.loads(f"[{plain.translate(WITHOUT_LISTS)}]", parse_int=float))
    pairs: Iterator[tuple[float, float | None]] = zip(numbers, numbers, strict=True)
    if '"' in plain:  # of errors that are not finite, JSON has the names
        pairs = ((value, error and float(error)) for value, error in pairs)
    found = map(_seed, pairs)
    return (tuple(islice(found, text.count("[") - 1)) for text in texts)
