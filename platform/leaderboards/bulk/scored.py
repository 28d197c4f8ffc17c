"""Reads the numbers of a large board by columns: no object is made of a cell.

A row of the board has 17 rows of the database or more. To make a `Cell` of each takes several times
as long as to read it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Expression, ExpressionWrapper, F, IntegerField, TextField, Value
from django.db.models.functions import Cast

from leaderboards.board import Column
from leaderboards.bulk.numbers import Numbers
from leaderboards.formats.rows import encoded
from leaderboards.models import Judgement, Score

BATCH = 10_000  # rows of the database that come at once
READ: tuple[str | Expression, ...] = (  # in the order of `Numbers`
    *("value", "low", "high", "interval_of", "plug_in", "declared"),
    ExpressionWrapper(F("unknown"), IntegerField()),  # as SQLite keeps it: 0 or 1
    Cast("seeds", TextField()),
    "seeds_lost",
)
NOT_WRITTEN = (0, "", None, None, None, "", None, None, False, "[]", 0, "")  # by nobody yet
UNSAID = (None, None, None, False, False, False, "")  # as `reading.SAID` has it

Row = tuple[Any, ...]


Place = tuple[int, str]  # of a number: its standing, its column's key


class Scored(NamedTuple):
    """The numbers of standings in their order, by the keys of columns."""

    numbers: Mapping[str, Numbers]
    details: Mapping[Place, str]  # what else is known of a value, as JSON; not where nothing is


def scored(
    keys: Sequence[int],
    columns: Sequence[Column],
    pending: Sequence[bool],
    *,
    are_all: bool,
    has_details: bool,
) -> Scored:
    """Return the numbers of standings, with details if these are asked for.

    `pending` says of each standing whether seeds of it are still to come, `are_all` whether the
    board has no other columns: they need not be looked for then.
    """
    wanted = None if are_all else [column.key for column in columns]
    scores, said = _scores(keys, wanted, has_details=has_details), _said(keys)
    numbers = {
        column.key: _numbers(
            list(map(scores.get, zip(keys, repeat(column.key), strict=False))),
            [each.get(column.key, UNSAID) for each in said],
            pending,
        )
        for column in columns
    }
    told = {place: _as_exported(row[-1]) for place, row in scores.items() if '"' in row[-1]}
    return Scored(numbers, told if has_details else {})


def _scores(
    keys: Sequence[int], columns: Sequence[str] | None, *, has_details: bool
) -> dict[Place, Row]:
    """Return rows of the database by standing and metric, which they begin with."""
    found = Score.objects.filter(standing__in=keys)
    if columns is not None:
        found = found.filter(metric__in=columns)
    details = Cast("details", TextField()) if has_details else Value("")
    rows = found.order_by().values_list("standing_id", "metric", *READ, details)
    return {row[:2]: row for row in rows.iterator(chunk_size=BATCH)}


def _said(keys: Sequence[int]) -> list[Mapping[str, Sequence[Any]]]:
    """Return what standings were judged to be."""
    found = Judgement.objects.filter(pk__in=keys).order_by()
    texts = dict(found.values_list("pk", Cast("found", TextField())))
    said: list[Mapping[str, Sequence[Any]]] = json.loads(
        f"[{','.join(texts.get(key, '{}') for key in keys)}]"
    )
    return said


def _numbers(
    scores: Sequence[Row | None], said: Iterable[Sequence[Any]], pending: Sequence[bool]
) -> Numbers:
    if None in scores:
        pairs = zip(pending, scores, strict=True)
        pending = [each and score is not None for each, score in pairs]
        scores = [NOT_WRITTEN if score is None else score for score in scores]
    _, _, *read, seeds, lost, _ = zip(*filter(None, scores), strict=True)
    counts = [text.count("[") - 1 for text in seeds]  # a list of lists
    return Numbers(*read, counts, lost, pending, *zip(*said, strict=True))


def _as_exported(text: str) -> str:
    """Return data as exports have it; SQLite keeps it so, but for what was escaped."""
    if connection.vendor == "sqlite" and "\\" not in text:
        return text
    return encoded(json.loads(text))
