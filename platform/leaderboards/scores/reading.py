"""Reads the rows of a board back: what was written as values came, with what it was judged to be."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, starmap
from typing import Any

from django.db.models import Case, Exists, F, OuterRef, QuerySet, When
from django.db.models.functions import Collate

from catalog.models import Protocol
from experiments import controls
from experiments.models import Experiment, SampleSet
from leaderboards import charts
from leaderboards.board import Beyond, Board, Cell, Column, Row
from leaderboards.facts.columns import DATE, FACTS
from leaderboards.facts.repeats import with_repeats
from leaderboards.marks import DETAILED
from leaderboards.models import Judgement, Score, Standing
from leaderboards.origins.budgets import REAL
from leaderboards.ranking import board_of, judged, judged_as, of_rows
from leaderboards.scores import anew, bell, history, standstill, within
from leaderboards.scores.baseline import chosen
from leaderboards.scores.cells import Columns, cells_of
from leaderboards.scores.query import Query
from leaderboards.scores.standings import (
    First,
    alike,
    alike_within,
    all_within,
    as_python,
    budgets_of,
    counted,
    first_controls,
    of_board,
)

NOT_KEPT = "nobody wrote it: see `manage.py rescore`"


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
    for pk, key, cell in cells_of(scores, _pending(standings), details_of):
        found[pk][key] = cell
    return _rows_with(found, standings)


def rows_to_judge(
    standings: Sequence[Standing], scores: QuerySet[Score]
) -> tuple[list[Row], Columns]:
    """Return rows without cells, and what reads their cells column by column, for `verdicts`."""
    absent = Cell(None, reason=NOT_KEPT)
    columns = Columns(scores, _pending(standings), DETAILED, absent)
    return _rows_with({each.pk: {} for each in standings}, standings), columns


def _rows_with(found: Mapping[int, dict[str, Cell]], standings: Sequence[Standing]) -> list[Row]:
    told = {s.entry_id for s in standings if s.of_entry or s.entry.kind in controls.ELSEWHERE}
    sets = sample_sets(told)
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


@dataclass(frozen=True)
class Reads:
    """What is read of rows: exports need less than pages."""

    columns: Collection[str] | None = None  # None: all
    details_of: Collection[str] | None = None

    def rows(self, board: Board, standings: Sequence[Standing]) -> list[Row]:
        """Return the rows of a board's standings, not yet ranked."""
        scores = Score.objects.filter(standing__in=standings)
        wanted, columns = self.columns, board.columns
        if wanted is not None:
            scores = scores.filter(metric__in=wanted)
            columns = tuple(column for column in columns if column.key in wanted)
        return rows_from(standings, columns, scores, details_of=self.details_of)


WHOLE = Reads()


def reads_of_page(board: Board, query: Query) -> Reads:
    """Return what a page of HTML reads: the columns that it shows, and those that it draws."""
    shown = {column.key for column in query.columns.shown(board)}
    return Reads(shown | charts.keys_drawn(board), details_of=["device_seconds"])


def _pending(standings: Iterable[Standing]) -> dict[int, bool]:
    """Return of which standings seeds are still to come."""
    return {s.pk: s.seeds_total > s.seeds_scored + s.seeds_failed for s in standings}


