"""Mean and covariance of features, in float64, from sums that add up and can be taken out again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor

from evaluation.metrics.uncertainty import Features, as_rows

CHUNK = 1024  # images widened to float64 and centred at a time; 16 MiB if D is 2048


@dataclass(frozen=True, eq=False, init=False)
class Moments:
    """Mean (D,) and unbiased covariance (D, D; ddof 1) of ``count`` images' features, float64.

    ``count`` is 0 if it is not known. Arrays and tensors of any number type are taken. ``rows`` is
    A (N, D) with AᵀA equal to the covariance; it is kept where N <= D, because a covariance
    without full rank says less, in float64, than the rows that it is made of.

    Raises:
        ValueError: if the shapes do not fit together or a value is not finite.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    rows: Tensor | None

    def __init__(
        self, count: int, mean: Features, covariance: Features, rows: Tensor | None = None
    ) -> None:
        mean, covariance = _as_float64(mean), _as_float64(covariance)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                "expected a mean of shape (D,) and a covariance of shape (D, D), "
                f"got {tuple(mean.shape)} and {tuple(covariance.shape)}"
            )
        if not (bool(mean.isfinite().all()) and bool(covariance.isfinite().all())):
            raise ValueError("expected finite moments, got NaN or infinity")
        fields = {"count": count, "mean": mean, "covariance": covariance, "rows": rows}
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # frozen for everyone else

    @classmethod
    def from_features(cls, features: Features) -> "Moments":
        """Return the moments of ``features``, (N, D), float32 or float64, one row per image.

        Raises:
            ValueError: if they are not finite (N, D) with N of at least 2.
        """
        x = as_rows(features)
        if len(x) < 2:
            raise ValueError(f"expected at least 2 images, got {len(x)}")
        centre = x[:CHUNK].mean(0, dtype=torch.float64)  # near enough to the mean of all
        whole = MomentSums.of(x, centre).moments()
        if len(x) > x.shape[1]:
            return whole
        rows = (x - whole.mean) / (len(x) - 1) ** 0.5
        return cls(len(x), whole.mean, whole.covariance, rows)

    def to(self, device: torch.device) -> "Moments":
        """Return the same moments on ``device``."""
        rows = None if self.rows is None else self.rows.to(device)
        return Moments(self.count, self.mean.to(device), self.covariance.to(device), rows)


@dataclass(frozen=True, eq=False)
class MomentSums:
    """Sums over images, relative to a fixed ``centre`` (D,); sums of disjoint sets add up.

    ``first``: (D,), sum of x - centre. ``second``: (D, D), sum of its outer products. A centre
    near the data, such as the reference's mean, keeps the digits: uncentred sums of squares cancel
    when the mean is large.
    """

    centre: Tensor
    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, features: Tensor, centre: Tensor) -> "MomentSums":
        """Return the sums over the rows of ``features``, (N, D) float32 or float64."""
        return cls.streamed(features.split(CHUNK), centre)

    @classmethod
    def streamed(cls, chunks: Iterable[Tensor], centre: Tensor) -> "MomentSums":
        """Return the sums over all rows of ``chunks``, each (n, D); no more than one is held."""
        centre = centre.double()
        products = _Products(centre)
        first, count = torch.zeros_like(centre), 0
        for chunk in chunks:
            x = chunk.to(centre.device) - centre
            first += x.sum(0)
            count += len(x)
            products.add(x)
        return cls(centre=centre, count=count, first=first, second=products.total())

    def __add__(self, other: "MomentSums") -> "MomentSums":
        """Return the sums over the images of both, which have the same centre."""
        return self._with(other, 1)

    def __sub__(self, part: "MomentSums") -> "MomentSums":
        """Return the sums over the images that are not in ``part``, which has the same centre."""
        return self._with(part, -1)

    def _with(self, other: "MomentSums", sign: int) -> "MomentSums":
        assert torch.equal(self.centre, other.centre), "sums about two centres do not add up"
        return MomentSums(
            centre=self.centre,
            count=self.count + sign * other.count,
            first=self.first + sign * other.first,
            second=torch.add(self.second, other.second, alpha=sign),
        )

    def moments(self) -> Moments:
        """Return the moments.

        Raises:
            ValueError: if fewer than two images were seen.
        """
        if self.count < 2:
            raise ValueError(f"expected at least 2 images, got {self.count}")
        offset = self.first / self.count
        scatter = torch.addr(self.second, offset, offset, alpha=-self.count)
        return Moments(self.count, self.centre + offset, scatter.div_(self.count - 1))


class _Products:
    """The running sum of XᵀX, (D, D) float64; on the CPU only its half, as it is symmetric."""

    def __init__(self, like: Tensor) -> None:
        self._full = like.new_zeros(len(like), len(like))
        self._on_cpu = like.device.type == "cpu"

    def add(self, x: Tensor) -> None:
        """Add the product of ``x``, (n, D) float64."""
        if not self._on_cpu:
            self._full.addmm_(x.T, x)
        elif len(x):
            # .T: BLAS counts by column, so that its lower half is our upper one, summed in place.
            total = self._full.numpy().T
            blas.dsyrk(1.0, x.numpy().T, beta=1.0, c=total, lower=True, overwrite_c=True)

    def total(self) -> Tensor:
        """Return the sum as a whole matrix."""
        return self._full + self._full.triu(1).T if self._on_cpu else self._full


def _as_float64(values: Features) -> Tensor:
    return torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values).double()
