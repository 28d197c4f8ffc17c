"""Reads what a board says of many rows besides their numbers, by columns."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import Count, TextField
from django.db.models.functions import Cast

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, SampleSet
from experiments.searches.models import Search
from leaderboards.board import chosen_by, findings_of
from leaderboards.facts.repeats import Submitted, first_of_each, repeats_of, seeds_of
from leaderboards.formats.rows import each_once
from leaderboards.models import Standing
from leaderboards.origins.budgets import Budget
from leaderboards.origins.seeds import seeds_told
from leaderboards.scores.reading import sample_sets
from leaderboards.scores.standings import alike

PATHS = (  # in the order of `Read`
    *("pk", "entry_id", "sampler_label", "control", "of_entry", "is_trial", "configuration"),
    *("device", "scored_at", "seeds_scored", "seeds_total", "seeds_failed"),
    *("entry__label", "entry__kind", "entry__algorithm", "entry__trial", "entry__search_id"),
    *("entry__search__runs", "entry__experiment_id", "entry__experiment__created_by__username"),
    *("entry__experiment__name", "entry__experiment__budget_images"),
    *("entry__experiment__budget_seconds", Cast("entry__experiment__seeds", TextField())),
)
MOST_KNOWN = 2000  # configurations

Sets = Mapping[tuple[int, str], Sequence[SampleSet]]


class Read(NamedTuple):
    """Standings by columns, with what they are of."""

    pk: Sequence[int]
    entry: Sequence[int]
    sampler: Sequence[str]
    control: Sequence[str]
    of_entry: Sequence[bool]
    is_trial: Sequence[bool]
    configuration: Sequence[str]
    device: Sequence[str]
    scored_at: Sequence[Any]
    seeds_scored: Sequence[int]
    seeds_total: Sequence[int]
    seeds_failed: Sequence[int]
    label: Sequence[str]
    kind: Sequence[str]
    algorithm: Sequence[str]
    trial: Sequence[int | None]
    search: Sequence[int | None]
    runs: Sequence[int | None]  # of each trial of the search
    experiment_id: Sequence[int]
    submitter: Sequence[str | None]
    experiment: Sequence[str]
    budget_images: Sequence[int | None]
    budget_seconds: Sequence[float | None]
    seeds: Sequence[str]  # JSON

    @property
    def are_controls(self) -> list[bool]:
        """Return of each whether it is a control."""
        return [kind == Entry.Kind.CONTROL for kind in self.kind]

    @property
    def pending(self) -> list[bool]:
        """Return of each whether seeds are still to come."""
        counts = zip(self.seeds_total, self.seeds_scored, self.seeds_failed, strict=True)
        return [total > scored + failed for total, scored, failed in counts]


def read(keys: Sequence[int]) -> Read:
    """Return the standings of these keys in their order; those that are gone are left out."""
    rows = Standing.objects.filter(pk__in=keys).order_by().values_list(*PATHS)
    found = {row[0]: row for row in rows}
    mine = [found[key] for key in keys if key in found]
    return Read(*zip(*mine, strict=True)) if mine else Read(*([()] * len(PATHS)))


class Repeats:
    """Says which rows of a board are the same, asking once for what many of them repeat."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._first: dict[str, list[Submitted]] = {}  # by configuration; none of what is single

    def names(self, read: Read) -> list[tuple[str, ...]]:
        """Return the names of what each standing is the same as."""
        known = dict(zip(read.configuration, read.pk, strict=True))
        if len(self._first) > MOST_KNOWN:
            self._first.clear()
        self._ask({each: key for each, key in known.items() if each not in self._first})
        seeds = each_once(_seeds, list(zip(read.kind, read.seeds, read.trial, strict=True)))
        mine = zip(read.configuration, read.entry, read.sampler, seeds, strict=True)
        return list(repeats_of(mine, self._first))

    def _ask(self, new: dict[str, int]) -> None:
        self._first |= {each: [] for each in new}
        same = Standing.objects.filter(
            protocol=self.protocol, configuration__in=filter(None, new), is_trial=False
        )
        counted = same.order_by().values_list("configuration").annotate(rows=Count("pk"))
        several = {each: new[each] for each, _ in counted.filter(rows__gt=1)} if new else {}
        if several:
            self._first |= first_of_each(alike(several))


def about(read: Read, repeats: Repeats, sets: Sets) -> list[Sequence[Any]]:
    """Return what is said of standings behind their ranks, in the order of `ABOUT`."""
    entries = list(zip(read.kind, read.algorithm, strict=True))
    budgets = list(zip(read.kind, read.budget_images, read.budget_seconds, strict=True))
    held = each_once(lambda told: Budget.told(*told), budgets)
    return [
        read.experiment,
        read.experiment_id,
        each_once(_submitter, list(zip(read.kind, read.submitter, strict=True))),
        read.label,
        read.entry,
        each_once(_family, entries),
        read.algorithm,
        read.sampler,
        read.kind,
        read.are_controls,
        read.control,
        _seeds_told(read, sets),
        read.seeds_scored,
        read.seeds_total,
        read.seeds_failed,
        [repeats.protocol.fingerprint] * len(read.pk),
        [budget.images for budget in held],
        [budget.seconds for budget in held],
        read.device,
        [None if at is None else at.isoformat() for at in read.scored_at],
        each_once("; ".join, repeats.names(read)),
        _chosen_by(read),
        ["; ".join(findings_of(sets.get(key, ()))) for key in _places(read)],
    ]


def _submitter(entry: tuple[str, str | None]) -> str:
    kind, username = entry
    return "" if kind == Entry.Kind.CONTROL else username or ""


def _seeds_told(read: Read, sets: Sets) -> list[str]:
    """Return the seeds of each, as text."""
    drawn = [tuple(each.seed for each in sets.get(key, ())) for key in _places(read)]
    told = zip(read.kind, read.seeds, read.trial, read.runs, drawn, strict=True)
    return each_once(_told_once, list(told))


def _told_once(entry: tuple[str, str, int | None, int | None, tuple[int, ...]]) -> str:
    kind, seeds, trial, runs, drawn = entry
    return seeds_told(kind, json.loads(seeds), trial, runs, drawn)


def _family(entry: tuple[str, str]) -> str:
    kind, algorithm = entry
    return Entry(kind=kind, algorithm=algorithm).family


def _places(read: Read) -> Iterable[tuple[int, str]]:
    return zip(read.entry, read.sampler, strict=True)


def _chosen_by(read: Read) -> list[str]:
    """Return in words by which searches entries were chosen or are tried."""
    wanted = {key for key in read.search if key is not None}
    if not wanted:
        return [""] * len(read.search)
    found = Search.objects.select_related("protocol").in_bulk(wanted)
    trials = [
        bool(trial) or (of_trial and of_entry)
        for trial, of_trial, of_entry in zip(read.trial, read.is_trial, read.of_entry, strict=True)
    ]
    return [
        "" if key is None else chosen_by(found[key], is_trial=is_trial)
        for key, is_trial in zip(read.search, trials, strict=True)
    ]


def _seeds(entry: tuple[str, str, int | None]) -> frozenset[int]:
    kind, seeds, trial = entry
    return seeds_of(kind, json.loads(seeds), trial)


def sets_of(read: Read) -> Sets:
    """Return the sets of which a row says more than its numbers."""
    entries = zip(read.entry, read.of_entry, read.kind, strict=True)
    return sample_sets({key for key, own, kind in entries if own or kind in controls.ELSEWHERE})
