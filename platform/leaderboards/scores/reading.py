"""Reads the rows of a board back: what was written as values came, with what it was judged to be."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, When, Window
from django.db.models.functions import Collate, RowNumber

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, Experiment, SampleSet
from leaderboards.board import MOST_SAME, Board, Cell, Column, Row
from leaderboards.facts.columns import DATE, FACTS
from leaderboards.facts.repeats import Submitted, with_repeats
from leaderboards.models import Judgement, Judging, Score, Standing
from leaderboards.origins import budgets
from leaderboards.ranking import board_of, judged, of_rows
from leaderboards.scores import bell, history
from leaderboards.scores.baseline import chosen
from leaderboards.scores.cells import cells_of
from leaderboards.scores.query import Query

PART = 500  # rows of a part
MOST_AT_ONCE = 300  # rows that a request judges itself, where nobody has
NOT_KEPT = "nobody wrote it: see `manage.py rescore`"
IN_ORDER = ("entry__experiment_id", "entry__position", "entry_id", "pk")  # as `rows` has them
TOLD = (  # of a standing, to know it again
    *("entry_id", "sampler_label", "entry__label", "entry__kind"),
    *("entry__experiment__name", "entry__experiment__seeds", "entry__trial"),
)
SAID = ("rank", "rank_low", "rank_high", "leads", "beats_control", "near_training", "no_merit")
_said = attrgetter(*SAID)


def of_board(protocol: Protocol, experiment: Experiment | None = None) -> QuerySet[Standing]:
    """Return a board's standings: shared controls once, trials in their experiment alone."""
    mine = _all_of(protocol, experiment)
    order: list[Any] = [F("scored_at").asc(nulls_last=True), "scored_by", "entry_id"]
    place = Window(RowNumber(), partition_by="control", order_by=order)
    repeated = mine.filter(of_entry=False, control__gt="").order_by()
    first = list(repeated.annotate(turn=place).filter(turn=1).values_list("entry_id", flat=True))
    shown = mine.filter(Q(control="") | Q(of_entry=True) | Q(entry__in=first))
    loaded = ["entry__experiment", *(["entry__search__protocol"] if experiment else [])]
    return shown.select_related(*loaded).order_by(*IN_ORDER)


def contenders_of(protocol: Protocol, experiment: Experiment | None = None) -> QuerySet[Standing]:
    """Return those of a board's standings that are of no control."""
    return _all_of(protocol, experiment).filter(control="")


def _all_of(protocol: Protocol, experiment: Experiment | None) -> QuerySet[Standing]:
    mine = Standing.objects.filter(protocol=protocol)
    if experiment is None:
        return mine.filter(is_trial=False)
    return mine.filter(entry__in=Entry.objects.filter(experiment=experiment))


def rows_from(
    standings: Sequence[Standing],
    columns: Iterable[Column],
    scores: QuerySet[Score],
    *,
    details_of: Collection[str] | None = None,  # columns; None: of all
) -> list[Row]:
    """Return the rows of standings, not yet ranked; `scores` are theirs, others among them perhaps."""
    absent = {column.key: Cell(None, reason=NOT_KEPT) for column in columns}
    found = {each.pk: dict(absent) for each in standings}
    pending = {each.pk: _is_pending(each) for each in standings}
    for pk, key, cell in cells_of(scores, pending, details_of):
        found[pk][key] = cell
    sets = _sample_sets(standings)
    return [
        Row(
            entry=each.entry,
            sampler_label=each.sampler_label,
            seeds_scored=each.seeds_scored,
            seeds_total=each.seeds_total,
            seeds_failed=each.seeds_failed,
            cells=found[each.pk],
            sample_sets=tuple(sets[each.entry_id, each.sampler_label]),
            scored_at=each.scored_at,
            scored_by=each.scored_by,
            device=each.device,
            configuration=each.configuration,
            of_trial=each.is_trial and each.of_entry,
        )
        for each in standings
    ]


def _is_pending(standing: Standing) -> bool:
    return standing.seeds_total > standing.seeds_scored + standing.seeds_failed


def _sample_sets(standings: Iterable[Standing]) -> dict[tuple[int, str], list[SampleSet]]:
    """Return the sets of which a row says more than its cells: handed in, or of autoencoders."""
    told = {s.entry_id for s in standings if s.of_entry or s.entry.kind in controls.ELSEWHERE}
    found: dict[tuple[int, str], list[SampleSet]] = defaultdict(list)
    for each in SampleSet.objects.filter(entry__in=told) if told else ():
        found[each.entry_id, each.sampler_label].append(each)
    return found