def sample_sets(entries: Collection[int]) -> dict[tuple[int, str], list[SampleSet]]:
    """Return the sets of entries whose rows say more than their cells, by entry and sampler.

    They are those that were handed in, or are of autoencoders.
    """
    found: dict[tuple[int, str], list[SampleSet]] = defaultdict(list)
    for each in SampleSet.objects.filter(entry__in=entries) if entries else ():
        found[each.entry_id, each.sampler_label].append(each)
    return found


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
    now, a large one says since when how many rows wait. So it is with an experiment's, but that
    of few rows nothing is kept.

    Raises:
        ValueError: if there is no column to sort by of this name.
        QueryError: if the board has no baseline of this name, or is too large for one of before.
    """
    query = query or Query()
    empty = empty_of(protocol, sort, experiment, query)
    if query.as_of is not None:
        return _part(empty, judged(history.rows(empty), empty.columns, empty.ranked), query)
    if experiment is not None and query.size is not None:
        few = all_within(protocol, experiment, most=within.FEW)
        if few is None:
            return _page_within(empty, query, within.kept(empty))
        return _part(empty, judged(_rows_of(empty, few), empty.columns, empty.ranked), query)
    kept = kept_before(empty)
    if kept is None:
        return judged_now(empty, query)
    return _part(kept, _judged_before(kept), query) if query.size is None else _page(kept, query)


def empty_of(protocol: Protocol, sort: str, experiment: Experiment | None, query: Query) -> Board:
    """Return the board that is asked for, without its rows."""
    empty = board_of(protocol, sort, experiment)
    return replace(empty, is_mixed=query.is_mixed, as_of=query.as_of)


def kept_before(empty: Board) -> Board | None:
    """Return a board of all experiments with when it was judged, None where that is done now."""
    if empty.experiment is not None:
        return None
    state = standstill.states_of([empty])[0]
    if state.is_small and not state.is_of_now:
        return None
    if not state.is_of_now:
        bell.ring(empty.protocol.pk)
    return replace(empty, judged_at=state.judged_at, waiting=state.unjudged, writing=state.writing)


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
    """Return all rows of a board, not yet ranked; an experiment's that are missing are written."""
    mine = of_board(board.protocol, board.experiment)
    if board.experiment is None:
        return _rows_of(board, list(mine))
    annotated = list(mine.annotate(unwritten=F("protocol__judging__to_write")))
    may_lack = any(each.unwritten for each in annotated) or not annotated
    if may_lack and anew.write_experiment(board.protocol, board.experiment):
        return _rows_of(board, list(of_board(board.protocol, board.experiment)))
    return _rows_of(board, [*annotated])


def _rows_of(board: Board, standings: Sequence[Standing]) -> list[Row]:
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
        wanted = query.of(of_board(board.protocol, board.experiment), board.protocol)
        keys = set(wanted.values_list("entry_id", "sampler_label"))
        shown = tuple(row for row in shown if _key(row) in keys)
    here = slice(query.begin, query.end)
    return replace(
        whole,
        baseline=chosen(whole.rows, query.baseline) if query.baseline else None,
        rows=shown[here],
        elsewhere=tuple(row for row in _without(shown, here) if not row.is_control),
        begin=query.begin,
        rows_in_all=len(shown),
        contenders=Counter(row.entry.kind for row in shown if not row.is_control),
    )


def _without(rows: tuple[Row, ...], here: slice) -> Iterator[Row]:
    begin, end, _ = here.indices(len(rows))
    return chain(rows[:begin], rows[end:])


def _page_within(board: Board, query: Query, kept: within.Kept | None) -> Board:
    """Return a page of an experiment's board with what is kept of it, else judged now."""
    if kept is None:
        return judged_now(board, query)
    if kept.waiting:
        board = replace(board, judged_at=kept.judged_at, waiting=kept.waiting)
    return _page(board, query, kept.said)


def _page(board: Board, query: Query, said: within.Said | None = None) -> Board:
    """Return a page of a board, put in order by the database; `said` are judgements within it."""
    owner = board.protocol, board.experiment
    board = replace(board, budgets=budgets_of(*owner))
    first = first_controls(*owner)
    wanted = query.of(of_board(*owner, first=first), board.protocol)
    keys, beyond = _keys(wanted, board, query, _real(first))
    kinds, of_controls = counted(*owner, query, first)
    reads = reads_of_page(board, query) if query.is_page else WHOLE
    return replace(
        of_keys(board, keys, baseline_of(board, query.baseline, said), reads, said),
        begin=query.begin,
        beyond=beyond if query.ahead and not query.begin else None,
        rows_in_all=kinds.total() + of_controls,
        contenders=kinds,
    )


def _real(first: Iterable[First]) -> list[int]:
    """Return the key of the control that models are compared with, if there is one."""
    return [each.standing for each in first if each.kind == controls.TEST]


def _keys(
    wanted: QuerySet[Standing], board: Board, query: Query, real: Sequence[int]
) -> tuple[list[int], tuple[Beyond, ...]]:
    """Return the keys of a page's rows, and some rows behind it where it is the first.

    The `real` control is before all others, whatever the order.
    """
    first, end = query.begin, query.begin + (query.size or 0)
    ahead = 0 if first else query.ahead
    begin, stop = (max(0, place - len(real)) for place in (first, end))
    rows = told_in_order(wanted, board, *Beyond._fields[1:], past_real=True)
    found = list(rows[begin : stop + ahead]) if stop + ahead else []
    keys = [key for key, *_ in found[: stop - begin]]
    beyond = starmap(Beyond, found[stop - begin :])
    return [*real[first:end], *keys], tuple(beyond)


