"""Which rows of one set lie in the nearest-neighbour balls of another, whole sets and halves."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.pairs.distances import DOUBLE, Pairs, SquaredDistances
from evaluation.metrics.pairs.halves import Estimated, Halves, pack, reached, share, unpack
from evaluation.metrics.pairs.nearest import NeighbourLists
from evaluation.metrics.pairs.points import Points
from evaluation.metrics.pairs.radii import Radii
from evaluation.metrics.pairs.tiles import Tile

UNCLEAR = 10_000  # pairs of a tile near a border, from which products in float64 save time
TINY = 1e-30  # so that a squared distance of 0 is within a limit of 0


@dataclass(frozen=True)
class Balls:
    """The balls around N rows: of the whole set and of each half of it.

    ``widest`` (N,) are the largest squared radii in any half or the whole. ``edges`` (N, E) are the
    squared distances to the row's own copies (0) and to its nearest others, ascending.
    ``holds`` (W, N, E + 1) says at P in which halves the ball reaches to what has P edges before
    it.
    """

    radii: Radii
    widest: np.ndarray
    edges: np.ndarray
    holds: np.ndarray


@dataclass(frozen=True)
class Side:
    """One of two sets: how often each row occurs, its balls, and its halves if there are any."""

    copies: np.ndarray
    balls: Balls
    halves: Halves | None


def draw_balls(
    distances: SquaredDistances, lists: NeighbourLists, halves: Halves | None, k: int
) -> Balls:
    """Return the balls with the k-th nearest other row on their border."""
    radii = Radii(distances, lists, k)
    edges = np.pad(lists.squared, ((0, 0), (1, 0)))
    if halves is None:
        holds = np.zeros((0, *edges.shape), dtype=np.uint64)
        return Balls(radii=radii, widest=radii.values, edges=edges, holds=holds)
    holds = halves.members[0][:, :, None] & ~reached(lists, halves, k)
    holds[:, :, -1] = 0  # nothing is known of what is farther than the whole list
    last = edges.shape[1] - np.argmax(holds.any(0)[:, ::-1], axis=1)
    widest = edges[np.arange(len(edges)), np.minimum(last, edges.shape[1] - 1)]
    return Balls(radii, np.maximum(radii.values, widest), edges, holds)


class BallCounts:
    """Counts rows of one set, the queries, in the balls around those of another, their centres.

    ``take`` is given pairs near enough, and does more than a hundred operations on each. Where
    most pairs of a tile lie deep inside balls, ``take_dense`` counts these by matrix products.
    Copies of a row are counted one by one. Counts of the halves are kept as words.
    """

    def __init__(
        self,
        distances: SquaredDistances,
        queries: Side,
        centres: Side,
        *,
        in_columns: bool,  # the centres are the columns of the distances, else their rows
        strict: bool,
    ) -> None:
        self._distances, self._in_columns, self._strict = distances, in_columns, strict
        self._queries, self._centres, self._balls = queries, centres, centres.balls
        points = distances.b if in_columns else distances.a
        self._reach = _reach(distances, points, centres.balls)
        self._depth = _depth(distances, points, centres.balls)
        words = len(self._balls.holds)
        self._covered = np.zeros(len(queries.copies), dtype=bool)
        self._reached = np.zeros(len(centres.copies), dtype=bool)
        self._total = 0
        self._covered_words = np.zeros((words, len(queries.copies)), dtype=np.uint64)
        self._reached_words = np.zeros((words, len(centres.copies)), dtype=np.uint64)
        self._totals = np.zeros(0 if queries.halves is None else queries.halves.draws)

    def covered_share(self) -> Estimated:
        """Return the share of queries in some ball."""
        queries = self._queries
        return share(self._covered, queries.copies, self._covered_words, queries.halves)

    def reached_share(self) -> Estimated:
        """Return the share of balls that hold some query."""
        centres = self._centres
        return share(self._reached, centres.copies, self._reached_words, centres.halves)

    def mean_count(self) -> Estimated:
        """Return the mean number of balls around a query."""
        halves = self._queries.halves
        size = 1 if halves is None else halves.size
        return Estimated(self._total / int(self._queries.copies.sum()), self._totals / size)

    def limits(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Return the squared distances of a tile's rows and columns within which a pair counts."""
        rows, columns = (np.full(size, -np.inf) for size in tile.products.shape)
        if self._in_columns:
            return rows, self._reach[tile.columns]
        return self._reach[tile.rows], columns

    def take(self, pairs: Pairs, tile: Tile | None = None) -> None:
        """Count pairs, of one tile if it is given."""
        error = self._distances.error(pairs.rows, pairs.columns)
        if tile is not None and len(self._unclear(self._turned(pairs), error)) > UNCLEAR:
            pairs = self._distances.precise(pairs, tile)
            error = self._distances.error(pairs.rows, pairs.columns, unit=DOUBLE)
        inside = self._inside(pairs, error)
        turned = self._turned(pairs)
        self._count(turned.where(inside))
        near = turned.squared <= self._balls.widest[turned.columns] + error
        if self._queries.halves is not None and self._centres.halves is not None and near.any():
            self._count_in_halves(
                turned.where(near), error[near], self._queries.halves, self._centres.halves
            )

    def take_dense(self, squared: Tensor, tile: Tile) -> None:
        """Count the pairs of a tile, (n, m) squared distances, those deep inside all at once."""
        depth = torch.from_numpy(self._depth[tile.columns if self._in_columns else tile.rows])
        depth = depth.to(squared)
        deep = squared < (depth if self._in_columns else depth[:, None])
        self._count_deep(deep if self._in_columns else deep.T, tile)
        rest = squared.masked_fill(deep, torch.inf)
        self.take(self._distances.pairs_nearer(rest, tile, *self.limits(tile)), tile)

    def _turned(self, pairs: Pairs) -> Pairs:
        """Return the pairs with queries as rows and centres as columns."""
        return pairs if self._in_columns else pairs.swapped()

    def _unclear(self, pairs: Pairs, error: np.ndarray) -> np.ndarray:
        """Return the indices of the pairs so near a border that rounding hides their side."""
        radii = self._balls.radii
        difference = pairs.squared - radii.values[pairs.columns]
        return np.flatnonzero(np.abs(difference) <= error + radii.errors[pairs.columns])

    def _inside(self, pairs: Pairs, error: np.ndarray) -> np.ndarray:
        """Return which pairs lie in balls of the whole set, exactly."""
        turned, radii = self._turned(pairs), self._balls.radii
        inside = turned.squared < radii.values[turned.columns]
        unclear = self._unclear(turned, error)
        centres = turned.columns[unclear]
        radii.make_exact(centres)
        squared = self._distances.exact(pairs.rows[unclear], pairs.columns[unclear])
        border = radii.values[centres]
        inside[unclear] = squared < border if self._strict else squared <= border
        return np.asarray(inside)

    def _count(self, inside: Pairs) -> None:
        self._covered[inside.rows] = True
        self._reached[inside.columns] = True
        pairs = self._queries.copies[inside.rows] * self._centres.copies[inside.columns]
        self._total += int(pairs.sum())

    def _count_in_halves(
        self, pairs: Pairs, error: np.ndarray, queries: Halves, centres: Halves
    ) -> None:
        """Count in all halves; what is on a border but for rounding is on it."""
        edges, squared, slack = self._balls.edges[pairs.columns], pairs.squared, error
        if self._strict:
            place = (edges <= (squared + slack)[:, None]).sum(1)
        else:
            place = (edges < (squared - slack)[:, None]).sum(1)
        inside = self._balls.holds[:, pairs.columns, place]
        both = inside & queries.members[0][:, pairs.rows]
        for word in range(len(both)):
            np.bitwise_or.at(self._covered_words[word], pairs.rows, inside[word])
            np.bitwise_or.at(self._reached_words[word], pairs.columns, both[word])
        self._totals += _pairs_in_halves(both, pairs, queries, centres)

    def _count_deep(self, deep: Tensor, tile: Tile) -> None:
        """Count pairs of query and centre (n, m) nearer than any other row is to the centre."""
        rows, columns = tile.rows, tile.columns
        if not self._in_columns:
            rows, columns = columns, rows
        self._covered[rows] |= deep.any(1).cpu().numpy()
        self._reached[columns] |= deep.any(0).cpu().numpy()
        per_query = deep.sum(1).cpu().numpy()  # no centre of these has copies
        self._total += int(per_query @ self._queries.copies[rows])
        queries, centres = self._queries.halves, self._centres.halves
        if queries is None or centres is None:
            return
        inside = deep.to(torch.float32)
        held = unpack(self._balls.holds[:, columns, 1], centres.draws).astype(np.float32)
        counts = queries.counts[:, rows].T.astype(np.float32)
        balls = (inside @ torch.from_numpy(held).to(inside)).cpu().numpy()  # around each query
        others = (inside.T @ torch.from_numpy(counts).to(inside)).cpu().numpy() * held
        self._covered_words[:, rows] |= pack(balls.T > 0)
        self._reached_words[:, columns] |= pack(others.T > 0)
        self._totals += (balls.astype(np.float64) * counts).sum(0)


