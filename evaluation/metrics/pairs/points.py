"""Sets of features in a random order, centred, cut into blocks, with their copies found."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024  # rows of a block: a tile of products stays in cache, 4 MiB in float32
ORDER_SEED = 0  # blocks are random parts of the set, so that one speaks for all


@dataclass(frozen=True)
class Rows:
    """Features (N, D), one row per image, each row times its factor (N, 1) if there are factors."""

    features: Tensor
    factors: Tensor | None = None

    def at(self, indices: np.ndarray) -> Tensor:
        """Return a copy of the rows at these indices."""
        chosen = torch.from_numpy(indices).to(self.features.device)
        rows = self.features[chosen]
        return rows if self.factors is None else rows.mul_(self.factors[chosen])

    def mean(self) -> Tensor:
        """Return the mean row (D,)."""
        if self.factors is None:
            return self.features.mean(0)
        return (self.factors.T @ self.features)[0] / len(self.features)


def unit_rows(features: Tensor) -> Rows:
    """Return the rows divided by their Euclidean norms; a row of zeros stays."""
    norms = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=torch.float64)
    return Rows(features, torch.where(norms > 0, 1 / norms, 0).to(features.dtype))


@dataclass(frozen=True)
class Points:
    """One set of N rows of width D in a random order, centred at its mean.

    Positions count in that order. ``norms`` (N,) are the squared norms of the centred rows,
    ``projections`` (N, S) their products with the centres of all S sets that are measured
    together, ``own`` the place of this set's centre among these. ``groups`` (N,) is the position
    of the first row, as given, that is exactly the same: a row without a copy is its own group.
    """

    source: Rows
    order: np.ndarray
    blocks: tuple[tuple[slice, Tensor], ...]
    centres: Tensor
    own: int
    norms: np.ndarray
    projections: np.ndarray
    groups: np.ndarray

    @property
    def count(self) -> int:
        """N, copies included."""
        return len(self.order)

    @property
    def unit(self) -> float:
        """The rounding unit of the features' own precision."""
        return torch.finfo(self.centres.dtype).eps / 2

    @cached_property
    def copies(self) -> np.ndarray:
        """How often each row occurs (N,), counted at its group's position and 0 elsewhere."""
        return np.bincount(self.groups, minlength=self.count)

    @cached_property
    def single(self) -> np.ndarray:
        """The positions (U,) of all groups, ascending."""
        return np.flatnonzero(self.copies)

    def rows(self, positions: np.ndarray | slice) -> Tensor:
        """Return the rows at these positions, not centred."""
        return self.source.at(self.order[positions])

    def centred_rows(self, positions: np.ndarray | slice) -> Tensor:
        """Return the rows at these positions less their mean, in float64."""
        return self.rows(positions).double() - self.centres[self.own].double()


def prepare(*sets: Rows) -> list[Points]:
    """Return the sets (N, D), of one dtype and device, ready to be multiplied with each other."""
    centres = torch.stack([rows.mean() for rows in sets])
    return [_prepared(rows, centres, own) for own, rows in enumerate(sets)]


def _prepared(source: Rows, centres: Tensor, own: int) -> Points:
    order = np.random.default_rng(ORDER_SEED).permutation(len(source.features))
    norms, projections, blocks = [], [], []
    directions = torch.cat([centres.double(), _random_direction(centres)]).T.contiguous()
    for part in _parts(len(order)):
        rows = source.at(order[part]).sub_(centres[own])
        projections.append(rows.double() @ directions)
        norms.append(torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square_())
        blocks.append((part, packed(rows)))
    projected = torch.cat(projections).cpu().numpy()
    return Points(
        source=source,
        order=order,
        blocks=tuple(blocks),
        centres=centres,
        own=own,
        norms=torch.cat(norms).cpu().numpy(),
        projections=projected[:, :-1],
        groups=_groups(source, order, projected[:, -1]),
    )


def _parts(count: int) -> Iterator[slice]:
    """Yield slices of about equal length, none longer than a block."""
    bounds = np.linspace(0, count, -(-count // BLOCK) + 1).astype(int)
    for start, stop in pairwise(bounds.tolist()):
        yield slice(start, stop)


def _random_direction(centres: Tensor) -> Tensor:
    direction = np.random.default_rng(ORDER_SEED).standard_normal((1, centres.shape[1]))
    return torch.from_numpy(direction).to(centres.device)


def _groups(source: Rows, order: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return for each position that of the first row, as given, which is exactly the same.

    ``keys`` (N,) of equal rows are equal but for rounding.
    """
    groups = np.arange(len(order))
    ranked = np.argsort(keys, kind="stable")
    near = np.diff(keys[ranked]) <= 1e-12 * np.abs(keys).max(initial=0)
    alike = ranked[np.append(near, False) | np.insert(near, 0, False)]
    first: dict[bytes, int] = {}
    for position in alike[np.argsort(order[alike])]:
        row = source.at(order[[position]]).cpu().numpy() + 0.0  # so that -0 equals 0
        groups[position] = first.setdefault(blake2b(row.tobytes()).digest(), position)
    return groups


def packed(rows: Tensor) -> Tensor:
    """Return the block as the library takes it that multiplies it fastest.

    In float32 oneDNN has about twice the speed of PyTorch's other library on AMD's AVX-512 and
    three quarters of it on AVX2.
    """
    on_processor = rows.device.type == "cpu" and rows.dtype == torch.float32
    narrow = torch.backends.cpu.get_cpu_capability() == "AVX2"
    packs = on_processor and not narrow and torch.backends.mkldnn.is_available()
    return rows.to_mkldnn() if packs else rows