def said_of(row: Row) -> dict[str, list[Any]]:
    """Return what a judged row is said to be, as JSON values; what says nothing is left out."""
    said = {key: _said(cell) for key, cell in row.cells.items()}
    return {key: list(values) for key, values in said.items() if any(values)}


def judged_as(row: Row, said: dict[str, list[Any]]) -> Row:
    """Return a row with what was said of it."""
    cells = {key: row.cells[key]._replace(**dict(zip(SAID, values, strict=True)))
             for key, values in said.items() if key in row.cells}  # fmt: skip
    return replace(row, cells={**row.cells, **cells})


@dataclass(frozen=True)
class Standstill:
    """How far the kept judgement of all experiments' board is what it would be now."""

    judging: Judging | None
    standings: int
    waiting: int  # that changed since, or were never judged
    is_of_now: bool

    @property
    def is_small(self) -> bool:
        return self.standings <= MOST_AT_ONCE

    @property
    def unjudged(self) -> int:
        """Return how many rows changed since; at least one where it is not of now."""
        return 0 if self.is_of_now else max(1, self.waiting)

    @property
    def judged_at(self) -> datetime | None:
        return self.judging.judged_at if self.judging else None


def states_of(boards: Sequence[Board]) -> list[Standstill]:
    """Return what is known of the judgement of boards, which need not have their rows."""
    keys = [board.protocol.pk for board in boards]
    judged = Judging.objects.filter(protocol__in=keys, judged_at__isnull=False)
    judgings = {each.protocol_id: each for each in judged}
    counts: dict[int, Counter[bool]] = defaultdict(Counter)
    rows = Standing.objects.filter(protocol__in=keys).order_by()
    of_now = rows.values_list("protocol_id", "is_judged").annotate(Count("pk"))
    for protocol, is_judged, number in of_now:
        counts[protocol][is_judged] = number
    return [
        _state(board, judgings.get(pk), counts[pk]) for board, pk in zip(boards, keys, strict=True)
    ]


def _state(board: Board, judging: Judging | None, counts: Counter[bool]) -> Standstill:
    total, waiting, unranked = counts.total(), counts[False], dict(board.unranked)
    known = judging is not None and (judging.standings, judging.unranked) == (total, unranked)
    return Standstill(judging, total, waiting, is_of_now=known and waiting == 0)


def board(
    protocol: Protocol,
    *,
    sort: str = "",
    experiment: Experiment | None = None,
    query: Query | None = None,
) -> Board:
    """Return a board, as `ranking.rank` does, from its rows; of a query its part of them.

    Ranks and marks are those of the whole board, whatever part is asked for. That of all
    experiments has the judgement that is kept; where that is of before, a small board is judged
    now, a large one says since when how many rows wait. An experiment's is judged now.

    Raises:
        ValueError: if there is no column to sort by of this name.
        QueryError: if the board has no baseline of this name, or is too large for one of before.
    """
    query = query or Query()
    empty = _empty(protocol, sort, experiment, query)
    if query.as_of is not None:
        return _part(empty, judged(history.rows(empty), empty.columns, empty.ranked), query)
    kept = _kept(empty)
    if kept is None:
        return judged_now(empty, query)
    return _part(kept, _judged_before(kept), query) if query.size is None else _page(kept, query)


def parts(
    protocol: Protocol, *, sort: str, experiment: Experiment | None, query: Query
) -> Iterator[Board]:
    """Return a board in parts, whose rows together are those of `board`: a large one in several.

    Raises:
        ValueError: if there is no column to sort by of this name.
    """
    kept = _kept(_empty(protocol, sort, experiment, query))
    if kept is None or query.size is not None or query.as_of is not None:
        return iter([board(protocol, sort=sort, experiment=experiment, query=query)])
    kept = replace(kept, budgets=budgets_of(protocol))
    keys = list(in_order(query.of(of_board(protocol)), kept))
    begins = range(0, max(1, len(keys)), PART)  # one at least
    return (_of_keys(kept, keys[begin : begin + PART], query.baseline) for begin in begins)


def _empty(protocol: Protocol, sort: str, experiment: Experiment | None, query: Query) -> Board:
    """Return the board that is asked for, without its rows."""
    empty = board_of(protocol, sort, experiment)
    return replace(empty, is_mixed=query.is_mixed, as_of=query.as_of)


