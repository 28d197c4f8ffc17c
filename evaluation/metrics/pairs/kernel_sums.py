"""Sums of a polynomial kernel over all pairs, and the squared MMD with its error from them."""

from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.pairs.points import Points
from evaluation.metrics.pairs.tiles import Tile
from evaluation.metrics.uncertainty import MetricResult, normal_quantile

MIN_IMAGES = 50  # fewer on a side: the statistic is not near enough to normal for an interval
ROUNDING = 1e-12


@dataclass(frozen=True)
class Kernel:
    """The kernel (gamma ⟨x, y⟩ + coef0)^degree; gamma is 1 / D unless given."""

    degree: int = 3
    gamma: float | None = None
    coef0: float = 1.0

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise ValueError(f"expected a kernel of degree at least 1, got {self.degree}")

    def scale(self, dim: int) -> float:
        """Return gamma for features of width ``dim``."""
        return 1 / dim if self.gamma is None else self.gamma


@dataclass(frozen=True)
class TileSums:
    """Sums of the kernel of a tile's pairs: by row (n,), by column (m,), and of squares."""

    rows: slice
    columns: slice
    by_row: Tensor
    by_column: Tensor
    squares: Tensor


class KernelSums:
    """Sums of the kernel matrix (N, M) of two sets, by row, by column, and of its squares.

    Tiles are summed in the precision of the features, their sums in float64. What is summed is
    the kernel less its value between the two means, so that a common offset of the features
    costs no digits. Within one set the diagonal is left out.
    """

    def __init__(self, kernel: Kernel, a: Points, b: Points) -> None:
        dtype, device = a.centres.dtype, a.centres.device
        self._degree, self._gamma = kernel.degree, kernel.scale(a.centres.shape[1])
        self._symmetric = a is b
        between = a.centres[a.own].double() @ b.centres[b.own].double()
        self._middle = self._gamma * float(between) + kernel.coef0
        self._coefficients = [
            comb(kernel.degree, power) * self._middle ** (kernel.degree - power)
            for power in range(kernel.degree - 1, 0, -1)
        ]
        rows, columns = a.projections[:, b.own], b.projections[:, a.own]
        self._row_terms = torch.from_numpy(self._gamma * rows).to(device, dtype)[:, None]
        self._column_terms = torch.from_numpy(self._gamma * columns).to(device, dtype)
        self._rows = torch.zeros(a.count, dtype=torch.float64, device=device)
        self._columns = self._rows if a is b else self._rows.new_zeros(b.count)
        self._squares = self._rows.new_zeros(())

    def of(self, tile: Tile) -> "TileSums":
        """Return the sums of a tile's pairs."""
        kernel = self._kernel(tile)
        norms = torch.linalg.vector_norm(kernel, dim=1).double()
        return TileSums(tile.rows, tile.columns, kernel.sum(1), kernel.sum(0), norms @ norms)

    def add(self, tile: "TileSums") -> None:
        """Add the sums of a tile, twice if it stands for the one that mirrors it, too."""
        self._rows[tile.rows] += tile.by_row
        twice = self._symmetric and tile.rows != tile.columns
        if twice or not self._symmetric:
            self._columns[tile.columns] += tile.by_column
        self._squares += tile.squares * (2 if twice else 1)

    def _kernel(self, tile: Tile) -> Tensor:
        """Return (middle + w)^degree - middle^degree of a tile's pairs by Horner's rule in w."""
        w, out = tile.space.like(tile.products)
        torch.add(self._row_terms[tile.rows], tile.products, alpha=self._gamma, out=w)
        w += self._column_terms[tile.columns]
        if not self._coefficients:
            out = w
        else:
            torch.add(w, self._coefficients[0], out=out)
            for coefficient in self._coefficients[1:]:
                torch.addcmul(w.new_tensor(coefficient), out, w, out=out)
            out.mul_(w)
        if tile.diagonal:
            out.fill_diagonal_(0)
        return out

    def matrix(self) -> "KernelMatrix":
        """Return what the sums say of the kernel matrix."""
        n, m = len(self._rows), len(self._columns)
        pairs = n * (n - 1) if self._symmetric else n * m
        return KernelMatrix(
            rows=self._rows.cpu().numpy() * n / pairs,
            columns=self._columns.cpu().numpy() * m / pairs,
            square=float(self._squares) / pairs,
            pairs=pairs,
            middle=self._middle**self._degree,
        )


@dataclass(frozen=True)
class KernelMatrix:
    """Means of a kernel matrix less ``middle``: by row (N,), by column (M,), and of squares."""

    rows: np.ndarray
    columns: np.ndarray
    square: float
    pairs: int
    middle: float

    @property
    def mean(self) -> float:
        """The mean over all pairs, less ``middle``."""
        return float(self.rows.mean())

    @property
    def interaction(self) -> float:
        """The variance that neither the row nor the column of an entry explains."""
        unexplained = self.square - self.mean**2 - self.rows.var() - self.columns.var()
        return max(float(unexplained), 0.0)


def squared_mmd(
    x: KernelMatrix,
    y: KernelMatrix,
    between: KernelMatrix,
    *,
    level: float,
) -> MetricResult:
    """Return the unbiased MMD² of x and y from their kernel matrices over all pairs."""
    value = x.mean + y.mean - 2 * between.mean + (x.middle + y.middle - 2 * between.middle)
    error = _variance(x, y, between) ** 0.5
    few = min(len(x.rows), len(y.rows))
    if few < MIN_IMAGES:
        reason = f"no interval: {few} images on one side are fewer than {MIN_IMAGES}"
        return MetricResult(value, value, error, reason=reason)
    if error <= ROUNDING * abs(value):
        reason = "no interval: all images are alike, so the spread is unknown"
        return MetricResult(value, value, error, reason=reason)
    half_width = normal_quantile(level) * error
    return MetricResult(
        value=value,
        corrected=value,
        standard_error=error,
        interval=(value - half_width, value + half_width),
    )


def _variance(x: KernelMatrix, y: KernelMatrix, between: KernelMatrix) -> float:
    """Return the variance of MMD²: 4 Var h_x / n + 4 Var h_y / m with the second-order terms.

    Means over finite rows inflate the first-order part by twice the second-order one, so the
    unbiased sum of both is their difference; sets that are alike have the second-order part only.
    """
    h_x, h_y = x.rows - between.rows, y.rows - between.columns
    first = 4 * h_x.var(ddof=1) / len(h_x) + 4 * h_y.var(ddof=1) / len(h_y)
    second = (
        2 * x.interaction / x.pairs
        + 2 * y.interaction / y.pairs
        + 4 * between.interaction / between.pairs
    )
    return float(max(first - second, second))
