"""One pass over the pairs within a set or across two, for all that is gathered from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evaluation.pairs.balls import BallCounts, Side
from evaluation.pairs.distances import Pairs, SquaredDistances, join
from evaluation.pairs.kernel_sums import Kernel, KernelMatrix, KernelSums
from evaluation.pairs.nearest import NeighbourLists, NeighbourSearch
from evaluation.pairs.points import Points
from evaluation.pairs.tiles import Tile, tiles

TOGETHER = 50_000  # pairs that are counted at once
DENSE = 0.05  # share of near pairs in a tile, from which the next tiles are counted densely

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
    """Find the tile's near pairs, once for the search and the counter, unless they are many."""
    squared = distances.of(tile)
    rows, columns = np.full(distances.a.count, -np.inf), np.full(distances.b.count, -np.inf)
    count_near = counter is not None and not counter.dense
    if counter is not None and count_near:
        rows, columns = counter.row_limits, counter.column_limits
    if search is not None:
        search.learn(squared, tile)
        rows = np.maximum(rows, search.limits)
    pairs = distances.pairs_nearer(squared, tile, rows, columns)
    if search is not None:
        search.take(pairs, tile)
    if counter is not None and count_near:
        counter.take(pairs, tile)
    elif counter is not None:
        counter.take_dense(squared, tile)


class _PairCounter:
    """Counts pairs of generated and other rows in the balls of both."""

    def __init__(
        self, distances: SquaredDistances, generated: Side, others: Side, *, strict: bool
    ) -> None:
        self.of_others = BallCounts(distances, generated, others, in_columns=True, strict=strict)
        self.of_generated = BallCounts(
            distances, others, generated, in_columns=False, strict=strict
        )
        self.row_limits, self.column_limits = (
            np.maximum(*limits)
            for limits in zip(self.of_others.limits, self.of_generated.limits, strict=True)
        )
        self.dense = False
        self._pending: list[Pairs] = []

    def take(self, pairs: Pairs, tile: Tile) -> None:
        """Count a tile's near pairs, few together with those of other tiles."""
        self.dense = len(pairs) > DENSE * tile.products.numel()
        if len(pairs) > TOGETHER:
            self._count(pairs, tile)
            return
        self._pending.append(pairs)
        if sum(map(len, self._pending)) > TOGETHER:
            self.finish()

    def take_dense(self, squared: Tensor, tile: Tile) -> None:
        """Count a tile of which many pairs are near."""
        for counts in (self.of_others, self.of_generated):
            counts.take_dense(squared, tile)

    def finish(self) -> None:
        """Count all pairs that are left."""
        pairs = join(self._pending)
        self._pending.clear()
        self._count(pairs)

    def _count(self, pairs: Pairs, tile: Tile | None = None) -> None:
        for counts in (self.of_others, self.of_generated):
            counts.take(pairs, tile)
