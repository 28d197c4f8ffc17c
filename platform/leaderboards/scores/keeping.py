"""Writes what a board shows as rows: when jobs move, in their transaction; or all of it anew."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from jobs.models import Job
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.models import Score, Standing
from leaderboards.origins.budgets import key_of
from leaderboards.ranking import place_of
from leaderboards.rows import rows_among
from leaderboards.scores import bell

BATCH = 500  # entries that are written in one transaction, where all are
LASTING = ("value", "low", "high", "interval_of", "plug_in", "declared", "unknown", "reason")
OF_SCORE = ("budget", "group", "badness", *LASTING, "seeds", "seeds_lost", "details")
OF_STANDING = (
    *("label", "kind", "algorithm"),
    *("control", "of_entry", "is_trial", "place", "scored_at", "scored_by"),
    *("budget", "device", "configuration"),
    *("seeds_scored", "seeds_total", "seeds_failed"),
)

Key = tuple[int, str]  # entry, sampler's label
Fields = dict[str, Any]


class Changes(NamedTuple):
    """How many rows of boards were not as values and jobs say."""

    added: int = 0
    mended: int = 0
    removed: int = 0

    def __add__(self, other: "Changes") -> "Changes":  # type: ignore[override]  # of tuples
        return Changes(*map(sum, zip(self, other, strict=True)))


def follow(jobs: Iterable[Job]) -> None:
    """Write the rows that jobs which moved are seen in; call it in their transaction."""
    follow_entries({pk for job in jobs if (pk := entry_of(job))})


def entry_of(job: Job) -> int | None:
    """Return the key of the entry that a job is of; None if it is of none."""
    if isinstance(job, Evaluation):
        return job.sample_set.entry_id
    return job.entry_id if isinstance(job, Run | SampleSet) else None


@transaction.atomic
def follow_entries(entries: Collection[int]) -> Changes:
    """Write the rows of entries, and of what their autoencoders leave, under every protocol.

    1. Lock the entries: whoever writes them next sees what this transaction has done.
    2. Write each protocol's rows that are not as they should be.
    """
    if not entries:
        return Changes()
    keys = _locked({*entries, *_reconstructed(entries)})
    under: dict[int, list[int]] = defaultdict(list)
    pairs = Entry.objects.filter(pk__in=keys, experiment__protocols__isnull=False)
    for pk, protocol in pairs.order_by("pk").values_list("pk", "experiment__protocols"):
        under[protocol].append(pk)
    found = Protocol.objects.in_bulk(under)
    changes = {pk: _write(found[pk], under[pk]) for pk in sorted(under)}
    bell.ring_for(pk for pk, change in changes.items() if any(change))
    return sum(changes.values(), Changes())


def _reconstructed(entries: Iterable[int]) -> Iterator[int]:
    """Yield the controls that show what autoencoders of entries leave: their seeds are the entries'."""
    trained = set(entries)
    beside = Entry.objects.filter(
        kind=Entry.Kind.CONTROL,
        config__control=controls.RECONSTRUCTED,
        experiment__in=Entry.objects.filter(pk__in=trained).values("experiment"),
    )
    return (entry.pk for entry in beside if entry.source in trained)


def _locked(keys: Iterable[int]) -> list[int]:
    """Return the keys in order, their rows locked until the transaction ends.

    Not against rows that refer to them, as a run's new sample sets do: two writers would wait for
    each other. SQLite has one writer at a time.
    """
    rows = Entry.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def _write(protocol: Protocol, keys: Sequence[int]) -> Changes:
    """Make the rows of entries under a protocol what values and jobs say; leave those that are."""
    columns = columns_of(protocol)
    entries = list(Entry.objects.filter(pk__in=keys).select_related("experiment"))
    wanted = {
        (row.entry.pk, row.sampler_label): (_of_row(row), _of_cells(row, columns))
        for row in rows_among(protocol, columns, entries)
    }
    mine = Standing.objects.filter(protocol=protocol, entry__in=keys)
    kept = {(each.entry_id, each.sampler_label): each for each in mine}
    written = _written_scores(kept.values())
    new = wanted.keys() - kept.keys()
    wrong = {
        key
        for key in wanted.keys() & kept.keys()
        if wanted[key] != (_written_fields(kept[key]), written[kept[key].pk])
    }
    gone = kept.keys() - wanted.keys()
    mine.filter(pk__in=[kept[key].pk for key in gone]).delete()
    _put(protocol, {key: fields for key, fields in wanted.items() if key in new | wrong}, kept)
    return Changes(len(new), len(wrong), len(gone))


