"""Which generated images are farther from their nearest training image than its own nearest is."""

from dataclasses import dataclass

import numpy as np

from evaluation.metrics.pairs.distances import DOUBLE, SquaredDistances
from evaluation.metrics.pairs.halves import Halves, reached
from evaluation.metrics.pairs.nearest import NeighbourLists
from evaluation.metrics.pairs.radii import Radii


@dataclass(frozen=True)
class TrainingImages:
    """The training images: the distances within them, their nearest others, and their halves."""

    distances: SquaredDistances
    lists: NeighbourLists
    halves: Halves | None


def authentic(
    distances: SquaredDistances, lists: NeighbourLists, training: TrainingImages
) -> np.ndarray:
    """Return for each generated row (N,) whether it is authentic.

    It is, if the training row nearest to it is nearer to another training row than to it.
    ``lists`` holds the nearest training rows of each generated one, as ``distances`` measures
    from generated to training rows. Of several nearest rows the first as given counts.

    Source: Alaa et al., 2022, "How faithful is your synthetic data?", section 3.3.
    """
    rows = distances.a.single
    squared, nearest = lists.squared[rows, 0], lists.positions[rows, 0].copy()
    error = distances.error_within(distances.a.norms[rows], squared)
    rivals = (lists.squared[rows] <= (squared + 2 * error)[:, None]).sum(1)
    for place in np.flatnonzero(rivals > 1):
        nearest[place] = _nearest(distances, lists, int(rows[place]), int(rivals[place]))
    others = Radii(training.distances, training.lists, 1)
    difference = squared - others.values[nearest]
    found = difference > 0
    unclear = np.abs(difference) <= error + others.errors[nearest]
    others.make_exact(nearest[unclear])
    exact = distances.exact(rows[unclear], nearest[unclear])
    found[unclear] = exact > others.values[nearest[unclear]]
    result = np.zeros(distances.a.count, dtype=bool)
    result[rows] = found
    return result


def _nearest(distances: SquaredDistances, lists: NeighbourLists, row: int, rivals: int) -> int:
    """Return the column nearest to a row, of which its list leaves several in question."""
    columns = lists.positions[row, :rivals]
    if rivals == lists.squared.shape[1] < len(distances.b.single):
        strip = distances.strip(np.array([row]), precise=True)[0]
        every = np.flatnonzero(np.isfinite(strip))
        error = distances.error(np.full(len(every), row), every, unit=DOUBLE)
        columns = every[strip[every] <= strip.min() + 2 * error]
    exact = distances.exact(np.full(len(columns), row), columns)
    tied = columns[exact == exact.min()]
    return int(tied[np.argmin(distances.b.order[tied])])


def authentic_in_halves(lists: NeighbourLists, training: TrainingImages) -> np.ndarray:
    """Return as words (W, N) in which halves of the training rows a generated row is authentic."""
    halves = training.halves
    assert halves is not None
    edges = np.pad(training.lists.squared, ((0, 0), (1, 0)))  # first its own copies
    holds = reached(training.lists, halves, 1)
    undecided = np.full((len(holds), len(lists.squared)), np.iinfo(np.uint64).max)
    result = np.zeros_like(undecided)
    for squared, columns in zip(lists.squared.T, lists.positions.T, strict=True):
        nearest_here = undecided & (halves.members[0][:, columns] * np.isfinite(squared))
        nearer = (edges[columns] < squared[:, None]).sum(1)
        result |= nearest_here & holds[:, columns, nearer]
        undecided &= ~nearest_here
    return result