def _kept(empty: Board) -> Board | None:
    """Return a board of all experiments with when it was judged, None where that is done now."""
    if empty.experiment is not None:
        return None
    state = states_of([empty])[0]
    if state.is_small and not state.is_of_now:
        return None
    if not state.is_of_now:
        bell.ring(empty.protocol.pk)
    return replace(empty, judged_at=state.judged_at, waiting=state.unjudged)


def first_rows(board: Board, number: int) -> Board:
    """Return a board with its first rows, not ranked; few questions, however large it is."""
    keys = list(in_order(of_board(board.protocol), board)[:number])
    found = Standing.objects.select_related("entry__experiment").in_bulk(keys)
    standings = [found[key] for key in keys if key in found]
    scores = Score.objects.filter(standing__in=keys)
    return replace(board, rows=tuple(rows_from(standings, board.columns, scores)))


def judged_now(board: Board, query: Query) -> Board:
    """Return a board with the part of its rows that is asked for, judged by this process."""
    return _part(board, judged(_rows(board), board.columns, board.ranked), query)


def _rows(board: Board) -> list[Row]:
    """Return all rows of a board, not yet ranked."""
    standings = list(of_board(board.protocol, board.experiment))
    scores = Score.objects.filter(protocol=board.protocol)
    if board.experiment is not None:  # by its own rows: its protocol may have a thousand times more
        scores = Score.objects.filter(standing__in=standings)
    return rows_from(standings, board.columns, scores)


def _judged_before(board: Board) -> list[Row]:
    """Return all rows of a board with what is kept of them."""
    said = {
        (entry, label): found
        for entry, label, found in Judgement.objects.filter(
            standing__protocol=board.protocol
        ).values_list("standing__entry_id", "standing__sampler_label", "found")
    }
    return [judged_as(row, said.get(_key(row), {})) for row in _rows(board)]


def _key(row: Row) -> tuple[int, str]:
    return row.entry.pk, row.sampler_label


def _part(board: Board, rows: Iterable[Row], query: Query) -> Board:
    """Return the part of a board, of which all rows are known, that is asked for."""
    whole = of_rows(board, rows)
    shown = whole.rows
    if query.filters:
        wanted = query.of(of_board(board.protocol, board.experiment))
        keys = set(wanted.values_list("entry_id", "sampler_label"))
        shown = tuple(row for row in shown if _key(row) in keys)
    return replace(
        whole,
        baseline=chosen(whole.rows, query.baseline) if query.baseline else None,
        rows=shown[query.begin : query.end],
        begin=query.begin,
        rows_in_all=len(shown),
        contenders=Counter(row.entry.kind for row in shown if not row.is_control),
    )


def _page(board: Board, query: Query) -> Board:
    """Return a page of a board, put in order by the database."""
    board = replace(board, budgets=budgets_of(board.protocol))
    wanted = query.of(of_board(board.protocol))
    keys = list(in_order(wanted, board)[query.begin : query.end])
    kinds = _kinds(query.of(contenders_of(board.protocol)))
    return replace(
        _of_keys(board, keys, query.baseline),
        begin=query.begin,
        rows_in_all=kinds.total() + wanted.filter(control__gt="").count(),
        contenders=kinds,
    )


def _kinds(contenders: QuerySet[Standing]) -> Counter[str]:
    """Return how many there are of each kind, which those of a known budget tell by that alone."""
    of_known = Q(budget__gte=budgets.IMAGES, budget__lt=budgets.UNKNOWN)
    found = Counter({str(Entry.Kind.GENERATOR): contenders.filter(of_known).count()})
    others = contenders.exclude(of_known).order_by().values_list("entry__kind")
    found.update(dict(others.annotate(Count("pk"))))
    return +found


def _of_keys(board: Board, keys: Sequence[int], baseline: str) -> Board:
    """Return a board with the rows of these standings, in their order."""
    loaded = ("entry__experiment", "entry__search__protocol", "judgement")
    found = Standing.objects.select_related(*loaded).in_bulk(keys)
    standings = [found[key] for key in keys if key in found]
    rows = rows_from(standings, board.columns, Score.objects.filter(standing__in=keys))
    said = [judged_as(*pair) for pair in zip(rows, map(kept_of, standings), strict=True)]
    return replace(
        board,
        baseline=_baseline(board, baseline),
        rows=tuple(with_repeats(said, _alike(standings))),
    )


