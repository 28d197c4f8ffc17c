"""Every interval has low ≤ high, lies in its metric's range and holds the number it is of."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from evaluation.features.base import FeatureSet
from evaluation.metrics.frechet import reference_gaussian
from evaluation.metrics.uncertainty import MetricResult, clipped, wilson_interval, within
from evaluation.metrics.vendi import vendi_score
from evaluation.protocols.building import build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.metrics import METRICS, missing_needs
from evaluation.protocols.record import Protocol
from evaluation.scoring.averaging import averaged
from evaluation.scoring.measures import Scored, measure
from evaluation.scoring.of_images import OF_IMAGES
from tests.evaluation.factories import make_dataset

DIM, CLASSES = 4, 5
OF_FEATURES = [
    name
    for name, spec in METRICS.items()
    if not spec.package
    and name not in OF_IMAGES
    and not {"pairs", "labels"} & {*spec.needs}
    and not missing_needs(name, CLASSIFIER, held_out=True)
]


def assert_holds_its_estimate(
    found: MetricResult, minimum: float | None = None, maximum: float | None = None
) -> None:
    if found.interval is None:
        return
    low, high = found.interval
    assert found.estimate is not None
    assert low <= clipped(found.estimate, minimum, maximum) <= high
    assert (clipped(low, minimum, maximum), clipped(high, minimum, maximum)) == (low, high)


NUMBERS = st.floats(-10, 10)


@given(
    estimate=NUMBERS,
    below=st.floats(0, 10),
    above=st.floats(0, 10),
    ends=st.tuples(NUMBERS, NUMBERS),
)
def test_an_interval_within_a_range_holds_the_estimate_or_is_absent_with_a_reason(
    estimate: float, below: float, above: float, ends: tuple[float, float]
) -> None:
    minimum, maximum = sorted(ends)
    whole = MetricResult(1.0, estimate, interval=(estimate - below, estimate + above))

    found = within(whole, minimum=minimum, maximum=maximum)

    assert_holds_its_estimate(found, minimum, maximum)
    assert found.corrected == estimate
    beyond = estimate + above < minimum or estimate - below > maximum
    assert (found.interval is None) == bool(found.reason) == beyond


def test_an_interval_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected an interval from low to high, got 2 to 1"):
        within(MetricResult(1.5, interval=(2, 1)))


def test_an_interval_beside_its_estimate_is_absent() -> None:
    found = within(MetricResult(1.0, 5.0, 0.1, interval=(1, 2)), minimum=0)

    assert (found.interval, found.reason) == (None, "no interval: it does not hold the estimate, 5")


# --- every metric ---


def features(count: int, *, seed: int, spread: float, kinds: int) -> FeatureSet:
    """Return features around ``kinds`` centres; classes are predicted by the nearest of five."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(CLASSES, DIM))
    rows = centres[rng.integers(0, kinds, count)] + spread * rng.normal(size=(count, DIM))
    logits = -((rows[:, None] - centres) ** 2).sum(2)
    return FeatureSet(torch.from_numpy(rows).float(), torch.from_numpy(logits).float())


def protocol_of_everything(generated: int, real: int) -> Protocol:
    return build_protocol(
        make_dataset(train=real, test=200),
        extractor=CLASSIFIER,
        weights_sha256="d" * 64,
        recipe={"version": 1},
        dim=DIM,
        metrics=OF_FEATURES,
        num_images=generated,
    )


def all_measured(
    fake: FeatureSet, real: FeatureSet, held_out: FeatureSet
) -> dict[str, MetricResult]:
    scored = Scored(
        protocol=protocol_of_everything(len(fake.features), len(real.features)),
        fake=fake,
        real=real,
        held_out=held_out,
        gaussian=lambda: reference_gaussian(real.features),
    )
    found: dict[str, MetricResult] = {}
    for name in OF_FEATURES:
        if name not in found:  # some come together
            found |= measure(name, scored)
    return found


# Images that nearly coincide make fewer bins of k-means than are asked for.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    counts=st.tuples(st.integers(60, 400), st.integers(60, 400)),
    spread=st.sampled_from([1e-3, 0.5, 3.0]),
    kinds=st.tuples(st.integers(1, CLASSES), st.integers(1, CLASSES)),
)
def test_the_interval_of_every_metric_holds_its_estimate(
    seed: int, counts: tuple[int, int], spread: float, kinds: tuple[int, int]
) -> None:
    fake, real, held_out = (
        features(count, seed=seed + at, spread=spread, kinds=kind)
        for at, (count, kind) in enumerate(zip((*counts, 200), (*kinds, kinds[1]), strict=True))
    )

    found = all_measured(fake, real, held_out)

    assert {*OF_FEATURES} <= {*found}
    for name, result in found.items():
        spec = METRICS[name]
        assert_holds_its_estimate(result, spec.minimum, spec.maximum)
        assert_holds_its_estimate(averaged(name, [result, result]), spec.minimum, spec.maximum)


def test_a_score_beyond_what_its_features_allow_is_moved_into_its_interval() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(40):
        found = vendi_score(rng.normal(size=(400, 2)))
        beyond += found.corrected == 2.0
        assert_holds_its_estimate(found)

    assert beyond > 5


@pytest.mark.parametrize("right", [0, 1, 99, 100])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_the_interval_of_a_share_holds_it_at_the_ends(right: int, level: float) -> None:
    low, high = wilson_interval(right, 100, level=level)

    assert low <= right / 100 <= high
