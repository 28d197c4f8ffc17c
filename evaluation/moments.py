"""Mean and covariance of features, in a form whose parts can be taken out again."""

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 4096  # images centred at a time


@dataclass(frozen=True)
class Moments:
    """Count, mean (D,) and unbiased covariance (D, D; ddof 1) of a feature set, float64."""

    count: int
    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class MomentSums:
    """Sums over images, relative to a fixed ``centre`` (D,); sums of disjoint sets add up.

    ``first``: (D,), sum of x - centre. ``second``: (D, D), sum of its outer products.
    """

    centre: Tensor
    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, features: Tensor, centre: Tensor) -> "MomentSums":
        """Return the sums over the rows of ``features``, (N, D) float64."""
        first = torch.zeros_like(centre)
        second = first.new_zeros(len(centre), len(centre))
        for chunk in features.split(CHUNK):
            # A centre near the data: uncentred sums of squares cancel when the mean is large.
            x = chunk - centre
            first += x.sum(0)
            second += x.T @ x
        return cls(centre=centre, count=len(features), first=first, second=second)

    def without(self, part: "MomentSums") -> "MomentSums":
        """Return the sums over the images that are not in ``part``, which has the same centre."""
        return MomentSums(
            centre=self.centre,
            count=self.count - part.count,
            first=self.first - part.first,
            second=self.second - part.second,
        )

    def moments(self) -> Moments:
        """Return the moments.

        Raises:
            ValueError: if fewer than two images were seen.
        """
        if self.count < 2:
            raise ValueError(f"expected at least 2 images, got {self.count}")
        offset = self.first / self.count
        scatter = self.second - self.count * torch.outer(offset, offset)
        return Moments(
            count=self.count, mean=self.centre + offset, covariance=scatter / (self.count - 1)
        )


def centred_rows(features: Tensor) -> Tensor:
    """Return A (N, D) with AᵀA equal to the covariance of ``features``, (N, D) float64."""
    scale: float = (len(features) - 1) ** 0.5
    return (features - features.mean(0)) / scale
