"""Which rows of one set lie in the nearest-neighbour balls of another, whole sets and halves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.pairs.distances import Pairs, SquaredDistances
from evaluation.pairs.halves import Estimated, Halves, reached, share, unpack
from evaluation.pairs.nearest import NeighbourLists, exact_radii


@dataclass(frozen=True)
class Balls:
    """The balls around N rows: of the whole set and of each half of it.

    ``radii`` (N,) and ``widest`` (N,), the largest in any half, are squared. ``edges`` (N, E) are
    the squared distances to the row's own copies (0) and to its nearest others, ascending.
    ``holds`` (W, N, E + 1) says at P in which halves the ball reaches to what has P edges before
    it.
    """

    radii: np.ndarray
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
    rows = distances.a.single
    radii = np.zeros(distances.a.count)
    radii[rows] = exact_radii(distances, lists, k, rows)
    edges = np.pad(lists.squared, ((0, 0), (1, 0)))
    if halves is None:
        holds = np.zeros((0, *edges.shape), dtype=np.uint64)
        return Balls(radii=radii, widest=radii, edges=edges, holds=holds)
    holds = halves.members[0][:, :, None] & ~reached(lists, halves, k)
    holds[:, :, -1] = 0  # nothing is known of what is farther than the whole list
    last = edges.shape[1] - np.argmax(holds.any(0)[:, ::-1], axis=1)
    widest = edges[np.arange(len(edges)), np.minimum(last, edges.shape[1] - 1)]
    return Balls(radii=radii, widest=np.maximum(radii, widest), edges=edges, holds=holds)


class BallCounts:
    """Counts the rows of another set in the balls of a set while pairs go by.

    Copies of a row are counted one by one. Counts of the halves are kept as words.
    """

    def __init__(self, *, queries: Side, centres: Side, strict: bool) -> None:
        self._queries, self._centres, self._strict = queries, centres, strict
        self._balls = centres.balls
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

    def unclear(self, pairs: Pairs, error: np.ndarray) -> np.ndarray:
        """Return the indices of the pairs so near a border that rounding hides their side."""
        difference = pairs.squared - self._balls.radii[pairs.columns]
        return np.flatnonzero(np.abs(difference) <= error)

    def take(self, pairs: Pairs, error: np.ndarray, exact: Callable[[Pairs], np.ndarray]) -> None:
        """Count pairs of a query (row) and the centre of a ball (column).

        ``error`` bounds that of their squared distances, ``exact`` returns these without any.
        """
        self._count(pairs.where(self._inside(pairs, error, exact)))
        near = pairs.squared <= self._balls.widest[pairs.columns] + error
        if self._queries.halves is not None and self._centres.halves is not None and near.any():
            self._count_in_halves(
                pairs.where(near), error[near], self._queries.halves, self._centres.halves
            )

    def _inside(
        self, pairs: Pairs, error: np.ndarray, exact: Callable[[Pairs], np.ndarray]
    ) -> np.ndarray:
        radii = self._balls.radii[pairs.columns]
        inside = pairs.squared < radii - error
        unclear = self.unclear(pairs, error)
        squared, border = exact(pairs.where(unclear)), radii[unclear]
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


def _pairs_in_halves(
    inside: np.ndarray, pairs: Pairs, queries: Halves, centres: Halves
) -> np.ndarray:
    """Return how many pairs of images (B,) the pairs of rows ``inside`` (W, P) stand for."""
    chosen = unpack(inside, queries.draws)
    if len(queries.members) == len(centres.members) == 1:
        return np.asarray(chosen.sum(0))
    weights = queries.counts[:, pairs.rows] * centres.counts[:, pairs.columns]
    return np.asarray((chosen * weights.T).sum(0))
