"""The trials of a search: how far each is, and what it came to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from django.db.models import F

from evaluation.protocols.metrics import badness
from experiments.models import Entry, Evaluation, MetricValue, Run, SampleSet, Search
from jobs.models import FINISHED, Status


class State(StrEnum):
    """How far a trial is."""

    GOING_ON = "going on"
    CANCELLED = "cancelled"  # nothing is chosen until it is tried again
    LOST = "lost"  # a seed failed, or has no value: it is not chosen
    SCORED = "scored"


@dataclass(frozen=True)
class Trial:
    """A trial with what it came to by the objective: the mean over its runs."""

    entry: Entry
    state: State
    value: float | None

    @property
    def number(self) -> int:
        assert self.entry.trial is not None, "a trial has its number"
        return self.entry.trial

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the values that were drawn for it, in the order of the options."""
        search = self.entry.search
        assert search is not None, "a trial is of a search"
        return {name: self.entry.config.get(name) for name in search.options}


def trials_of(search: Search) -> list[Trial]:
    """Return the trials by their numbers, in five queries."""
    entries = list(search.entries.filter(trial__gte=1).order_by("trial"))
    for entry in entries:
        entry.search = search
    runs = list(Run.objects.filter(entry__in=entries))
    outcomes = _outcomes(search, entries)
    return [
        _trial(entry, [run for run in runs if run.entry_id == entry.pk], outcomes)
        for entry in entries
    ]


Outcome = tuple[str, float | None]  # status of a sample set or its evaluation, the value


def _outcomes(search: Search, entries: Sequence[Entry]) -> dict[int, Outcome]:
    """Return how far the first sampler's images of each run are under the search's protocol."""
    first = {entry.pk: next(iter(entry.sampler_labels), "") for entry in entries}
    drawn = SampleSet.objects.filter(entry__in=entries, run__isnull=False)
    sets = {each.pk: each for each in drawn if each.sampler_label == first[each.entry_id]}
    evaluations = Evaluation.objects.filter(sample_set__in=sets, protocol=search.protocol_id)
    scored = {each.sample_set_id: each.status for each in evaluations}
    values = MetricValue.objects.filter(
        metric=search.objective, evaluation__in=evaluations, evaluation__status=Status.COMPLETED
    ).annotate(of=F("evaluation__sample_set"))
    known = {each.of: each.value if each.bias_corrected is None else each.bias_corrected
             for each in values}  # fmt: skip
    return {
        each.run_id: (_status(each, scored), known.get(pk))
        for pk, each in sets.items()
        if each.run_id is not None
    }


def _status(drawn: SampleSet, scored: dict[int, str]) -> str:
    if drawn.status != Status.COMPLETED:
        return drawn.status
    return scored.get(drawn.pk, Status.QUEUED)


def _trial(entry: Entry, runs: Sequence[Run], outcomes: dict[int, Outcome]) -> Trial:
    found = [
        outcomes.get(run.pk, (Status.QUEUED, None))
        if run.status == Status.COMPLETED
        else (run.status, None)
        for run in runs
    ]
    statuses = {status for status, _ in found}
    if statuses.difference(FINISHED):
        return Trial(entry, State.GOING_ON, None)
    if Status.CANCELLED in statuses:
        return Trial(entry, State.CANCELLED, None)
    values = [value for _, value in found if value is not None]
    if Status.FAILED in statuses or len(values) < len(found) or not values:
        return Trial(entry, State.LOST, None)
    return Trial(entry, State.SCORED, fmean(values))


def best_of(search: Search, trials: Iterable[Trial]) -> Trial | None:
    """Return the best trial of those that are scored, of equal ones the first; None without any."""
    spec = search.protocol.metric(search.objective)
    scored = [(badness(spec, each.value), each) for each in trials if each.value is not None]
    return min(scored, key=lambda pair: (pair[0], pair[1].number))[1] if scored else None
