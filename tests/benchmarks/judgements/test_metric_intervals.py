"""How often the intervals of single metrics hold what they are of, by simulation.

What that is: the distance to this very reference (fd, mind), the populations' value (kd, is, class_kl,
vendi), or what sets of these sizes give on average (precision, recall, density, coverage).
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from evaluation.metrics.classes import class_divergence
from evaluation.metrics.frechet import frechet_distance, measure_frechet, reference_gaussian
from evaluation.metrics.inception_score import inception_score_from_logits
from evaluation.metrics.kernel_distance import kernel_distance
from evaluation.metrics.moments import Moments
from evaluation.metrics.neighbours import neighbour_metrics
from evaluation.metrics.uncertainty import MetricResult
from evaluation.metrics.vendi import vendi_score
from tests.evaluation.populations import population

DIM, COUNT, DRAWS, MANY = 16, 500, 200, 200_000
SHARES = ("precision", "recall", "density", "coverage")
Results = Mapping[str, list[MetricResult]]


@pytest.fixture(scope="module", params=["normal", "skewed"])
def simulated(request: pytest.FixtureRequest) -> tuple[Results, dict[str, float]]:
    """Return the results of all draws, and the truth where it is known beforehand."""
    x = population(request.param, DIM, falling=True, shift=0.1, scale=1.1)
    y = population(request.param, DIM, falling=True)
    rng = np.random.default_rng(0)
    reference = y.draw(COUNT, rng)
    gaussian, large = reference_gaussian(reference), x.draw(MANY, rng)
    found: dict[str, list[MetricResult]] = {}
    for _ in range(DRAWS):
        a, b = x.draw(COUNT, rng), y.draw(COUNT, rng)
        each = {
            "fd": measure_frechet(a, gaussian),
            "kd": kernel_distance(b, a),
            "is": inception_score_from_logits(logits(a)),
            "class_kl": class_divergence(logits(a), logits(reference)),
            "vendi": vendi_score(a),
            **shares(b, a),
        }
        for name, result in each.items():
            found.setdefault(name, []).append(result)
    truth = {
        "fd": frechet_distance(x.moments(), Moments.from_features(reference)),
        "is": inception_score_from_logits(logits(large)).value or 0.0,
        "class_kl": class_divergence(logits(large), logits(reference)).value or 0.0,
        "vendi": vendi_score(large).value or 0.0,
    }
    # Unbiased, and known from no closed form: the mean over the draws is the truth to a tenth of
    # one error.
    for name in ("kd", *SHARES):
        truth[name] = float(np.mean([result.value for result in found[name]]))
    return found, truth


def logits(rows: np.ndarray) -> torch.Tensor:
    """Return scores of five classes, linear in the features."""
    return torch.from_numpy(2 * rows @ np.random.default_rng(1).normal(size=(DIM, 5)) / DIM**0.5)


def shares(real: np.ndarray, generated: np.ndarray) -> dict[str, MetricResult]:
    found = neighbour_metrics(real, generated, k=3)
    return {name: getattr(found, name).result for name in SHARES}


@pytest.mark.parametrize("name", ["fd", "kd", "is", "class_kl", "vendi", *SHARES])
def test_the_interval_holds_the_truth_as_often_as_it_says(
    name: str,
    simulated: tuple[Results, dict[str, float]],
    report: Callable[[str], None],
) -> None:
    found, truth = simulated[0][name], simulated[1][name]

    given = [result.interval for result in found if result.interval is not None]
    inside = sum(low <= truth <= high for low, high in given) / len(given)

    report(
        f"  {name}: {inside:.1%} of {len(given)} intervals of {len(found)} draws hold {truth:.4g}"
    )
    assert inside >= 0.90
