"""Reads the numbers of a large board by columns: no object is made of a cell.

A row of the board has 17 rows of the database or more. To make a `Cell` of each takes several times
as long as to read it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Expression, ExpressionWrapper, F, TextField
from django.db.models.functions import Cast

from leaderboards.board import Column
from leaderboards.bulk.numbers import Numbers
from leaderboards.formats.rows import encoded
from leaderboards.models import Judgement, Score

READ: tuple[str | Expression, ...] = (  # behind standing and metric, in the order of `Numbers`
    *("value", "low", "high", "interval_of", "plug_in", "declared"),
    ExpressionWrapper(F("unknown"), TextField()),  # of a type whose values are left as they come
    Cast("seeds", TextField()),
    "seeds_lost",
)
NOT_WRITTEN = (None, None, None, "", None, None, False, "[]", 0, "[]")  # by nobody yet
UNSAID = (None, None, None, False, False, False, "")  # as `reading.SAID` has it

Place = tuple[int, str]  # of a number: its standing, its column's key
Row = tuple[Any, ...]  # of the database: a place, and what is read


@dataclass(frozen=True)
class Scores:
    """Rows of the database: for each standing, from the least key on, one of each metric."""

    rows: Sequence[Row]
    metrics: Sequence[str]
    absent: frozenset[Place] = frozenset()  # nobody wrote them

    def by_metric(self) -> dict[str, list[Sequence[Any]]]:
        """Return what is read by columns, each in the order of standings."""
        _, _, *columns = zip(*self.rows, strict=True)
        step = len(self.metrics)
        return {
            metric: [values[place::step] for values in columns[: len(READ)]]
            for place, metric in enumerate(self.metrics)
        }


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
    """Return the numbers of standings, one at least, with details if these are asked for.

    `pending` says of each standing whether seeds of it are still to come, `are_all` whether the
    board has no other columns: they need not be looked for then.
    """
    wanted = [column.key for column in columns]
    rows = _read(keys, None if are_all else wanted, has_details)
    scores = _whole(rows, keys, wanted, NOT_WRITTEN[: len(READ) + has_details])
    by_metric, said, ordered = scores.by_metric(), _said(keys), _ordered(keys)
    numbers = {
        key: _numbers(
            [ordered(values) for values in by_metric[key]],
            [each.get(key, UNSAID) for each in said],
            _to_come(keys, key, pending, scores.absent),
        )
        for key in wanted
    }
    told = ((row[:2], row[-1]) for row in scores.rows if has_details and '"' in row[-1])
    return Scored(numbers, {place: _as_exported(text) for place, text in told})


def _read(keys: Sequence[int], wanted: Sequence[str] | None, has_details: bool) -> list[Row]:
    """Return rows of the database in the order of the index of standings and metrics."""
    found = Score.objects.filter(standing__in=keys).order_by("standing_id", "metric")
    if wanted is not None:
        found = found.filter(metric__in=wanted)
    read = (*READ, Cast("details", TextField())) if has_details else READ
    return list(found.values_list("standing_id", "metric", *read))


def _whole(rows: Sequence[Row], keys: Sequence[int], wanted: Sequence[str], missing: Row) -> Scores:
    """Return rows with those that are missing; there are none, as a rule."""
    step, rest = divmod(len(rows), len(keys))
    metrics = [row[1] for row in rows[:step]]
    are_alike = not rest and [row[1] for row in rows] == metrics * len(keys)
    if are_alike and {*wanted} <= {*metrics}:
        return Scores(rows, metrics)
    found = {row[:2]: row for row in rows}
    places = [(key, metric) for key in sorted(keys) for metric in wanted]
    whole = [found.get(place, (*place, *missing)) for place in places]
    return Scores(whole, wanted, frozenset(places) - found.keys())


def _ordered(keys: Sequence[int]) -> Any:
    """Return what puts values of standings, from the least key on, in the order of the keys."""
    places = {key: place for place, key in enumerate(sorted(keys))}
    return itemgetter(*(places[key] for key in keys)) if len(keys) > 1 else tuple


def _to_come(
    keys: Sequence[int], metric: str, pending: Sequence[bool], absent: frozenset[Place]
) -> Sequence[bool]:
    if not absent:
        return pending
    return [each and (key, metric) not in absent for key, each in zip(keys, pending, strict=True)]


def _said(keys: Sequence[int]) -> list[Mapping[str, Sequence[Any]]]:
    """Return what standings were judged to be."""
    found = Judgement.objects.filter(pk__in=keys).order_by()
    texts = dict(found.values_list("pk", Cast("found", TextField())))
    said: list[Mapping[str, Sequence[Any]]] = json.loads(
        f"[{','.join(texts.get(key, '{}') for key in keys)}]"
    )
    return said


def _numbers(
    read: Sequence[Sequence[Any]], said: Sequence[Sequence[Any]], to_come: Sequence[bool]
) -> Numbers:
    *plain, seeds, lost = read
    counts = [text.count("[") - 1 for text in seeds]  # a list of lists
    return Numbers._make([*plain, counts, lost, to_come, *zip(*said, strict=True)])


def _as_exported(text: str) -> str:
    """Return data as exports have it; SQLite keeps it so, but for what was escaped."""
    if connection.vendor == "sqlite" and "\\" not in text:
        return text
    return encoded(json.loads(text))
