"""Nearest neighbours of every row, found in one sweep over tiles and exact where it matters."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evaluation.metrics.pairs.distances import Pairs, SquaredDistances, join
from evaluation.metrics.pairs.tiles import Tile

ROWS = 4096  # lists that are built at once
STRIP = 8_000_000  # distances held at once where rows are searched anew; 64 MiB in float64


@dataclass(frozen=True)
class NeighbourLists:
    """The nearest columns of each of n rows, ascending: squared distances and positions (n, L).

    Each column stands for all its copies. Columns that are in no list are farther than the last
    of the list. A list may end before L, with infinity and position 0.
    """

    squared: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Near:
    """What a tile tells of its rows: how far to look (n,), and the pairs nearer than that."""

    rows: slice
    columns: slice
    limits: np.ndarray
    kept: Pairs


class NeighbourSearch:
    """Collects the ``length`` nearest columns of every row while a sweep goes by.

    The column blocks are random parts of all columns, so the distances to the first ones tell
    within which distance the nearest of all are found, but for about one row in a thousand, which
    is searched anew. Only pairs nearer than that are kept.
    """

    def __init__(self, distances: SquaredDistances, length: int) -> None:
        self._distances = distances
        rows, columns = distances.a, distances.b
        self._itself = rows is columns
        self._length = min(length, len(columns.single) - self._itself)
        self.limits = np.full(rows.count, np.inf)  # squared distances
        self._seen = 0  # columns, when the limits were last lowered
        self._found: list[Pairs] = []

    def row_limits(self, squared: Tensor, tile: Tile) -> np.ndarray:
        """Return the limits (n,) of a tile's rows, which the first column block tells."""
        rank = self._rank(tile.columns.stop)
        if tile.columns.start == 0 and rank < squared.shape[1]:
            return _ranked(squared, rank)
        return self.limits[tile.rows]

    def within(self, squared: Tensor, tile: Tile) -> "Near":
        """Return the pairs of a tile of a set with itself that are near for one of the two."""
        rows = self.row_limits(squared, tile)
        columns = rows if tile.diagonal else self.limits[tile.columns]
        pairs = self._distances.pairs_nearer(squared, tile, rows, columns)
        kept = [pairs.nearer(rows, tile.rows)]
        if not tile.diagonal:
            kept.append(pairs.swapped().nearer(columns, tile.columns))
        return Near(tile.rows, tile.columns, rows, join(kept))

    def add(self, near: "Near") -> None:
        """Keep what a tile told; tiles come in their order."""
        if near.columns.start == 0:
            self.limits[near.rows] = near.limits
        self._lower_limits(near.columns.start)
        self._found.append(near.kept)

    def lists(self) -> NeighbourLists:
        """Return the lists, complete for every row that is the first of its copies."""
        lists = _nearest_of(join(self._found), self._distances.a.count, self._length)
        self._found.clear()
        short = ~np.isfinite(lists.squared).all(1) & (self._distances.a.copies > 0)
        _search_anew(self._distances, np.flatnonzero(short), lists)
        return lists

    def _lower_limits(self, seen: int) -> None:
        """Drop what more columns have shown to be too far, each time four times as many are."""
        if seen < 4 * max(self._seen, self._distances.b.blocks[0][0].stop):
            return
        self._seen = seen
        rank = self._rank(seen)
        found, count = join(self._found), self._distances.a.count
        done = np.arange(count) < (seen if self._itself else 0)  # their mirrored tiles came by
        lists = _nearest_of(found, count, max(rank, self._length))
        known = np.where(done, lists.squared[:, self._length - 1], lists.squared[:, rank - 1])
        np.minimum(self.limits, known * (1 + 1e-6), out=self.limits)
        self._found = [found.nearer(self.limits)]

    def _rank(self, seen: int) -> int:
        """Return the rank among columns seen that is hardly ever within the nearest of all."""
        columns = self._distances.b.single
        expected = self._length * int((columns < seen).sum()) / max(len(columns), 1)
        return math.ceil(expected + 3 * math.sqrt(expected) + 1.5)


def _ranked(squared: Tensor, rank: int) -> np.ndarray:
    """Return the smallest but ``rank - 1`` of each row."""
    if squared.device.type == "cpu":
        return np.partition(squared.numpy(), rank - 1, axis=1)[:, rank - 1]
    return squared.topk(rank, dim=1, largest=False).values[:, -1].cpu().numpy()


def _nearest_of(pairs: Pairs, count: int, length: int) -> NeighbourLists:
    """Return the ``length`` nearest columns of each of ``count`` rows among the pairs."""
    narrow = pairs.rows.astype(np.uint16) if count <= 1 << 16 else pairs.rows  # a radix sort
    by_row = pairs.where(np.argsort(narrow, kind="stable"))
    ends = np.cumsum(np.bincount(pairs.rows, minlength=count))
    lists = NeighbourLists(
        squared=np.full((count, length), np.inf), positions=np.zeros((count, length), np.int32)
    )
    for start in range(0, count if length else 0, ROWS):
        stop = min(start + ROWS, count)
        part = by_row.where(slice(ends[start - 1] if start else 0, ends[stop - 1]))
        _fill(lists, part, start, stop)
    return lists


def _fill(lists: NeighbourLists, pairs: Pairs, start: int, stop: int) -> None:
    """Set the lists of rows start..stop from their pairs, which are ordered by row."""
    rows = pairs.rows - start
    sizes = np.bincount(rows, minlength=stop - start)
    places = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[rows]
    length = lists.squared.shape[1]
    shape = (stop - start, max(int(sizes.max(initial=0)), length))
    squared, positions = np.full(shape, np.inf), np.zeros(shape, np.int32)
    squared[rows, places], positions[rows, places] = pairs.squared, pairs.columns
    lists.squared[start:stop], lists.positions[start:stop] = first_sorted(
        squared, positions, length
    )


def first_sorted(
    squared: np.ndarray, others: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``length`` smallest of each row, ascending, and what stands at their places."""
    if length < squared.shape[1]:
        kept = np.argpartition(squared, length - 1, axis=1)[:, :length]
        squared, others = (np.take_along_axis(array, kept, axis=1) for array in (squared, others))
    order = np.argsort(squared, axis=1)
    return np.take_along_axis(squared, order, axis=1), np.take_along_axis(others, order, axis=1)


def _search_anew(distances: SquaredDistances, rows: np.ndarray, lists: NeighbourLists) -> None:
    """Set the lists of these rows from the distances to all columns."""
    length = lists.squared.shape[1]
    for part in together(distances, rows):
        squared = distances.strip(part, precise=False)
        positions = np.broadcast_to(np.arange(squared.shape[1], dtype=np.int32), squared.shape)
        lists.squared[part], lists.positions[part] = first_sorted(squared, positions, length)


def together(distances: SquaredDistances, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield as many of the rows as are searched anew at once."""
    height = max(STRIP // max(distances.b.count, 1), 1)
    for start in range(0, len(rows), height):
        yield rows[start : start + height]