def of_keys(
    board: Board,
    keys: Sequence[int],
    baseline: Row | None,
    reads: Reads = WHOLE,
    found_within: within.Said | None = None,
) -> Board:
    """Return a board with the rows of these standings, in their order.

    What is said of them is that of the board of all, or `found_within` an experiment.
    """
    loaded = ("entry__experiment", "entry__search__protocol", "judgement")
    found = Standing.objects.select_related(*loaded).in_bulk(keys)
    standings = [found[key] for key in keys if key in found]
    said = list(_as_said(reads.rows(board, standings), standings, found_within))
    known = {each.configuration: each.pk for each in standings if each.configuration}
    same = alike(known) if found_within is None else alike_within(board, standings)
    return replace(board, baseline=baseline, rows=tuple(with_repeats(said, same)))


def _as_said(
    rows: Iterable[Row], standings: Iterable[Standing], found_within: within.Said | None
) -> Iterator[Row]:
    for row, each in zip(rows, standings, strict=True):
        kept = kept_of(each) if found_within is None else found_within.get(each.pk, {})
        yield judged_as(row, kept)


def baseline_of(board: Board, text: str, found_within: within.Said | None = None) -> Row | None:
    """Return the row that all of a large board are compared with."""
    if not text:
        return None
    all_of_it = of_board(board.protocol, board.experiment)
    mine = list(all_of_it.filter(entry=int(text.partition(":")[0])))
    rows = rows_from(mine, board.columns, Score.objects.filter(standing__in=mine))
    return chosen(_as_said(rows, mine, found_within), text)


def kept_of(standing: Standing) -> dict[str, list[Any]]:
    """Return what is kept of a standing's judgement."""
    return standing.judgement.found if hasattr(standing, "judgement") else {}


def in_order(
    standings: QuerySet[Standing], board: Board, *, past_real: bool = False
) -> QuerySet[Any, int]:
    """Return the keys of standings in the order of `ranking.in_order`, see `told_in_order`."""
    keys = told_in_order(standings, board, past_real=past_real)
    return keys.values_list(*keys.query.values_select, flat=True)


def told_in_order(
    standings: QuerySet[Standing],
    board: Board,
    *told: str,  # fields of standings
    past_real: bool = False,  # without those of real test images, of which experiments have one each
) -> QuerySet[Any, Any]:
    """Return keys of standings, with what is told of each, in the order of `ranking.in_order`."""
    if past_real:
        standings = standings.exclude(control=controls.TEST)
    worst, fact = board.sort.startswith("-"), FACTS.get(board.sort_key)
    by_budget = ["budget"] if board.is_grouped else []
    if fact is not None:
        field = F(fact.field) if fact.key == DATE else as_python(fact.field)
        by = field.desc(nulls_last=True) if worst else field.asc(nulls_last=True)
        kind = Case(When(control="", then=1), When(control=controls.TEST, then=0), default=2)
        ordered = standings.order_by(*by_budget, kind, "place", by, *_named(""), "entry_id")
        return ordered.values_list("pk", *told)
    by = F("badness").desc() if worst else F("badness").asc()
    # Looked at one score after the other, until a page is full: not found whole and put in order.
    is_wanted = Exists(standings.order_by().filter(pk=OuterRef("standing_id")))
    scores = Score.objects.filter(is_wanted, protocol=board.protocol, metric=board.sort_key)
    if board.experiment is not None:
        mine = standings.select_related(None).order_by()
        scores = Score.objects.filter(standing__in=mine, metric=board.sort_key)
    if past_real:  # no range, which SQLite would find by an index of the other order
        scores = scores.exclude(**({"budget": REAL} if by_budget else {"group": Score.Group.REAL}))
    named = _named("standing__")
    scores = scores.order_by(
        *by_budget, "group", by, "standing__place", *named, "standing__entry_id"
    )
    return scores.values_list("standing_id", *(f"standing__{name}" for name in told))


def _named(prefix: str) -> list[Collate]:
    """Return the names of standings, by which ties stand."""
    return [as_python(f"{prefix}{name}") for name in ("label", "sampler_label")]