def _alike(standings: Iterable[Standing]) -> Iterator[tuple[str, Submitted]]:
    """Yield the first of a board with each configuration that one of its standings has."""
    each_once = {each.configuration: each.pk for each in standings if each.configuration}
    order: list[str | Collate] = ["entry_id", _as_python("sampler_label")]
    alike = Standing.objects.filter(
        protocol=OuterRef("protocol"), configuration=OuterRef("configuration"), is_trial=False
    ).order_by(*order)
    last = Subquery(alike.values("entry_id")[MOST_SAME - 1 : MOST_SAME])  # by the index, for each
    of_each = Standing.objects.filter(pk__in=each_once.values()).order_by().annotate(last=last)
    first = Q(pk__in=[])
    for board, configuration, entry in of_each.values_list("protocol", "configuration", "last"):
        until = Q() if entry is None else Q(entry__lte=entry)
        first |= Q(protocol=board, configuration=configuration) & until
    found = Standing.objects.filter(first, is_trial=False).order_by()
    for configuration, *told in found.values_list("configuration", *TOLD):
        yield configuration, Submitted.told(*told)


def _baseline(board: Board, text: str) -> Row | None:
    """Return the row that all of a large board are compared with."""
    if not text:
        return None
    mine = list(of_board(board.protocol).filter(entry=int(text.partition(":")[0])))
    rows = rows_from(mine, board.columns, Score.objects.filter(standing__in=mine))
    return chosen(map(judged_as, rows, map(kept_of, mine)), text)


def kept_of(standing: Standing) -> dict[str, list[Any]]:
    """Return what is kept of a standing's judgement."""
    return standing.judgement.found if hasattr(standing, "judgement") else {}


def budgets_of(protocol: Protocol) -> tuple[budgets.Budget, ...]:
    """Return the budgets of a board's contenders."""
    return budgets_by_board([protocol])[protocol.pk]


def budgets_by_board(protocols: Sequence[Protocol]) -> dict[int, tuple[budgets.Budget, ...]]:
    """Return the budgets of each board's contenders, by the key of its protocol."""
    keys: dict[int, list[str]] = {protocol.pk: [] for protocol in protocols}
    rows = Standing.objects.filter(protocol__in=keys, control="", is_trial=False).order_by()
    for board, key in rows.values_list("protocol_id", "budget").distinct():
        keys[board].append(key)
    return {pk: budgets.in_order(map(budgets.Budget.of_key, of_it)) for pk, of_it in keys.items()}


def in_order(standings: QuerySet[Standing], board: Board) -> QuerySet[Any, int]:
    """Return the keys of standings in the order of `ranking.in_order`."""
    worst, fact = board.sort.startswith("-"), FACTS.get(board.sort_key)
    by_budget = ["budget"] if board.is_grouped else []
    if fact is not None:
        field = F(fact.field) if fact.key == DATE else _as_python(fact.field)
        by = field.desc(nulls_last=True) if worst else field.asc(nulls_last=True)
        kind = Case(When(control="", then=1), When(control=controls.TEST, then=0), default=2)
        ordered = standings.order_by(*by_budget, kind, "place", by, *_named(""), "entry_id")
        return ordered.values_list("pk", flat=True)
    by = F("badness").desc() if worst else F("badness").asc()
    # Looked at one score after the other, until a page is full: not found whole and put in order.
    is_wanted = Exists(standings.order_by().filter(pk=OuterRef("standing_id")))
    scores = Score.objects.filter(is_wanted, protocol=board.protocol, metric=board.sort_key)
    if board.experiment is not None:
        mine = standings.select_related(None).order_by()
        scores = Score.objects.filter(standing__in=mine, metric=board.sort_key)
    named = _named("standing__")
    scores = scores.order_by(
        *by_budget, "group", by, "standing__place", *named, "standing__entry_id"
    )
    return scores.values_list("standing_id", flat=True)


def _named(prefix: str) -> list[Collate]:
    """Return the names of standings, by which ties stand."""
    return [_as_python(f"{prefix}{name}") for name in ("label", "sampler_label")]


def _as_python(field: str) -> Collate:
    """Return a text which the database is to put in order as Python does."""
    return Collate(field, "BINARY" if connection.vendor == "sqlite" else "C")
