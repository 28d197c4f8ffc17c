"""Which entries of a board fit a device and a time, the best first, and what is not known of others.

Only what was measured counts: images per second of a row's sample sets on that device, as they were
drawn there in batches, and device-seconds of its training there. Nothing is scaled from one device
to another.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import yaml
from django.db.models import (
    Exists,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    prefetch_related_objects,
)

from catalog.models import Protocol
from experiments.models import Entry, Experiment, SampleSet
from experiments.submission.record import PARTS, record_of
from jobs.models import Status, Worker
from leaderboards.board import Board, Column, Row
from leaderboards.models import Score, Standing
from leaderboards.ranking import board_of
from leaderboards.scores import anew, reading

MOST = 10  # entries that are shown
COUNTED = 2000  # of a larger board the best are counted
SPEED, TRAINING = "images_per_second", "device_seconds"
IN_C = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # four times as fast, where it was built


@dataclass(frozen=True)
class Wish:
    """What somebody can spend; None: any."""

    device: str = ""  # as workers name it, "" = any
    seconds_per_image: float | None = None
    training_seconds: float | None = None


class Costs(NamedTuple):
    """What one row costs, where it was measured."""

    standing: int  # its key
    images_per_second: float | None
    training_seconds: float | None

    def are_known(self, wish: Wish) -> bool:
        """Return whether each cost that is limited was measured."""
        speed, training = self.images_per_second, self.training_seconds
        is_drawn = wish.seconds_per_image is None or speed is not None
        return is_drawn and (wish.training_seconds is None or training is not None)

    def fit(self, wish: Wish) -> bool:
        """Return whether no limit is passed; costs that are not known are not less."""
        speed, training = self.images_per_second or 0.0, self.training_seconds
        if wish.seconds_per_image is not None and speed < 1 / wish.seconds_per_image:
            return False
        limit = wish.training_seconds
        return limit is None or (training is not None and training <= limit)


@dataclass(frozen=True)
class Advised:
    """One entry that fits, with the submission that trains it again."""

    row: Row
    yaml: str

    @property
    def seconds_per_image(self) -> float | None:
        speed = self.row.cells[SPEED].value
        return 1 / speed if speed else None


@dataclass(frozen=True)
class Advice:
    """The entries of a board that fit, the best by quality first."""

    board: Board
    quality: Column | None
    coverage: Column | None
    found: Sequence[Advised]
    fitting: int  # of them `found` are the first
    unfit: int  # measured, and too slow or too long to train
    unmeasured: int  # on this device: nobody knows
    of_best: int | None  # the counts are of so many of the best; None: of all

    @property
    def total(self) -> int:
        return self.fitting + self.unfit + self.unmeasured


def devices() -> list[str]:
    """Return the devices of all workers that there were."""
    return sorted({*Worker.objects.order_by().values_list("device", flat=True)} - {""})


def advise(protocol: Protocol, wish: Wish) -> Advice:
    """Return which entries of a board fit; those with a number that was trained here alone."""
    board = replace(board_of(protocol, "", None), writing=anew.settled(protocol))
    quality, coverage = (_column(board, corner) for corner in ("quality", "coverage"))
    ordered = replace(board, sort=quality.key if quality else board.sort, budgets=())
    best, is_cut = _best(ordered)
    known = _measured(best, wish)
    fits = [costs.standing for costs in known if costs.fit(wish)]
    keys = fits[:MOST]
    if is_cut and len(keys) < MOST:  # others may fit that are not among the best
        keys = list(_in_order(_fitting(_contenders(protocol), wish), ordered)[:MOST])
    told = [c for c in board.columns if c in (quality, coverage) or c.key in (SPEED, TRAINING)]
    rows = _rows(keys, told)
    return Advice(
        board=board,
        quality=quality,
        coverage=coverage,
        found=_advised(protocol, rows),
        fitting=len(fits),
        unfit=len(known) - len(fits),
        unmeasured=len(best) - len(known),
        of_best=COUNTED if is_cut else None,
    )


def _contenders(protocol: Protocol) -> QuerySet[Standing]:
    """Return the rows that may be advised: an entry can be trained again if it was trained here."""
    mine = Standing.objects.filter(protocol=protocol, control="", is_trial=False)
    return mine.filter(kind=Entry.Kind.GENERATOR)


def _in_order(standings: QuerySet[Standing], board: Board) -> QuerySet[Any, int]:
    """Return the keys of rows with a value, the best first; these are keys of its scores' rows."""
    return reading.in_order(standings, board).filter(value__isnull=False)


def _best(board: Board) -> tuple[list[Costs], bool]:
    """Return what the best rows cost, and whether there are more than are counted: one query."""
    mine = Score.objects.filter(standing=OuterRef("standing")).order_by()
    costs = [Subquery(mine.filter(metric=key).values("value")) for key in (SPEED, TRAINING)]
    ordered = _in_order(_contenders(board.protocol), board)
    found = [Costs(*row) for row in ordered.values_list("standing_id", *costs)[: COUNTED + 1]]
    return found[:COUNTED], len(found) > COUNTED


