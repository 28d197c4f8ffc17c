"""A mixture of Gaussians fitted to a trained VAE's codes, to draw from in place of its prior.

Ghosh et al., 2020, "From variational to deterministic autoencoders", section 4 (ex-post density
estimation): ten Gaussians of full covariance. Deviations: one mixture for each class, since the
decoders are class-conditional; fitted to draws from the posteriors rather than to their means, so
that the decoder meets what it was trained on; fewer Gaussians for classes of few images.

How any VAE with codes (N, D) uses it, a hierarchical one for its top latent:

1. It has a network `"mixture": LatentMixture(dim, components, classes)` among its
   `sampling_networks`, and `clear`s it in `begin`.
2. Its `finish` calls `averages["mixture"].fit` with pairs of codes and labels.
3. Its `sample` calls `networks["mixture"].draw` where the sampler is a `GMMSampler`.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from generators.algorithm.noise import NoiseSource
from generators.specs.options import ConfigError

MOST_CODES = 50_000  # per class; more say nothing new of its density
MOST_NUMBERS = 2**24  # in all covariances: classes are many, then each has fewer Gaussians
LEAST_VARIANCE = 1e-4  # added to that of each direction
ITERATIONS = 100


class LatentMixture(nn.Module):
    """Buffers for one mixture per class; all weights are 0 until it is fitted."""

    weights: Tensor  # (classes, K)
    means: Tensor  # (classes, K, D)
    factors: Tensor  # (classes, K, D, D), the lower Cholesky factors of the covariances

    def __init__(self, dim: int, components: int, num_classes: int) -> None:
        """Make room for the mixtures.

        Args:
            dim: D, of the codes.
            components: Gaussians per class, at most; 0 = there is no mixture.
            num_classes: mixtures; 1 for an unconditional model.
        """
        super().__init__()
        room = max(1, MOST_NUMBERS // (num_classes * dim**2))
        kept = min(components, room)
        self.register_buffer("weights", torch.zeros(num_classes, kept))
        self.register_buffer("means", torch.zeros(num_classes, kept, dim))
        self.register_buffer("factors", torch.zeros(num_classes, kept, dim, dim))

    def clear(self) -> None:
        """Forget what was fitted."""
        self.weights.zero_()

    @torch.no_grad()
    def fit(self, codes: Iterable[tuple[Tensor, Tensor | None]], seed: int) -> None:
        """Fit each class's mixture to its codes; a class without any gets the standard normal.

        Args:
            codes: batches of codes (N, D) with their labels, (N,) int64 or None.
            seed: all randomness follows from it.
        """
        num_classes, most = self.weights.shape
        if most == 0:
            return
        points, labels = _joined(codes)
        for label in range(num_classes):
            own = points if labels is None else points[labels == label]
            weights, means, factors = _fitted(own, most, seed)
            count = len(weights)
            self.weights[label].zero_()
            self.weights[label, :count] = torch.from_numpy(weights)
            self.means[label, :count] = torch.from_numpy(means)
            self.factors[label, :count] = torch.from_numpy(factors)

    def draw(self, labels: Tensor, noise: NoiseSource, temperature: float = 1.0) -> Tensor:
        """Return one code per stream of noise, (N, D) float32.

        Args:
            labels: (N,) int64, zeros for an unconditional model.
            noise: all the randomness there is.
            temperature: scales the distance from the chosen Gaussian's mean.

        Raises:
            ConfigError: if nothing was fitted: the training has not come to its end.
        """
        if not bool(self.weights.any()):
            message = (
                "expected another sampler: the mixture is fitted when the training is finished"
            )
            raise ConfigError({"name": message})
        bounds = self.weights[labels].double().cumsum(1)
        level = noise.uniform(1).double() * bounds[:, -1:]
        chosen = torch.searchsorted(bounds, level, right=True).squeeze(1)
        epsilon = noise.normal(self.means.shape[2])
        offset = torch.einsum("nij,nj->ni", self.factors[labels, chosen], epsilon)
        return self.means[labels, chosen] + temperature * offset


def _joined(codes: Iterable[tuple[Tensor, Tensor | None]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return all codes, (N, D) float64, and their labels, if they have any."""
    batches = list(codes)
    points = np.concatenate([batch.double().cpu().numpy() for batch, _ in batches])
    labels = [batch.cpu().numpy() for _, batch in batches if batch is not None]
    return points, np.concatenate(labels) if labels else None


def _fitted(
    points: np.ndarray, components: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (K,), means (K, D) and Cholesky factors (K, D, D) of a fitted mixture."""
    count, dim = points.shape
    if count < 2:
        return np.ones(1), np.zeros((1, dim)), np.eye(dim)[None]
    rng = np.random.default_rng(seed)
    if count > MOST_CODES:
        points = points[rng.permutation(count)[:MOST_CODES]]
    mixture = GaussianMixture(
        max(1, min(components, len(points) // (2 * dim))),  # a covariance needs more than D codes
        covariance_type="full",
        reg_covar=LEAST_VARIANCE,
        max_iter=ITERATIONS,
        random_state=int(rng.integers(2**32)),
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # the same sums every time
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(points)
    return mixture.weights_, mixture.means_, np.linalg.cholesky(mixture.covariances_)
