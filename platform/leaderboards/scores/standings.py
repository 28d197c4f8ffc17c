"""Which standings a board has, and how many: asked by index, as a board may have tens of thousands."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Collate

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, Experiment
from leaderboards.board import MOST_SAME, Board
from leaderboards.facts.repeats import Submitted
from leaderboards.models import Standing
from leaderboards.origins import budgets
from leaderboards.scores.query import Query

IN_ORDER = ("entry__experiment_id", "entry__position", "entry_id", "pk")  # as `rows` has them
SHARED = [kind for kind, control in controls.CONTROLS.items() if not control.of_entry]
OWN = [kind for kind in controls.KINDS if kind not in SHARED]  # controls, one for each entry
NO_TRIAL = {
    "is_trial__in": [False]
}  # which SQLite finds by an index, as it does not `NOT is_trial`
TOLD = (  # of a standing, to know it again
    *("entry_id", "sampler_label", "entry__label", "entry__kind"),
    *("entry__experiment__name", "entry__experiment__seeds", "entry__trial"),
)


class First(NamedTuple):
    """The control of its kind that a board shows, of those that all experiments have."""

    kind: str
    entry: int
    standing: int


def of_board(
    protocol: Protocol,
    experiment: Experiment | None = None,
    *,
    first: Collection[First] | None = None,  # `first_controls`, where they are known
) -> QuerySet[Standing]:
    """Return a board's standings: shared controls once, trials in their experiment alone."""
    first = first_controls(protocol, experiment) if first is None else first
    is_shown = Q(control="") | Q(of_entry=True) | Q(entry__in=[each.entry for each in first])
    loaded = ["entry__experiment", *(["entry__search__protocol"] if experiment else [])]
    shown = _all_of(protocol, experiment).filter(is_shown)
    return shown.select_related(*loaded).order_by(*IN_ORDER)


def contenders_of(protocol: Protocol, experiment: Experiment | None = None) -> QuerySet[Standing]:
    """Return those of a board's standings that are of no control."""
    return _all_of(protocol, experiment).filter(control="")


def first_controls(protocol: Protocol, experiment: Experiment | None = None) -> list[First]:
    """Return the one that was scored first of each control that all experiments have."""
    mine = within(protocol, experiment).filter(control__in=SHARED).order_by()
    if experiment is None:  # of hundreds of experiments
        mine = _of_first_moment(mine)
    told = mine.values_list("entry_id", "scored_at", "scored_by", "control", "pk")
    firsts: dict[str, First] = {}
    for entry, *_, kind, pk in sorted(told, key=lambda row: _scored(*row[:3])):
        firsts.setdefault(kind, First(kind, entry, pk))
    return list(firsts.values())


def _of_first_moment(shared: QuerySet[Standing]) -> QuerySet[Standing]:
    """Return those that were scored when the first of their control was, and perhaps some others."""
    begins = dict(shared.values_list("control").annotate(Min("scored_at")))
    at_once = Q(scored_at__in=[*filter(None, begins.values())])
    if None in begins.values():
        at_once |= Q(scored_at=None)
    return shared.filter(at_once)


def all_within(protocol: Protocol, experiment: Experiment, *, most: int) -> list[Standing] | None:
    """Return the standings that `of_board` has of an experiment, in one question.

    None where there are more than so many, none, or others are still to be written.
    """
    rows = within(protocol, experiment).select_related("entry__search__protocol")
    unwritten = F("protocol__judging__to_write")
    found = list(rows.annotate(unwritten=unwritten).order_by(*IN_ORDER)[: most + 1])
    if not 0 < len(found) <= most or any(each.unwritten for each in found):
        return None
    for each in found:
        each.entry.experiment = experiment
    first: dict[str, Standing] = {}
    shared = (each for each in found if each.control in SHARED)
    for each in sorted(shared, key=lambda s: _scored(s.entry_id, s.scored_at, s.scored_by)):
        first.setdefault(each.control, each)
    shown = {each.entry_id for each in first.values()}
    return [each for each in found if each.control not in SHARED or each.entry_id in shown]


def _scored(entry: int, at: datetime | None, by: int | None) -> tuple[bool, Any, int, int]:
    """Return what puts standings in the order in which they were scored, those that were not last."""
    return at is None, at or "", by or 0, entry