def _put(
    protocol: Protocol,
    wanted: dict[Key, tuple[Fields, dict[str, Fields]]],
    kept: dict[Key, Standing],
) -> None:
    """Write standings that are new or wrong, with all their scores."""
    now, new, standings = timezone.now(), [], []
    for (entry, label), (fields, _) in wanted.items():
        standing = Standing(
            protocol=protocol, entry_id=entry, sampler_label=label, changed_at=now, **fields
        )
        if (entry, label) in kept:
            standing.pk = kept[entry, label].pk
            standing.save(force_update=True)
            standings.append(standing)
        else:
            new.append(standing)
    Score.objects.filter(standing__in=standings).delete()
    standings += Standing.objects.bulk_create(new)
    scores = (
        Score(standing=each, protocol=protocol, metric=metric, **fields)
        for each in standings
        for metric, fields in wanted[each.entry_id, each.sampler_label][1].items()
    )
    Score.objects.bulk_create(scores, batch_size=2000)


def _of_row(row: Row) -> Fields:
    """Return the fields of a row's standing."""
    return {
        "label": row.entry.label,
        "kind": row.entry.kind,
        "algorithm": row.entry.algorithm,
        "control": row.control,
        "of_entry": row.entry.source is not None,
        "is_trial": row.is_trial,
        "place": controls.KINDS.index(row.control) if row.is_control else 0,
        "seeds_scored": row.seeds_scored,
        "seeds_total": row.seeds_total,
        "seeds_failed": row.seeds_failed,
        "scored_at": row.scored_at,
        "scored_by": row.scored_by,
        "budget": key_of(row.entry),
        "device": row.device,
        "configuration": row.configuration,
    }


def _of_cells(row: Row, columns: Sequence[Column]) -> dict[str, Fields]:
    return {column.key: _of_cell(row, column) for column in columns}


def _of_cell(row: Row, column: Column) -> Fields:
    cell: Cell = row.cells[column.key]
    group, badness = place_of(row, column)
    has_order = group in (Score.Group.VALUE, Score.Group.OF_SURVIVORS)
    return {
        "budget": key_of(row.entry),
        "group": group,
        "badness": badness if has_order else None,
        **{name: getattr(cell, name) for name in LASTING},
        "seeds": [[seed.value, _as_json(seed.error)] for seed in cell.seeds],
        "seeds_lost": cell.seeds_lost,
        "details": list(cell.details),
    }


def _as_json(error: float | None) -> float | str | None:
    """Return a number as JSON has it: what is not finite as its name."""
    return error if error is None or math.isfinite(error) else str(error)


def _written_fields(standing: Standing) -> Fields:
    return {name: getattr(standing, name) for name in OF_STANDING}


def _written_scores(standings: Iterable[Standing]) -> dict[int, dict[str, Fields]]:
    found: dict[int, dict[str, Fields]] = defaultdict(dict)
    rows = Score.objects.filter(standing__in=[each.pk for each in standings])
    for fields in rows.values("standing_id", "metric", *OF_SCORE):
        found[fields.pop("standing_id")][fields.pop("metric")] = fields
    return found


def leave_others(experiment: Experiment) -> None:
    """Delete an experiment's rows under protocols that it is not scored under any more."""
    rows = Standing.objects.filter(entry__experiment=experiment)
    rows.exclude(protocol__in=experiment.protocols.all()).delete()


def rescore() -> Iterator[Changes]:
    """Write the rows of all boards from values and jobs, and yield what that changed, by batches."""
    for protocol in Protocol.objects.order_by("pk"):
        entries = Entry.objects.filter(experiment__protocols=protocol)
        strangers = Standing.objects.filter(protocol=protocol).exclude(entry__in=entries)
        yield Changes(removed=strangers.count())
        strangers.delete()
        keys = list(entries.order_by("pk").values_list("pk", flat=True))
        found = [write(protocol, keys[at : at + BATCH]) for at in range(0, len(keys), BATCH)]
        yield from found
        if any(map(any, found)):
            bell.ring_for([protocol.pk])


@transaction.atomic
def write(protocol: Protocol, keys: Sequence[int]) -> Changes:
    """Write the rows of entries under one protocol from values and jobs."""
    return _write(protocol, _locked(keys))
