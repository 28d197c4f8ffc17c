"""Which entries of a board fit a device and a time, the best first, and what is not known of others.

Only what was measured counts: images per second of a row's sample sets on that device, as they were
drawn there in batches, and device-seconds of its training there. Nothing is scaled from one device
to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import yaml
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects

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


@dataclass(frozen=True)
class Wish:
    """What somebody can spend; None: any."""

    device: str = ""  # as workers name it, "" = any
    seconds_per_image: float | None = None
    training_seconds: float | None = None


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
    sort = quality.key if quality else board.sort
    scored = Score.objects.filter(standing=OuterRef("pk"), metric=sort, value__isnull=False)
    mine = Standing.objects.filter(protocol=protocol, control="", is_trial=False)
    mine = mine.filter(Exists(scored), entry__kind=Entry.Kind.GENERATOR)
    in_order = partial(reading.in_order, board=replace(board, sort=sort, budgets=()))
    best = list(in_order(mine)[: COUNTED + 1])
    keys = list(in_order(_fitting(_measured(mine, wish), wish))[:MOST])
    few = mine.filter(pk__in=best[:COUNTED])
    measured = _measured(few, wish)
    known, fits = measured.count(), _fitting(measured, wish).count()
    found = Standing.objects.select_related("entry__experiment__dataset").in_bulk(keys)
    scores = Score.objects.filter(standing__in=keys)
    rows = reading.rows_from([found[key] for key in keys], board.columns, scores)
    prefetch_related_objects([row.experiment for row in rows], *PARTS)
    return Advice(
        board=board,
        quality=quality,
        coverage=coverage,
        found=[Advised(row, submission(protocol, row)) for row in rows],
        fitting=fits,
        unfit=known - fits,
        unmeasured=len(best[:COUNTED]) - known,
        of_best=COUNTED if len(best) > COUNTED else None,
    )


def _column(board: Board, corner: str) -> Column | None:
    """Return the first metric of a corner that a board ranks by."""
    return next((column for column in board.ranked if column.corner == corner), None)


def _measured(standings: QuerySet[Standing], wish: Wish) -> QuerySet[Standing]:
    """Return the rows whose costs are known on the device, as far as the wish asks for them."""
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
    for key, limit in ((SPEED, wish.seconds_per_image), (TRAINING, wish.training_seconds)):
        if limit is not None:
            standings = standings.filter(Exists(_cost(key)))
    return standings


def _fitting(standings: QuerySet[Standing], wish: Wish) -> QuerySet[Standing]:
    if wish.seconds_per_image is not None:
        standings = standings.filter(Exists(_cost(SPEED, value__gte=1 / wish.seconds_per_image)))
    if wish.training_seconds is not None:
        standings = standings.filter(Exists(_cost(TRAINING, value__lte=wish.training_seconds)))
    return standings


def _cost(key: str, **limit: float) -> QuerySet[Score]:
    costs = Score.objects.filter(standing=OuterRef("pk"), metric=key, value__isnull=False)
    return costs.filter(**limit)


def submission(protocol: Protocol, row: Row) -> str:
    """Return YAML, as `manage.py submit` takes it, that trains and scores an entry again."""
    record = record_of(row.experiment)
    entry = next(each for each in record["entries"] if each["label"] == row.entry.label)
    samplers = zip(row.entry.samplers, row.entry.sampler_labels, strict=True)
    drawn = [sampler for sampler, label in samplers if label == row.sampler_label]
    again: dict[str, Any] = {
        **record,
        "name": _free_name(f"{row.entry.label} again"),
        "protocols": [protocol.fingerprint],
        "entries": [{**entry, "samplers": drawn or row.entry.samplers}],
    }
    text: str = yaml.safe_dump(again, sort_keys=False, allow_unicode=True)
    return text


def _free_name(name: str) -> str:
    """Return a name that no experiment has."""
    taken = set(Experiment.objects.filter(name__startswith=name).values_list("name", flat=True))
    number = 2
    found = name
    while found in taken:
        found = f"{name} {number}"
        number += 1
    return found
