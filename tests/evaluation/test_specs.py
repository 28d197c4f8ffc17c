"""What metrics are called and which way is better."""

import pytest
from hypothesis import given, strategies as st

from evaluation.specs import (
    CLASSIFIER,
    EXTRACTORS,
    INCEPTION,
    INCEPTION_2015_SHA256,
    METRICS,
    arrow,
    metric_label,
)

RESERVED = {"FID", "KID", "IS", "Precision", "Recall"}
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def test_known_inception_weights_have_the_established_names() -> None:
    labels = [metric_label(name, INCEPTION, INCEPTION_2015_SHA256) for name in METRICS]

    assert labels == ["FID", "KID", "IS", "Precision", "Recall"]


def test_the_known_weights_are_those_their_file_name_speaks_of() -> None:
    known = EXTRACTORS[INCEPTION].known_weights

    assert list(known) == [INCEPTION_2015_SHA256]
    assert all(f"-{digest[:8]}.pth" in name for digest, name in known.items())
    assert all(len(digest) == 64 for digest in known)


@given(metric=st.sampled_from(list(METRICS)), digest=digests)
def test_no_other_weights_are_ever_called_fid(metric: str, digest: str) -> None:
    labels = {metric_label(metric, CLASSIFIER, digest), metric_label(metric, INCEPTION, digest)}
    labels.add(metric_label(metric, CLASSIFIER, INCEPTION_2015_SHA256))

    assert not labels & RESERVED
    assert not any("FID" in label or "KID" in label for label in labels)


def test_other_features_are_named_in_the_label() -> None:
    digest = "1a2b3c4d" + "0" * 56

    classifier = [metric_label(name, CLASSIFIER, digest) for name in METRICS]

    assert classifier == [
        "FD[classifier]",
        "KD[classifier]",
        "CS[classifier]",
        "PR[classifier] precision",
        "PR[classifier] recall",
    ]
    assert metric_label("fd", INCEPTION, digest) == "FD[inception-v3-compat@1a2b3c4d]"


def test_arrows_point_to_the_better_values() -> None:
    arrows = {name: arrow(name) for name in METRICS}

    assert arrows == {"fd": "↓", "kd": "↓", "is": "↑", "precision": "↑", "recall": "↑"}


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="expected a metric of fd, kd, is, precision, recall"):
        arrow("fid")
    with pytest.raises(
        ValueError, match="expected an extractor of inception-v3-compat, dataset-classifier"
    ):
        metric_label("fd", "vgg", "0" * 64)
