"""Precision, recall, density, coverage and authenticity from nearest neighbours of features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evaluation.metrics.pairwise import Neighbours, measure_pairs
from evaluation.metrics.uncertainty import Estimate, Features, MetricResult


@dataclass(frozen=True)
class NeighbourMetrics:
    """The metrics of one pair of sets: ``results`` by name, and each as a number or None.

    A number knows its result: ``metrics.precision.interval``. Where it is None, the reason is
    ``metrics.results["precision"].reason``.
    """

    results: Mapping[str, MetricResult]

    @property
    def precision(self) -> Estimate | None:
        """The share of generated images in a ball around a real one."""
        return self._estimate("precision")

    @property
    def recall(self) -> Estimate | None:
        """The share of real images in a ball around a generated one."""
        return self._estimate("recall")

    @property
    def density(self) -> Estimate | None:
        """The mean number of balls around real images that hold a generated one, over k."""
        return self._estimate("density")

    @property
    def coverage(self) -> Estimate | None:
        """The share of real images whose ball holds a generated one."""
        return self._estimate("coverage")

    @property
    def authenticity(self) -> Estimate | None:
        """The share of generated images not too near to a training image."""
        return self._estimate("authenticity")

    def _estimate(self, name: str) -> Estimate | None:
        result = self.results[name]
        return None if result.value is None else Estimate(result)


def neighbour_metrics(
    real: Features,
    generated: Features,
    *,
    k: int,
    strict: bool = False,  # True = what lies on the border of a ball is outside
    train: Features | None = None,  # None = the real images are the training images
    normalise: bool = False,  # True = divide each row of features by its Euclidean norm
    draws: int = 50,
    seed: int = 0,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> NeighbourMetrics:
    """Return what nearest neighbours tell of real (M, D) and generated (N, D) images.

    A ball around an image reaches to its k-th nearest other image of the same set. A generated
    image is authentic if its nearest training image is nearer to another training image than to
    it. Counts are exact in float64. Standard errors are the spread over ``draws`` half-samples of
    all sets without replacement: with replacement, duplicates would shrink the balls to points.
    ``keep_going`` is called between the parts of the work and may raise to end it.

    Sources: Kynkäänniemi et al., 2019, "Improved precision and recall metric for assessing
    generative models", eq. 1-2; Naeem et al., 2020, "Reliable fidelity and diversity metrics for
    generative models", eq. 3-4; Alaa et al., 2022, "How faithful is your synthetic data?".

    Raises:
        ValueError: if the features are not finite (M, D) and (N, D), or k is less than 1.
    """
    neighbours = Neighbours(k=k, strict=strict, normalise=normalise, draws=draws, seed=seed)
    return NeighbourMetrics(
        measure_pairs(
            real,
            generated,
            neighbours=neighbours,
            train=train,
            level=level,
            keep_going=keep_going,
        )
    )
