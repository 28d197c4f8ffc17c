"""What metrics are called and which way is better."""

import pytest
from hypothesis import given, strategies as st

from evaluation.protocols.extractor_specs import CLASSIFIER, INCEPTION, INCEPTION_2015_SHA256
from evaluation.protocols.extractors import EXTRACTORS, get_extractor
from evaluation.protocols.metrics import (
    METRICS,
    arrow,
    badness,
    default_metrics,
    get_metric,
    metric_label,
    missing_needs,
)
from evaluation.protocols.presets import PRESETS

RESERVED = {"FID", "KID", "IS", "Precision", "Recall", "Density", "Coverage"}
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def test_known_inception_weights_have_the_established_names() -> None:
    labels = [metric_label(get_metric(name), INCEPTION, INCEPTION_2015_SHA256) for name in METRICS]

    assert labels[:3] == ["FID", "Population FID", "FID∞"]
    assert labels[3:5] == ["KID", "KID (100 subsets of 1000)"]
    assert set(labels) >= RESERVED
    assert len(set(labels)) == len(METRICS)


def test_the_known_weights_are_those_their_file_name_speaks_of() -> None:
    known = EXTRACTORS[INCEPTION].known_weights

    assert list(known) == [INCEPTION_2015_SHA256]
    assert all(f"-{digest[:8]}.pth" in name for digest, name in known.items())
    assert all(len(digest) == 64 for digest in known)


@given(metric=st.sampled_from(list(METRICS)), digest=digests)
def test_no_other_weights_are_ever_called_fid(metric: str, digest: str) -> None:
    labels = {
        metric_label(get_metric(metric), CLASSIFIER, digest),
        metric_label(get_metric(metric), INCEPTION, digest),
    }
    labels.add(metric_label(get_metric(metric), CLASSIFIER, INCEPTION_2015_SHA256))

    assert not labels & RESERVED
    assert not any("FID" in label or "KID" in label for label in labels)


def test_other_features_are_named_in_the_label() -> None:
    digest = "1a2b3c4d" + "0" * 56

    classifier = [metric_label(get_metric(name), CLASSIFIER, digest) for name in METRICS]

    assert classifier[:7] == [
        "FD[classifier]",
        "Population FD[classifier]",
        "FD∞[classifier]",
        "KD[classifier]",
        "KD[classifier] (100 subsets of 1000)",
        "CS[classifier]",
        "CS[classifier] (10 splits)",
    ]
    assert metric_label(get_metric("recall"), CLASSIFIER, digest) == "PR[classifier] recall"
    assert metric_label(get_metric("fd"), "torch-fidelity/vgg16", digest) == "FD[vgg16]"
    assert len(set(classifier)) == len(METRICS)
    assert metric_label(get_metric("fd"), INCEPTION, digest) == "FD[inception-v3-compat@1a2b3c4d]"


def test_arrows_point_to_the_better_values() -> None:
    arrows = {
        name: arrow(get_metric(name)) for name in ("fd", "kd", "is", "precision", "recall", "ct")
    }

    assert arrows == {
        "fd": "↓",
        "kd": "↓",
        "is": "↑",
        "precision": "↑",
        "recall": "↑",
        "ct": "→ 0",
    }


def test_the_better_of_two_values_is_less_bad() -> None:
    assert badness(get_metric("fd"), 1) < badness(get_metric("fd"), 2)
    assert badness(get_metric("recall"), 0.9) < badness(get_metric("recall"), 0.8)
    assert (
        badness(get_metric("ct"), -1)
        == badness(get_metric("ct"), 1)
        < badness(get_metric("ct"), -2)
    )


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_default_metrics_need_nothing_that_an_extractor_does_not_give(extractor: str) -> None:
    with_test, without = (default_metrics(extractor, held_out=held) for held in (True, False))

    assert "fd" in with_test and "fd" in without
    assert ("is" in with_test) == bool(EXTRACTORS[extractor].predicts)
    assert set(without) <= set(with_test)


def test_every_preset_measures_what_its_extractor_allows() -> None:
    for preset in PRESETS.values():
        names = preset.metrics or default_metrics(preset.extractor, held_out=True)
        given = {"held_out": True, **dict.fromkeys(("prompts", "claims"), bool(preset.prompts))}
        assert not any(missing_needs(name, preset.extractor, **given) for name in names)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="expected a metric of fd, fd_population, fd_infinity, kd, "
    ):
        get_metric("fid")
    with pytest.raises(
        ValueError, match="expected an extractor of inception-v3-compat, dataset-classifier"
    ):
        get_extractor("vgg")
