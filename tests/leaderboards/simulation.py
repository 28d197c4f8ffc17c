"""Boards of known truth: how often what they say of ranks is wrong, and how much they find."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leaderboards.statistics.separation import Ranks, rank_ranges
from leaderboards.statistics.spread import Seed, estimates, scale_of

Floats = npt.NDArray[np.float64]

TIED = np.full(8, 4.0)
TWICE = np.array([2.0, 4, 6, 8, 10, 12, 14, 16])  # the second is twice as bad as the first
BEHIND = np.array([2.0, 4, 4, 4, 4, 4, 4, 4])
BESIDE = np.array([2.0, 4, 2, 2, 2, 2, 2, 2])
EQUAL = (1.0,) * 8
UNEQUAL = (1.0, 2.0) * 4  # standard deviations of rows, as multiples
THREEFOLD = (1.0, 3.0) * 4


@dataclass(frozen=True)
class Spread:
    """How the seeds of a row differ: normal, or by log-normal factors."""

    kind: str  # "normal" or "log-normal"
    sd: float  # of the value, or of its logarithm
    multiples: tuple[float, ...] = EQUAL

    def draw(self, rng: np.random.Generator, means: Floats, seeds: int) -> Floats:
        """Return (R, seeds) values of rows with these means (R,)."""
        noise = self.sd * np.array(self.multiples)[:, None]
        noise = noise * rng.standard_normal((len(means), seeds))
        if self.kind == "normal":
            return means[:, None] + noise
        return means[:, None] * np.exp(noise)


@dataclass(frozen=True)
class Outcome:
    """Shares of boards. A tie of the truth counts as wrong whenever its rows are told apart."""

    wrong_leader: float  # a row that is truly first is said to be surely behind
    wrong_range: float  # any row's true rank lies outside its range
    told_apart: float  # the second row is said to be surely behind the first


def outcome(spread: Spread, means: Floats, seeds: int, *, boards: int, seed: int = 0) -> Outcome:
    """Return what boards say of rows with these true means, smaller being better.

    One seed knows the spread as the error of its images; of more, nothing but the seeds is known.
    """
    best = 1 + (means[None] < means[:, None]).sum(1)
    worst = len(means) - (means[None] > means[:, None]).sum(1)
    leader, ranges, apart = 0, 0, 0
    for found in _boards(spread, means, seeds, boards=boards, seed=seed):
        low, high = np.array([(ranks.low, ranks.high) for ranks in found]).T
        leader += bool((low[best == 1] > 1).any())
        ranges += bool(((low > best) | (high < worst)).any())
        apart += bool(low[1] > 1)
    return Outcome(leader / boards, ranges / boards, apart / boards)


def _boards(
    spread: Spread, means: Floats, seeds: int, *, boards: int, seed: int
) -> Iterator[list[Ranks]]:
    rng = np.random.default_rng(seed)
    errors = [spread.sd * multiple if seeds == 1 else None for multiple in spread.multiples]
    for _ in range(boards):
        drawn = spread.draw(rng, means, seeds)
        rows = [[Seed(float(x), e) for x in row] for row, e in zip(drawn, errors, strict=True)]
        yield rank_ranges(estimates(rows, scale_of(rows)))


def most(share: float, boards: int) -> float:
    """Return a share and three of its standard errors over so many boards."""
    return share + 3 * math.sqrt(share * (1 - share) / boards)