def _reach(distances: SquaredDistances, points: Points, balls: Balls) -> np.ndarray:
    """Return the squared distances (N,) within which something may lie in a ball or half-ball."""
    error = distances.error_within(points.norms, balls.widest) + balls.radii.errors
    return np.asarray(balls.widest + error + TINY)


def _depth(distances: SquaredDistances, points: Points, balls: Balls) -> np.ndarray:
    """Return the squared distances (N,) within which all lies in a ball, and before its edges."""
    if balls.edges.shape[1] < 2:
        return np.full(points.count, -np.inf)
    depth = np.minimum(balls.radii.values, balls.edges[:, 1])
    error = distances.error_within(points.norms, depth) + balls.radii.errors
    depth = (depth - 2 * error) * (1 - 1e-6)
    return np.where((points.copies == 1) & (depth > 0), depth, -np.inf)


def _pairs_in_halves(
    inside: np.ndarray, pairs: Pairs, queries: Halves, centres: Halves
) -> np.ndarray:
    """Return how many pairs of images (B,) the pairs of rows ``inside`` (W, P) stand for."""
    chosen = unpack(inside, queries.draws)
    if len(queries.members) == len(centres.members) == 1:
        return np.asarray(chosen.sum(0))
    weights = queries.counts[:, pairs.rows] * centres.counts[:, pairs.columns]
    return np.asarray((chosen * weights.T).sum(0))
