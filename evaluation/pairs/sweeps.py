"""One pass over the pairs within a set or across two, for all that is gathered from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.pairs.balls import BallCounts, Side
from evaluation.pairs.distances import DOUBLE, Pairs, SquaredDistances, join
from evaluation.pairs.kernel_sums import Kernel, KernelMatrix, KernelSums
from evaluation.pairs.nearest import NeighbourLists, NeighbourSearch
from evaluation.pairs.points import Points
from evaluation.pairs.tiles import Tile, tiles

TOGETHER = 50_000  # pairs that are counted at once
UNCLEAR = 10_000  # pairs of a tile near a border, from which products in float64 save time
TINY = 1e-30  # so that a squared distance of 0 is within a limit of 0

KeepGoing = Callable[[], None]


@dataclass(frozen=True)
class Within:
    """What the pairs of one set gave: means of the kernel, lists of nearest neighbours."""

    distances: SquaredDistances
    kernel: KernelMatrix | None
    lists: NeighbourLists | None


def sweep_within(
    points: Points, *, kernel: Kernel | None, listed: int, keep_going: KeepGoing
) -> Within:
    """Return the means of the kernel, if one is given, and lists of ``listed`` neighbours."""
    distances = SquaredDistances(points, points)
    sums = None if kernel is None else KernelSums(kernel, points, points)
    search = NeighbourSearch(distances, listed) if listed else None
    for tile in tiles(points, points, keep_going) if sums or search else ():
        if sums is not None:
            sums.take(tile)
        if search is not None:
            squared = distances.of(tile)
            search.learn(squared, tile)
            search.take(distances.pairs_nearer(squared, tile, search.limits, search.limits), tile)
    return Within(
        distances=distances,
        kernel=None if sums is None else sums.matrix(),
        lists=None if search is None else search.lists(),
    )


@dataclass(frozen=True)
class Across:
    """What the pairs of generated and other rows gave.

    ``of_others`` counts generated rows in the balls of the others, ``of_generated`` the reverse.
    """

    distances: SquaredDistances
    kernel: KernelMatrix | None
    lists: NeighbourLists | None
    of_others: BallCounts | None
    of_generated: BallCounts | None


def sweep_across(
    generated: Points,
    others: Points,
    *,
    kernel: Kernel | None,
    listed: int,  # others nearest to each generated row
    sides: tuple[Side, Side] | None,  # of generated and other rows; None = no balls
    strict: bool,
    keep_going: KeepGoing,
) -> Across:
    """Return the means of the kernel, lists of ``listed`` nearest others, and counts in balls."""
    distances = SquaredDistances(generated, others)
    sums = None if kernel is None else KernelSums(kernel, generated, others)
    search = NeighbourSearch(distances, listed) if listed else None
    counter = None if sides is None else _PairCounter(distances, *sides, strict=strict)
    for tile in tiles(generated, others, keep_going) if sums or search or counter else ():
        if sums is not None:
            sums.take(tile)
        if search is not None or counter is not None:
            _take_near(distances, tile, search, counter)
    if counter is not None:
        counter.finish()
    return Across(
        distances=distances,
        kernel=None if sums is None else sums.matrix(),
        lists=None if search is None else search.lists(),
        of_others=None if counter is None else counter.of_others,
        of_generated=None if counter is None else counter.of_generated,
    )


def _take_near(
    distances: SquaredDistances,
    tile: Tile,
    search: NeighbourSearch | None,
    counter: "_PairCounter | None",
) -> None:
    """Find the tile's near pairs once, for the search and for the counter."""
    squared = distances.of(tile)
    rows = np.full(distances.a.count, -np.inf) if counter is None else counter.row_limits
    columns = np.full(distances.b.count, -np.inf) if counter is None else counter.column_limits
    if search is not None:
        search.learn(squared, tile)
        rows = np.maximum(rows, search.limits)
    pairs = distances.pairs_nearer(squared, tile, rows, columns)
    if search is not None:
        search.take(pairs, tile)
    if counter is not None:
        counter.take(pairs, tile)


class _PairCounter:
    """Counts near pairs of generated and other rows in the balls of both."""

    def __init__(
        self, distances: SquaredDistances, generated: Side, others: Side, *, strict: bool
    ) -> None:
        self._distances = distances
        self.of_others = BallCounts(queries=generated, centres=others, strict=strict)
        self.of_generated = BallCounts(queries=others, centres=generated, strict=strict)
        self.row_limits = _reach(distances, distances.a, generated)
        self.column_limits = _reach(distances, distances.b, others)
        self._pending: list[Pairs] = []

    def take(self, pairs: Pairs, tile: Tile) -> None:
        """Count pairs now or with those of later tiles."""
        self._pending.append(pairs)
        if len(pairs) > TOGETHER:
            self._pending.pop()
            self._count(*self._cleared(pairs, tile))
        elif sum(map(len, self._pending)) > TOGETHER:
            self.finish()

    def finish(self) -> None:
        """Count all that is left."""
        pairs = join(self._pending)
        self._pending.clear()
        self._count(pairs, self._distances.error(pairs.rows, pairs.columns))

    def _count(self, pairs: Pairs, error: np.ndarray) -> None:
        exact = self._distances.exact
        self.of_others.take(pairs, error, lambda p: exact(p.rows, p.columns))
        self.of_generated.take(pairs.swapped(), error, lambda p: exact(p.columns, p.rows))

    def _cleared(self, pairs: Pairs, tile: Tile) -> tuple[Pairs, np.ndarray]:
        """Return a tile's pairs and their errors, from products in float64 where many need it."""
        error = self._distances.error(pairs.rows, pairs.columns)
        unclear = len(self.of_others.unclear(pairs, error)) + len(
            self.of_generated.unclear(pairs.swapped(), error)
        )
        if unclear <= UNCLEAR:
            return pairs, error
        squared = self._distances.precise_tile(tile.rows, tile.columns)
        precise = squared[pairs.rows - tile.rows.start, pairs.columns - tile.columns.start]
        error = self._distances.error(pairs.rows, pairs.columns, unit=DOUBLE)
        return Pairs(pairs.rows, pairs.columns, precise), error


def _reach(distances: SquaredDistances, points: Points, side: Side) -> np.ndarray:
    """Return the squared distances (N,) within which a pair may lie in a ball of a side."""
    widest = side.balls.widest
    return np.asarray(widest + distances.error_within(points.norms, widest) + TINY)
