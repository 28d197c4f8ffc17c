"""Squared distances between the rows of two sets: from products, and exactly for pairs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.pairs.points import Points, packed
from evaluation.metrics.pairs.tiles import Tile, products

DOUBLE = 2.0**-53  # the rounding unit of float64
TOGETHER = 128  # pairs whose differences are held at once, of a size that stays in cache


@dataclass(frozen=True)
class Pairs:
    """Pairs of positions (P,) with their squared distances, as rounded as the products are."""

    rows: np.ndarray
    columns: np.ndarray
    squared: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, chosen: np.ndarray | slice) -> "Pairs":
        """Return the chosen ones, by mask, by index or in a row."""
        return Pairs(self.rows[chosen], self.columns[chosen], self.squared[chosen])

    def nearer(self, limits: np.ndarray, part: slice = slice(0, None)) -> "Pairs":
        """Return the pairs nearer than the squared limits of their rows, which are in ``part``."""
        return self.where(self.squared < limits[self.rows - part.start])

    def swapped(self) -> "Pairs":
        """Return the pairs seen from the other side."""
        return Pairs(self.columns, self.rows, self.squared)


def join(parts: list[Pairs]) -> Pairs:
    """Return all pairs of several lists in one."""
    return Pairs(
        np.concatenate([part.rows for part in parts] or [np.zeros(0, np.int32)]),
        np.concatenate([part.columns for part in parts] or [np.zeros(0, np.int32)]),
        np.concatenate([part.squared for part in parts] or [np.zeros(0)]),
    )


class SquaredDistances:
    """Squared distances of the rows of ``a`` and ``b`` from their products.

    Copies of a row (see ``Points.groups``) are infinitely far, so that each row counts once; so
    is a row from itself.
    """

    def __init__(self, a: Points, b: Points) -> None:
        self.a, self.b = a, b
        self._difference = (a.centres[a.own].double() - b.centres[b.own].double()).cpu().numpy()
        self._gap = float(self._difference @ self._difference)
        self._rows = a.norms + 2 * _towards(a, b) + self._gap / 2
        self._columns = b.norms + 2 * _towards(b, a) + self._gap / 2
        dtype, device = a.centres.dtype, a.centres.device
        self._row_terms = _unless_copy(a, self._rows).to(device, dtype)[:, None]
        self._column_terms = _unless_copy(b, self._columns).to(device, dtype)
        dim = a.centres.shape[1]
        # Rounding errors of a product of D terms grow as √D (Higham and Mary, 2019).
        self._growth = min(dim, 4 * dim**0.5) + 2

    def of(self, tile: Tile) -> Tensor:
        """Return the squared distances (n, m) of a tile, in the tile's space."""
        out, _ = tile.space.like(tile.products)
        torch.add(self._row_terms[tile.rows], tile.products, alpha=-2, out=out)
        out += self._column_terms[tile.columns]
        return out.fill_diagonal_(torch.inf) if tile.diagonal else out

    def pairs_nearer(
        self, squared: Tensor, tile: Tile, row_limits: np.ndarray, column_limits: np.ndarray
    ) -> Pairs:
        """Return the pairs nearer than the squared limit of their row (n,) or their column (m,)."""
        _, limit = tile.space.like(squared)
        rows, columns = (torch.from_numpy(each).to(limit) for each in (row_limits, column_limits))
        torch.maximum(rows[:, None], columns, out=limit)
        limit.gt_(squared)  # in place and as floats: several times faster than into booleans
        places = _true_places(limit.to(torch.bool))
        row, column = np.divmod(places, squared.shape[1])
        found = squared.view(-1)[torch.from_numpy(places).to(squared.device)].cpu().numpy()
        return Pairs(
            rows=(row + tile.rows.start).astype(np.int32),
            columns=(column + tile.columns.start).astype(np.int32),
            squared=np.maximum(found, 0),
        )

    def precise_tile(self, rows: np.ndarray | slice, columns: np.ndarray | slice) -> np.ndarray:
        """Return the squared distances (n, m) from products in float64."""
        x, y = self.a.centred_rows(rows).cpu().numpy(), self.b.centred_rows(columns).cpu().numpy()
        squared = -2 * (x @ y.T)
        squared += (np.einsum("ij,ij->i", x, x) + 2 * (x @ self._difference))[:, None]
        squared += np.einsum("ij,ij->i", y, y) - 2 * (y @ self._difference) + self._gap
        return np.asarray(np.maximum(squared, 0))

    def precise(self, pairs: Pairs, tile: Tile) -> Pairs:
        """Return pairs of a tile with squared distances from products in float64."""
        squared = self.precise_tile(tile.rows, tile.columns)
        places = pairs.rows - tile.rows.start, pairs.columns - tile.columns.start
        return Pairs(pairs.rows, pairs.columns, squared[places])

    def strip(self, rows: np.ndarray, *, precise: bool) -> np.ndarray:
        """Return the squared distances (n, M) of some rows to all columns.

        They come from products in float64 if they are to be ``precise``.
        """
        parts = [block for block, _ in self.b.blocks]
        if precise:
            squared = np.concatenate([self.precise_tile(rows, part) for part in parts], axis=1)
        else:
            left = packed(self.a.rows(rows) - self.a.centres[self.a.own])
            dots = torch.cat([products(left, right) for _, right in self.b.blocks], dim=1)
            terms = self._rows[rows][:, None] + self._columns
            squared = np.maximum(terms - 2 * dots.cpu().numpy(), 0)
        squared[:, self.b.copies == 0] = np.inf
        if self.a is self.b:
            squared[np.arange(len(rows)), rows] = np.inf
        return np.asarray(squared)

    def exact(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the squared distances (P,) of pairs as sums of squared differences in float64."""
        squared = np.empty(len(rows))
        for start in range(0, len(rows), TOGETHER):
            part = slice(start, start + TOGETHER)
            difference = self.a.rows(rows[part]).double() - self.b.rows(columns[part])
            flat = difference.cpu().numpy()
            squared[part] = np.einsum("ij,ij->i", flat, flat)
        return squared

    def error(self, rows: np.ndarray, columns: np.ndarray, unit: float | None = None) -> np.ndarray:
        """Return a bound (P,) on the rounding error of the squared distances of pairs."""
        lengths = np.sqrt(self.a.norms[rows]), np.sqrt(self.b.norms[columns])
        return self._bound(*lengths, self.a.unit if unit is None else unit)

    def error_within(self, norms: np.ndarray, squared: np.ndarray) -> np.ndarray:
        """Return a bound on the error of any pair that has one of these norms and distances."""
        lengths = np.sqrt(norms)
        return self._bound(lengths, lengths + np.sqrt(squared) + self._gap**0.5, self.a.unit)

    def _bound(self, x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
        """Bound the errors for rows of lengths x and y: of their product, and of the rest."""
        rest = (x + y + self._gap**0.5) ** 2
        errors = unit * (2 * self._growth * x * y + 8 * rest) + DOUBLE * 2 * self._growth * rest
        return np.asarray(errors)


def _towards(a: Points, b: Points) -> np.ndarray:
    """Return ⟨x - mean of a, mean of a - mean of b⟩ for the rows x of ``a``."""
    return np.asarray(a.projections[:, a.own] - a.projections[:, b.own])


def _unless_copy(points: Points, terms: np.ndarray) -> Tensor:
    return torch.from_numpy(np.where(points.copies > 0, terms, np.inf))


def _true_places(mask: Tensor) -> np.ndarray:
    if mask.device.type == "cpu":
        return np.flatnonzero(mask.numpy())
    return mask.view(-1).nonzero()[:, 0].cpu().numpy()