def _rows(keys: Sequence[int], columns: Sequence[Column]) -> list[Row]:
    """Return the rows of standings, in their order, with the cells of some columns."""
    found = Standing.objects.select_related("entry__experiment__dataset").in_bulk(keys)
    scores = Score.objects.filter(standing__in=keys, metric__in=[each.key for each in columns])
    return reading.rows_from([found[key] for key in keys], columns, scores, details_of=())


def _column(board: Board, corner: str) -> Column | None:
    """Return the first metric of a corner that a board ranks by."""
    return next((column for column in board.ranked if column.corner == corner), None)


def _measured(best: Sequence[Costs], wish: Wish) -> list[Costs]:
    """Return those whose costs are known on the device, as far as the wish asks for them."""
    known = [costs for costs in best if costs.are_known(wish)]
    if not wish.device or not known:
        return known
    standings = Standing.objects.filter(pk__in=[costs.standing for costs in known])
    here = set(_on_device(standings, wish).values_list("pk", flat=True))
    return [costs for costs in known if costs.standing in here]


def _on_device(standings: QuerySet[Standing], wish: Wish) -> QuerySet[Standing]:
    """Return the rows that were drawn, and trained, on the device alone, as far as that is asked."""
    if wish.device and wish.seconds_per_image is not None:
        sets = SampleSet.objects.filter(
            entry=OuterRef("entry"),
            sampler_label=OuterRef("sampler_label"),
            status=Status.COMPLETED,
        )
        here = sets.filter(worker__device=wish.device)
        elsewhere = sets.exclude(worker__device=wish.device)
        standings = standings.filter(Exists(here), ~Exists(elsewhere))
    if wish.device and wish.training_seconds is not None:
        standings = standings.filter(device=wish.device)
    return standings


def _fitting(standings: QuerySet[Standing], wish: Wish) -> QuerySet[Standing]:
    """Return the rows that are known to fit."""
    standings = _on_device(standings, wish)
    if wish.seconds_per_image is not None:
        standings = standings.filter(Exists(_cost(SPEED, value__gte=1 / wish.seconds_per_image)))
    if wish.training_seconds is not None:
        standings = standings.filter(Exists(_cost(TRAINING, value__lte=wish.training_seconds)))
    return standings


def _cost(key: str, **limit: float) -> QuerySet[Score]:
    costs = Score.objects.filter(standing=OuterRef("pk"), metric=key, value__isnull=False)
    return costs.filter(**limit)


def _advised(protocol: Protocol, rows: Sequence[Row]) -> list[Advised]:
    """Return rows with their submissions, in as many queries however many they are."""
    entries = [row.entry for row in rows]
    of_searches = Q(search__in={each.search_id for each in entries if each.search_id}, trial=1)
    mine = Entry.objects.filter(Q(pk__in=[each.pk for each in entries]) | of_searches)
    prefetch_related_objects([row.experiment for row in rows], Prefetch("entries", mine), *PARTS)
    taken = _taken([_again(row) for row in rows])
    return [Advised(row, submission(protocol, row, taken)) for row in rows]


def submission(protocol: Protocol, row: Row, taken: Container[str]) -> str:
    """Return YAML, as `manage.py submit` takes it, that trains and scores an entry again.

    The name is none of those that are taken.
    """
    record = record_of(row.experiment)
    entry = next(each for each in record["entries"] if each["label"] == row.entry.label)
    samplers = zip(row.entry.samplers, row.entry.sampler_labels, strict=True)
    drawn = [sampler for sampler, label in samplers if label == row.sampler_label]
    again: dict[str, Any] = {
        **record,
        "name": _free_name(_again(row), taken),
        "protocols": [protocol.fingerprint],
        "entries": [{**entry, "samplers": drawn or row.entry.samplers}],
    }
    return written(again)


def written(data: Mapping[str, Any]) -> str:
    """Return data as YAML: the text of PyYAML's own writer, by its quick one where that is as good.

    The quick one escapes more characters than the other; without escapes both write the same.
    """
    text: str = yaml.dump(data, Dumper=IN_C, sort_keys=False, allow_unicode=True)
    if "\\" in text:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def _again(row: Row) -> str:
    return f"{row.entry.label} again"


def _taken(names: Iterable[str]) -> set[str]:
    """Return the names of experiments that begin with one of some."""
    begins = [Q(name__startswith=name) for name in dict.fromkeys(names)]
    if not begins:
        return set()
    return set(Experiment.objects.filter(reduce(or_, begins)).values_list("name", flat=True))


def _free_name(name: str, taken: Container[str]) -> str:
    """Return a name that no experiment has."""
    number = 2
    found = name
    while found in taken:
        found = f"{name} {number}"
        number += 1
    return found