def counted(
    protocol: Protocol, experiment: Experiment | None, query: Query, first: Collection[First]
) -> tuple[Counter[str], int]:
    """Return how many of a board's contenders of each kind are asked for, and how many controls.

    `first` are its `first_controls`, which are there whatever is asked for.
    """
    counted = _all_of(protocol, experiment).filter(control__in=["", *OWN]).order_by()
    rows = query.among(counted, protocol).values_list("control", "kind").annotate(number=Count("*"))
    kinds, own = Counter[str](), 0
    for control, kind, number in rows:
        if control:
            own += number
        else:
            kinds[kind] = number
    return kinds, len(first) + own


def budgets_of(
    protocol: Protocol, experiment: Experiment | None = None
) -> tuple[budgets.Budget, ...]:
    """Return the budgets of a board's contenders."""
    keys = contenders_of(protocol, experiment).order_by().values_list("budget", flat=True)
    return budgets.in_order(map(budgets.Budget.of_key, keys.distinct()))


@dataclass(frozen=True)
class Contenders:
    """How many contenders a board has, of each budget, and how many of all have a value."""

    by_budget: Counter[str]
    scored: int

    @property
    def budgets(self) -> tuple[budgets.Budget, ...]:
        return budgets.in_order(map(budgets.Budget.of_key, self.by_budget))


def contenders_by_board(protocols: Sequence[Protocol]) -> dict[int, Contenders]:
    """Return the numbers of each board's contenders, by the key of its protocol, in two queries."""
    keys = [protocol.pk for protocol in protocols]
    by_budget: dict[int, Counter[str]] = {pk: Counter() for pk in keys}
    # Not `is_trial=False`, which SQLite does not find by an index.
    mine = Standing.objects.filter(protocol__in=keys, control="", is_trial__in=[False]).order_by()
    for pk, budget, number in mine.values_list("protocol_id", "budget").annotate(number=Count("*")):
        by_budget[pk][budget] = number
    without = mine.filter(seeds_scored=0).values_list("protocol_id").annotate(number=Count("*"))
    unscored: dict[int, int] = dict(without)
    return {pk: Contenders(of, of.total() - unscored.get(pk, 0)) for pk, of in by_budget.items()}


def _all_of(protocol: Protocol, experiment: Experiment | None) -> QuerySet[Standing]:
    found = within(protocol, experiment)
    return found.filter(**NO_TRIAL) if experiment is None else found


def within(protocol: Protocol, experiment: Experiment | None) -> QuerySet[Standing]:
    """Return all standings under a protocol, of an experiment or of all."""
    found = Standing.objects.filter(protocol=protocol)
    if experiment is None:
        return found
    return found.filter(entry__in=Entry.objects.filter(experiment=experiment))


def as_python(field: str) -> Collate:
    """Return a text which the database is to put in order as Python does."""
    return Collate(field, "BINARY" if connection.vendor == "sqlite" else "C")


def alike_within(board: Board, standings: Iterable[Standing]) -> Iterator[tuple[str, Submitted]]:
    """Yield an experiment's rows of each configuration that one of its standings has."""
    wanted = {each.configuration for each in standings if each.configuration}
    mine = contenders_of(board.protocol, board.experiment).filter(configuration__in=wanted)
    for configuration, *told in mine.order_by().values_list("configuration", *TOLD):
        yield configuration, Submitted.told(*told)


def alike(configurations: Mapping[str, int]) -> Iterator[tuple[str, Submitted]]:
    """Yield the first of a board with each configuration; these are given with one that has it."""
    order: list[str | Collate] = ["entry_id", as_python("sampler_label")]
    same = Standing.objects.filter(
        protocol=OuterRef("protocol"), configuration=OuterRef("configuration"), is_trial=False
    ).order_by(*order)
    last = Subquery(same.values("entry_id")[MOST_SAME - 1 : MOST_SAME])  # by the index, for each
    of_each = Standing.objects.filter(pk__in=configurations.values()).order_by().annotate(last=last)
    first = Q(pk__in=[])
    for board, configuration, entry in of_each.values_list("protocol", "configuration", "last"):
        until = Q() if entry is None else Q(entry__lte=entry)
        first |= Q(protocol=board, configuration=configuration) & until
    found = Standing.objects.filter(first, is_trial=False).order_by()
    for configuration, *told in found.values_list("configuration", *TOLD):
        yield configuration, Submitted.told(*told)
