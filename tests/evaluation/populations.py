"""Populations of features with known mean and covariance, to draw sets from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.moments import Moments

Rows = np.ndarray


@dataclass(frozen=True, eq=False)
class Population:
    """Independent rows from ``draw(count, rng)``, (count, D), of known ``mean`` and ``covariance``."""

    mean: np.ndarray
    covariance: np.ndarray
    draw: Callable[[int, np.random.Generator], Rows]

    def moments(self) -> Moments:
        return Moments(count=0, mean=self.mean, covariance=self.covariance)


def distance(a: Population, b: Population) -> float:
    """Return the Fréchet distance of the populations: it has no more digits than rounding leaves."""
    return max(frechet_distance(a.moments(), b.moments()), 0.0)


def population(
    kind: str,  # "normal"; "skewed": centred exponential; "rectified": the positive part of normal
    dim: int,
    *,
    falling: bool = False,  # deviations 1, 1/√2, 1/√3, … in directions not those of the features
    shift: float = 0.0,
    scale: float = 1.0,
) -> Population:
    """Return one of the populations that intervals are tried on."""
    mixing = scale * (_falling(dim) if falling else np.eye(dim))
    covariance = mixing @ mixing.T
    if kind == "rectified":
        return _rectified(mixing, covariance, shift)

    def draw(count: int, rng: np.random.Generator) -> Rows:
        shape = count, dim
        rows = rng.normal(size=shape) if kind == "normal" else rng.exponential(size=shape) - 1
        return rows @ mixing.T + shift

    return Population(np.full(dim, shift), covariance, draw)


def _falling(dim: int) -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    product: np.ndarray = (turn / np.arange(1, dim + 1) ** 0.5) @ turn.T
    return product


def _rectified(mixing: np.ndarray, covariance: np.ndarray, shift: float) -> Population:
    """Return max(z, 0) + shift of normal z. Source: Cho & Saul, 2009, the arc-cosine kernel."""
    deviations = covariance.diagonal() ** 0.5
    scales = np.outer(deviations, deviations)
    cosine = (covariance / scales).clip(-1, 1)
    angle = np.arccos(cosine)
    second = scales * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    mean = deviations / (2 * np.pi) ** 0.5

    def draw(count: int, rng: np.random.Generator) -> Rows:
        normal: Rows = rng.normal(size=(count, len(mixing))) @ mixing.T
        return normal.clip(min=0) + shift

    return Population(mean + shift, second - np.outer(mean, mean), draw)
