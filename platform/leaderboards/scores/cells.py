"""Reads the cells of rows: a board has hundreds of thousands, so that their JSON is read in bulk."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice, starmap
from typing import Any

from django.db.models import Case, Expression, QuerySet, TextField, Value, When
from django.db.models.functions import Cast

from leaderboards.board import Cell
from leaderboards.models import Score
from leaderboards.statistics.spread import Seed

BATCH = 2000
PLAIN = (
    *("value", "low", "high", "interval_of", "plug_in"),  # a cell begins with these
    *("reason", "unknown", "declared", "seeds_lost"),
)
UNRANKED = (None, None, None, False)  # rank, rank_low, rank_high, leads
UNMARKED = ("", False, False)  # no_merit, beats_control, near_training


def cells_of(
    scores: QuerySet[Score], provisional: Mapping[int, bool], details_of: Collection[str] | None
) -> Iterator[tuple[int, str, Cell]]:
    """Yield the key of a standing, that of a column, and the number.

    ``provisional`` says of the standings that are wanted whether seeds are still to come. Details
    are read of the columns in ``details_of`` alone, where that is given.
    """
    texts = (Cast("seeds", TextField()), _details(details_of))
    rows = scores.order_by().values_list("standing_id", "metric", *texts, *PLAIN)
    found = rows.iterator(chunk_size=BATCH)
    while batch := list(islice(found, BATCH)):
        wanted = [row for row in batch if row[0] in provisional]
        seeds = _parsed([row[2] for row in wanted], parse_int=float)
        details = _parsed([row[3] for row in wanted])
        for (pk, key, text, _, *plain), measured, told in zip(wanted, seeds, details, strict=True):
            mine = _with_names(measured) if '"' in text else tuple(starmap(Seed, measured))
            numbers, (reason, unknown, declared, seeds_lost) = plain[:5], plain[5:]
            said = (reason, unknown, declared, tuple(told), mine, seeds_lost)
            fields = (*numbers, *UNRANKED, provisional[pk], *UNMARKED, *said)
            yield pk, key, Cell._make(fields)


def _details(columns: Collection[str] | None) -> Expression:
    text = Cast("details", TextField())
    if columns is None:
        return text
    return Case(When(metric__in=columns, then=text), default=Value("[]"), output_field=TextField())


def _parsed(texts: list[str], **options: Any) -> Any:
    """Return what texts of JSON say: one call of the parser is much faster than one for each."""
    return json.loads(f"[{','.join(texts)}]", **options)


def _with_names(measured: Iterable[tuple[float, float | str | None]]) -> tuple[Seed, ...]:
    """Return seeds some of whose errors are not finite, which JSON has by their names."""
    return tuple(Seed(value, None if error is None else float(error)) for value, error in measured)
