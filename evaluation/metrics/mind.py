"""MIND, the Monge Inception Distance: a scaled sliced Wasserstein distance of features."""

from collections.abc import Callable
from dataclasses import replace

from evaluation.metrics.sliced_wasserstein import random_directions, squared_distance
from evaluation.metrics.uncertainty import Features, MetricResult, as_row_pair, undefined


def mind(
    real: Features,
    generated: Features,
    *,
    projections: int = 1000,
    seed: int = 2020,
    groups: int = 20,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return MIND = 3D · SW_2² of real (M, D) and generated (N, D) features.

    SW_2² is the mean over random unit directions u of W_2² between ⟨u, x⟩ and ⟨u, y⟩. The factor
    3D brings it near the scale of the Fréchet distance: a shift by δ costs about 3‖δ‖².

    ``corrected`` and interval are those of ``squared_distance``, times 3D.

    Source: Berthet et al., 2026, "MIND: Monge Inception Distance for generative models evaluation".
    With the defaults the value is that of torch-fidelity 0.5 for sets of equal size, up to its
    float32. Deviation: of sets of unequal size all images are used, by exact transport, where
    torch-fidelity takes a random part of the larger one.

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D).
    """
    y, x = as_row_pair(real, generated)
    if min(len(x), len(y)) == 0:
        return undefined(f"needs at least 1 image on each side, got {len(x)} and {len(y)}")
    dim = x.shape[1]
    directions = random_directions(projections, dim, seed=seed)
    return _scaled(
        squared_distance(y, x, directions, groups=groups, level=level, keep_going=keep_going),
        3.0 * dim,
    )


def _scaled(result: MetricResult, factor: float) -> MetricResult:
    def times(number: float | None) -> float | None:
        return None if number is None else factor * number

    interval = result.interval
    return replace(
        result,
        value=times(result.value),
        corrected=times(result.corrected),
        standard_error=times(result.standard_error),
        interval=None if interval is None else (factor * interval[0], factor * interval[1]),
    )
