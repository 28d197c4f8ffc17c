"""Random halves of sets, each set's as bits of one word, and nearest-neighbour balls in them all.

Sampling error of what depends on neighbours is the spread over halves drawn without replacement:
drawn with replacement, copies would shrink the balls to points. Bit b of a word speaks of draw b,
so that one operation settles a question in 64 draws at once.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.metrics.pairs.nearest import NeighbourLists
from evaluation.metrics.pairs.points import Points

WORD = 64  # draws per word


@dataclass(frozen=True)
class Halves:
    """Which rows of a set of N are in each of B random halves, with W words for B draws.

    ``counts`` (B, N) is how many copies of a row are in the half, at the first of its copies.
    ``members`` (C, W, N) has a bit set if at least one, two, … C of them are.
    """

    counts: np.ndarray
    members: np.ndarray

    @property
    def draws(self) -> int:
        """B, the number of halves."""
        return len(self.counts)

    @property
    def size(self) -> int:
        """How many images a half holds."""
        return int(self.counts[0].sum())


@dataclass(frozen=True)
class Estimated:
    """A number of the whole sets, and the same of each pair of halves (B,), if there are any."""

    value: float
    in_halves: np.ndarray


def share(
    chosen: np.ndarray, copies: np.ndarray, words: np.ndarray, halves: Halves | None
) -> Estimated:
    """Return the share of images that are chosen (N,), and in halves as ``words`` (W, N) say."""
    value = float((chosen * copies).sum() / copies.sum())
    if halves is None:
        return Estimated(value, np.zeros(0))
    counts = (unpack(words, halves.draws).T * halves.counts).sum(1)
    return Estimated(value, counts / halves.size)


def draw_halves(points: Points, draws: int, rng: np.random.Generator, *, copies: int) -> Halves:
    """Return ``draws`` random halves, without replacement; of copies, count up to ``copies``."""
    counts = np.zeros((draws, points.count), dtype=np.int32)
    for count in counts:
        mask = np.zeros(points.count, dtype=bool)
        mask[rng.permutation(points.count)[: points.count // 2]] = True
        count += np.bincount(points.groups[mask[points.order]], minlength=points.count)
    levels = range(1, max(min(copies, int(points.copies.max())), 1) + 1)
    return Halves(counts=counts, members=np.stack([pack(counts >= level) for level in levels]))


def pack(mask: np.ndarray) -> np.ndarray:
    """Return booleans (B, N) as words (W, N)."""
    draws, count = mask.shape
    words = -(-draws // WORD)
    octets = np.zeros((count, words * WORD // 8), dtype=np.uint8)
    octets[:, : -(-draws // 8)] = np.packbits(mask, axis=0, bitorder="little").T
    return np.ascontiguousarray(octets.view("<u8").T)


def unpack(words: np.ndarray, draws: int) -> np.ndarray:
    """Return words (W, N) as booleans (N, B)."""
    octets = np.ascontiguousarray(words.T).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=draws, bitorder="little").astype(bool)


def reached(lists: NeighbourLists, halves: Halves, k: int) -> np.ndarray:
    """Return whether the first P neighbours of a row hold k members of a half, as words (W, N, P).

    P runs from 0 to L + 1: first come the other copies of the row itself, then its list.
    """
    _, words, count = halves.members.shape
    length = lists.squared.shape[1]
    at_least = np.zeros((k + 1, words, count), dtype=np.uint64)  # 0, 1, … k members so far
    at_least[0] = np.iinfo(np.uint64).max
    result = np.zeros((words, count, length + 2), dtype=np.uint64)
    for place in range(length + 1):
        here = (
            halves.members[1:]
            if place == 0
            else halves.members[:, :, lists.positions[:, place - 1]]
            * np.isfinite(lists.squared[:, place - 1])
        )
        for member in here[:k]:
            at_least[1:] |= at_least[:-1] & member
        result[:, :, place + 1] = at_least[k]
    return result
