"""Distances to the k-th nearest neighbour, exact where it matters."""

import numpy as np

from evaluation.metrics.pairs.distances import DOUBLE, SquaredDistances
from evaluation.metrics.pairs.nearest import NeighbourLists, first_sorted, together


class Radii:
    """Squared distances from each of N rows to its k-th nearest other row of the same set.

    Copies count. ``values`` (N,) are right within ``errors`` (N,), which are 0 where the values
    have been made exact; both are 0 at rows that stand for no group.
    """

    def __init__(self, distances: SquaredDistances, lists: NeighbourLists, k: int) -> None:
        self._distances, self._lists = distances, lists
        points = distances.a
        self._ranks = k + 1 - points.copies  # a row's own copies come first, at distance 0
        self.values, self.errors = np.zeros(points.count), np.zeros(points.count)
        rows = np.flatnonzero((points.copies > 0) & (self._ranks > 0))
        if not len(rows):
            return
        squared, weights = self._listed(rows)
        last = squared[:, -1]
        self.values[rows] = _at_rank(squared, weights, self._ranks[rows])
        self.errors[rows] = distances.error_within(points.norms[rows], last)
        if squared.shape[1] < len(points.single) - 1:  # there are others beyond the lists
            self._search_anew(rows[self.values[rows] + 2 * self.errors[rows] >= last])

    def make_exact(self, rows: np.ndarray) -> None:
        """Make the values of these rows sums of squared differences in float64."""
        rows = np.unique(rows[self.errors[rows] > 0])
        if not len(rows):
            return
        squared, weights = self._listed(rows)
        near = np.abs(squared - self.values[rows, None]) <= 2 * self.errors[rows, None]
        row, place = np.nonzero(near)
        squared[row, place] = self._distances.exact(
            rows[row], self._lists.positions[rows[row], place]
        )
        ordered = first_sorted(squared, weights, squared.shape[1])
        self.values[rows] = _at_rank(*ordered, self._ranks[rows])
        self.errors[rows] = 0

    def _listed(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the lists of rows (n, L), and how often each listed row occurs."""
        return self._lists.squared[rows], self._distances.a.copies[self._lists.positions[rows]]

    def _search_anew(self, rows: np.ndarray) -> None:
        """Make the values of rows exact that have too many neighbours alike for their lists."""
        for part in together(self._distances, rows):
            for row, squared in zip(part, self._distances.strip(part, precise=True), strict=True):
                self.values[row] = self._among_all(int(row), squared)
                self.errors[row] = 0

    def _among_all(self, row: int, squared: np.ndarray) -> float:
        """Return the exact value of a row from its squared distances to all others in float64."""
        copies, rank = self._distances.b.copies, int(self._ranks[row])
        others = np.flatnonzero(np.isfinite(squared))
        squared, weights = squared[others], copies[others]
        found = _at_rank(*first_sorted(squared[None], weights[None], rank), np.array([rank]))
        error = 2 * self._distances.error(np.full(len(others), row), others, unit=DOUBLE)
        near = np.abs(squared - found) <= error
        rank -= int(weights[squared < found - error].sum())
        exact = self._distances.exact(np.full(int(near.sum()), row), others[near])
        ordered = first_sorted(exact[None], weights[near][None], len(exact))
        return float(_at_rank(*ordered, np.array([rank]))[0])


def _at_rank(squared: np.ndarray, weights: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the first of each ascending row up to which the weights sum to its rank."""
    place = np.argmax(np.cumsum(weights, axis=1) >= ranks[:, None], axis=1)
    return np.take_along_axis(squared, place[:, None], axis=1)[:, 0]
