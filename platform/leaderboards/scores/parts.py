"""A board in parts, as it is exported: however large it is, few of its rows are in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from django.db.models import Exists, OuterRef, Q

from catalog.models import Protocol
from experiments import controls
from experiments.models import Experiment
from leaderboards.board import Board
from leaderboards.models import Score, Standing
from leaderboards.scores import reading
from leaderboards.scores.query import Query
from leaderboards.scores.standings import budgets_of, of_board

PART = 500  # rows of a part
COST = "device_seconds"  # of which details say what the autoencoder took
OF_COSTS = reading.Reads(columns=[COST], details_of=[COST])


@dataclass(frozen=True)
class Large:
    """A large board without its rows, the keys of these in their order."""

    board: Board
    keys: Sequence[int]

    @property
    def pieces(self) -> list[Sequence[int]]:
        """Return the keys by parts; one at least."""
        return _pieces(self.keys)


@dataclass(frozen=True)
class Parts:
    """A board's rows, from the first on: together those of `reading.board`."""

    boards: Iterator[Board]
    costs: Iterator[Board]  # rows behind the first part that may have columns of autoencoders


def parts(
    protocol: Protocol,
    *,
    sort: str,
    experiment: Experiment | None,
    query: Query,
    has_details: bool = True,
) -> Parts | Large:
    """Return a board in parts: a large one in several, of which no more than one is read at a time.

    One whose rows need no `Cell`, as they are compared with none, is not read at all.

    Raises:
        ValueError: if there is no column to sort by of this name.
        QueryError: if the board has no baseline of this name, or is too large for one of before.
    """
    kept = reading.kept_before(reading.empty_of(protocol, sort, experiment, query))
    if kept is None or query.size is not None or query.as_of is not None:
        whole = reading.board(protocol, sort=sort, experiment=experiment, query=query)
        return Parts(iter([whole]), iter(()))
    kept = replace(kept, budgets=budgets_of(protocol))
    keys = list(reading.in_order(query.of(of_board(protocol), protocol), kept))
    if not query.baseline:
        return Large(kept, keys)
    pieces = _pieces(keys)
    baseline = reading.baseline_of(kept, query.baseline)
    reads = _reads(kept, query, has_details=has_details)
    boards = (reading.of_keys(kept, piece, baseline, reads) for piece in pieces)
    begun = list(islice(boards, 1))  # here: what it raises is said before an answer begins
    costs = (_with_costs(kept, piece) for piece in _pieces(_of_autoencoders(kept, keys[PART:])))
    return Parts(chain(begun, boards), costs)


def _pieces(keys: Sequence[int]) -> list[Sequence[int]]:
    """Return keys by parts; one at least."""
    return [keys[begin : begin + PART] for begin in range(0, max(1, len(keys)), PART)]


def _of_autoencoders(board: Board, keys: list[int]) -> list[int]:
    """Return those of some standings that may know what an autoencoder takes or loses."""
    if not keys:
        return []
    costs = Score.objects.filter(standing=OuterRef("pk"), metric=COST).exclude(details=[])
    knows = Q(of_entry=True) | Q(entry__kind__in=controls.ELSEWHERE) | Q(Exists(costs))
    mine = of_board(board.protocol).filter(knows)
    few = set(mine.order_by().values_list("pk", flat=True))
    return [key for key in keys if key in few]


def _reads(board: Board, query: Query, *, has_details: bool) -> reading.Reads:
    """Return what an export needs: the columns that are named, and by which the rows stand."""
    details_of = None if has_details else [COST]
    if not query.columns.is_own:
        return reading.Reads(details_of=details_of)
    named = {column.key for column in query.columns.exported(board)}
    return reading.Reads(named | {board.ranked_by.key, COST}, details_of)


def _with_costs(board: Board, keys: Sequence[int]) -> Board:
    """Return rows with what their training took, not judged."""
    found = Standing.objects.select_related("entry__experiment").in_bulk(keys)
    standings = [found[key] for key in keys if key in found]
    return replace(board, rows=tuple(OF_COSTS.rows(board, standings)))
