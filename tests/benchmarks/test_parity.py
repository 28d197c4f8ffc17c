"""FID, KID and IS of 2 x 2,000 images against torch-fidelity, from the same weights file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from evaluation.features.base import FeatureSet, extract
from evaluation.features.inception import InceptionExtractor
from evaluation.metrics.inception_score import inception_score_from_logits
from evaluation.metrics.kernel_distance import subset_kernel_distance
from tests.inception import (
    fd,
    load_theirs,
    logits_of,
    make_textures,
    relative_difference,
    their_features,
    write_random_weights,
)

TOLERANCE = 2e-5  # of the largest value; convolutions are summed in another order


def test_fid_kid_and_is_of_2000_images_are_those_of_torch_fidelity(
    tmp_path: Path, report: Callable[[str], None]
) -> None:
    """Against the values that torch-fidelity itself computes from its own features.

    Here because torch-fidelity needs minutes for so many images; fewer are in the ordinary tests.
    """
    weights = write_random_weights(tmp_path)
    extractor = InceptionExtractor(weights)
    sets = [make_textures(2000, seed=1), make_textures(2000, seed=2) // 2]
    theirs = load_theirs(weights)

    (real, fake), others = (
        [extract(extractor, images) for images in sets],
        [FeatureSet(*their_features(theirs, images)) for images in sets],
    )

    for found, expected in zip((real, fake), others, strict=True):
        assert relative_difference(found.features, expected.features) < TOLERANCE
        assert relative_difference(found.logits, expected.logits) < TOLERANCE
    statistics = [fid_features_to_statistics(other.features) for other in others]
    fid = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    kid = kid_features_to_metric(others[1].features, others[0].features, verbose=False)
    score = isc_features_to_metric(logits_of(others[1]))
    ours = {
        "FID": (fd(real.features, fake.features), fid),
        "KID": (
            subset_kernel_distance(real.features, fake.features).value,
            kid["kernel_inception_distance_mean"],
        ),
        "IS": (
            inception_score_from_logits(logits_of(fake), splits=10, seed=2020).value,
            score["inception_score_mean"],
        ),
    }
    for name, (found_value, expected_value) in ours.items():
        report(f"{name} of 2 x 2,000 images: ours {found_value}, torch-fidelity {expected_value}")
        assert found_value == pytest.approx(expected_value, rel=1e-4)
