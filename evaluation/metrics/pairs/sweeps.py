"""One pass over the pairs within a set or across two, for all that is gathered from them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evaluation.metrics.pairs.balls import BallCounts, Side
from evaluation.metrics.pairs.distances import Pairs, SquaredDistances, join
from evaluation.metrics.pairs.kernel_sums import Kernel, KernelMatrix, KernelSums, TileSums
from evaluation.metrics.pairs.nearest import Near, NeighbourLists, NeighbourSearch
from evaluation.metrics.pairs.points import Points
from evaluation.metrics.pairs.tiles import Tile, each_tile

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

    def work(tile: Tile) -> tuple[TileSums | None, Near | None]:
        return (
            None if sums is None else sums.of(tile),
            None if search is None else search.within(distances.of(tile), tile),
        )

    for tile_sums, near in each_tile(points, points, work, keep_going) if sums or search else ():
        if sums is not None and tile_sums is not None:
            sums.add(tile_sums)
        if search is not None and near is not None:
            search.add(near)
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

    def work(tile: Tile) -> tuple[TileSums | None, _Found | None]:
        return (
            None if sums is None else sums.of(tile),
            _find(distances, tile, search, counter) if search or counter else None,
        )

    wanted = sums or search or counter
    for tile_sums, found in each_tile(generated, others, work, keep_going) if wanted else ():
        if sums is not None and tile_sums is not None:
            sums.add(tile_sums)
        if search is not None and found is not None and found.near is not None:
            search.add(found.near)
        if counter is not None and found is not None and found.uncounted is not None:
            counter.take(found.uncounted, found.tile)
    if counter is not None:
        counter.finish()
    return Across(
        distances=distances,
        kernel=None if sums is None else sums.matrix(),
        lists=None if search is None else search.lists(),
        of_others=None if counter is None else counter.of_others,
        of_generated=None if counter is None else counter.of_generated,
    )


@dataclass(frozen=True)
class _Found:
    """The near pairs of a tile: those for the search, and those that are still to be counted."""

    tile: Tile
    near: Near | None
    uncounted: Pairs | None


def _find(
    distances: SquaredDistances,
    tile: Tile,
    search: NeighbourSearch | None,
    counter: "_PairCounter | None",
) -> _Found:
    """Find a tile's near pairs, once for both; where they are many, count them right here."""
    squared = distances.of(tile)
    rows, columns = (np.full(size, -np.inf) for size in squared.shape)
    dense = counter is not None and counter.dense
    if counter is not None and not dense:
        rows, columns = counter.limits(tile)
    limits = rows if search is None else search.row_limits(squared, tile)
    pairs = distances.pairs_nearer(squared, tile, np.maximum(rows, limits), columns)
    near = None
    if search is not None:
        near = Near(tile.rows, tile.columns, limits, pairs.nearer(limits, tile.rows))
    if counter is not None and dense:
        counter.take_dense(squared, tile)
    return _Found(tile, near, None if dense else pairs)


class _PairCounter:
    """Counts pairs of generated and other rows in the balls of both."""

    def __init__(
        self, distances: SquaredDistances, generated: Side, others: Side, *, strict: bool
    ) -> None:
        self.of_others = BallCounts(distances, generated, others, in_columns=True, strict=strict)
        self.of_generated = BallCounts(
            distances, others, generated, in_columns=False, strict=strict
        )
        self.dense = False
        self._pending: list[Pairs] = []
        self._lock = threading.Lock()  # counting changes what threads share

    def limits(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Return the squared distances of a tile's rows and columns within which a pair counts."""
        rows, _ = self.of_generated.limits(tile)
        _, columns = self.of_others.limits(tile)
        return rows, columns

    def take(self, pairs: Pairs, tile: Tile) -> None:
        """Count a tile's near pairs, few together with those of other tiles."""
        if len(pairs) > DENSE * tile.products.numel():
            self.dense = True
        if len(pairs) > TOGETHER:
            self._count(pairs, tile)
            return
        self._pending.append(pairs)
        if sum(map(len, self._pending)) > TOGETHER:
            self.finish()

    def take_dense(self, squared: Tensor, tile: Tile) -> None:
        """Count a tile of which many pairs are near."""
        with self._lock:
            for counts in (self.of_others, self.of_generated):
                counts.take_dense(squared, tile)

    def finish(self) -> None:
        """Count all pairs that are left."""
        pairs = join(self._pending)
        self._pending.clear()
        self._count(pairs)

    def _count(self, pairs: Pairs, tile: Tile | None = None) -> None:
        with self._lock:
            for counts in (self.of_others, self.of_generated):
                counts.take(pairs, tile)
