"""Protocols: what decides a value, what does not, and which records are none."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import (
    CLASSIFIER,
    DINOV2,
    INCEPTION,
    INCEPTION_2015_SHA256,
)
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.record import Protocol, differences, short
from tests.evaluation.factories import make_dataset, make_protocol

Change = Callable[[dict[str, Any]], None]


def test_a_protocol_survives_its_record() -> None:
    protocol = make_protocol()

    assert Protocol.from_record(protocol.to_record()) == protocol
    assert Protocol.from_record(protocol.to_record()).fingerprint() == protocol.fingerprint()


def test_the_fingerprint_of_the_same_protocol_never_changes() -> None:
    record = make_protocol().to_record()
    for name in ("fd_population",):  # what was measured by default later
        del record["metrics"][name], record["uncertainty"][name]
    fingerprint = Protocol.from_record(record).fingerprint()

    assert fingerprint == "6c00348abcfafff8ea998c5a0ec87b22609794a8f26d9952307727f2cc5c1b0c"
    assert short(fingerprint) == fingerprint[:12]


def test_names_for_people_are_no_part_of_the_fingerprint() -> None:
    a = make_protocol(make_dataset(slug="digits"))
    record = make_protocol(make_dataset(slug="ziffern")).to_record()
    record["reference"]["split"] = "everything"
    b = Protocol.from_record(record)

    assert a.to_record()["dataset"] == "digits"
    assert a.fingerprint() == b.fingerprint()
    assert differences(a, b) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["reference"].update(kind="statistics"), "reference kind: statistics and"),
        (lambda r: r["held_out"].update(digest="0" * 64), "held out digest: 000000000000 and"),
        (lambda r: r.update(held_out=None), "held out digest: nothing and"),
        (lambda r: r["reference"].update(digest="0" * 64), "reference digest"),
        (lambda r: r["reference"].update(count=1296), "reference count: 1296 and 1297"),
        (lambda r: r["extractor"].update(layer="logits"), "extractor layer"),
        (lambda r: r["extractor"].update(dim=10), "extractor dim: 10 and 64"),
        (lambda r: r["extractor"].update(weights_sha256="0" * 64), "extractor weights sha256"),
        (lambda r: r["extractor"]["recipe"].update(version=2), "extractor recipe version: 2 and 1"),
        (lambda r: r["images"].update(resize="299 bicubic"), "images resize"),
        (lambda r: r["images"].update(channels=3), "images channels: 3 and 1"),
        (lambda r: r["images"].update(lossy="accepted"), "images lossy: accepted and"),
        (lambda r: r["numerics"].update(accumulation="float32"), "numerics accumulation"),
        (lambda r: r.update(num_images=499), "num images: 499 and 500"),
        (lambda r: r["metrics"]["precision"].update(neighbours=5), "metrics precision neighbours"),
        (lambda r: r["metrics"].pop("kd"), "metric kd: not and measured"),
        (lambda r: r["uncertainty"].update(level=0.9), "uncertainty level: 0.9 and 0.95"),
    ],
)
def test_whatever_changes_a_value_changes_the_fingerprint(change: Change, words: str) -> None:
    protocol = make_protocol()
    record = protocol.to_record()

    change(record)
    other = Protocol.from_record(record)

    assert other.fingerprint() != protocol.fingerprint()
    assert any(words in line for line in differences(other, protocol))


def test_a_protocol_does_not_change_with_the_record_it_came_from() -> None:
    record = make_protocol().to_record()
    protocol = Protocol.from_record(record)
    fingerprint = protocol.fingerprint()

    record["metrics"]["precision"]["neighbours"] = 5

    assert protocol.fingerprint() == fingerprint


def test_by_default_the_whole_test_split_is_the_size_of_a_scored_set() -> None:
    assert make_protocol(make_dataset(test=360)).num_images == 360
    assert make_protocol(make_dataset(train=60_000, test=26_032)).num_images == 10_000


def test_more_images_may_be_scored_than_the_test_split_has() -> None:
    assert make_protocol(num_images=1000).num_images == 1000


def test_metrics_are_chosen_by_name_and_stand_in_the_order_of_boards() -> None:
    protocol = build_protocol(
        make_dataset(),
        extractor=CLASSIFIER,
        weights_sha256="d" * 64,
        recipe={},
        metrics=["ct", "recall", "fd", "recall"],
    )

    assert list(protocol.metrics) == ["fd", "recall", "ct"]
    assert set(protocol.uncertainty) == {"level", "fd", "recall", "ct"}


@pytest.mark.parametrize(
    ("extractor", "metric", "message"),
    [
        (CLASSIFIER, "fid", "metrics: expected a metric of fd, "),
        (INCEPTION, "class_kl", "metrics.class_kl: needs a classifier of the dataset"),
        (DINOV2, "is", "metrics.is: needs an extractor that predicts classes"),
        (CLASSIFIER, "ct", "metrics.ct: needs held-out real images"),
    ],
)
def test_a_metric_whose_needs_are_not_met_is_refused(
    extractor: str, metric: str, message: str
) -> None:
    splits = {"train": SplitFacts("b" * 64, 100)}

    with pytest.raises(ProtocolError) as caught:
        build_protocol(
            DatasetFacts("digits", 8, 1, splits),
            extractor=extractor,
            weights_sha256="d" * 64,
            recipe={},
            metrics=[metric],
        )

    assert str(caught.value).startswith(message)


def test_a_protocol_of_an_earlier_version_says_what_to_do() -> None:
    with pytest.raises(ProtocolError, match="of an earlier Trilemma: register it again"):
        Protocol.from_record({"version": 1})


def test_precision_and_recall_compare_sets_of_equal_size() -> None:
    metrics = make_protocol().metrics

    assert metrics["precision"]["reference_count"] == metrics["recall"]["reference_count"] == 500
    assert metrics["kd"]["reference_count"] == 1297


def test_only_known_inception_weights_make_a_protocol_measure_fid() -> None:
    dataset = make_dataset()

    known, unknown = (
        build_protocol(dataset, extractor=INCEPTION, weights_sha256=sha256, recipe={})
        for sha256 in (INCEPTION_2015_SHA256, "e" * 64)
    )

    assert known.label("fd") == "FID"
    assert unknown.label("fd") == "FD[inception-v3-compat@eeeeeeee]"
    assert make_protocol().label("fd") == "FD[classifier]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("images"), "images: missing"),
        (lambda r: r.update(images=None), "images: expected an object, got None"),
        (
            lambda r: r.update(steps=3),
            "steps: unknown; expected dataset, reference, held_out, extractor, images, "
            "num_images, metrics, uncertainty, prompts, numerics, version",
        ),
        (lambda r: r.update(version=3), "version: expected 2, got 3"),
        (
            lambda r: r.update(num_images=0),
            "num_images: expected a whole number of at least 1, got 0",
        ),
        (
            lambda r: r.update(num_images=True),
            "num_images: expected a whole number of at least 1, got True",
        ),
        (
            lambda r: r["reference"].update(digest="b" * 63 + "G"),
            f"reference.digest: expected 64 lower-case hexadecimal digits, got '{'b' * 63}G'",
        ),
        (lambda r: r["images"].update(channels=4), "images.channels: expected 1 or 3, got 4"),
        (lambda r: r["images"].update(resize=1), "images.resize: expected text, got 1"),
        (
            lambda r: r["extractor"].update(name="vgg"),
            "extractor.name: expected an extractor of inception-v3-compat, dataset-classifier, "
            "stacked-classifier, dinov2-vit-l-14, random-convolution, pixels-pca64 or "
            "torch-fidelity/NAME; got 'vgg'",
        ),
        (
            lambda r: r["metrics"].update(fid={}),
            f"metrics.fid: expected a metric of {', '.join(METRICS)}, got 'fid'",
        ),
        (
            lambda r: r.update(metrics={}),
            "metrics: expected at least one metric with its parameters, got {}",
        ),
        (
            lambda r: r["uncertainty"].pop("fd"),
            "uncertainty.fd: expected an object, got None",
        ),
        (
            lambda r: r["uncertainty"].update(level=95),
            "uncertainty.level: expected a number in 0..1, got 95",
        ),
        (
            lambda r: r["metrics"]["fd"].update(epsilon=float("nan")),
            "metrics: expected plain JSON values with finite numbers",
        ),
    ],
)
def test_a_wrong_record_is_refused_with_the_name_of_the_field(change: Change, message: str) -> None:
    record = make_protocol().to_record()
    change(record)

    with pytest.raises(ProtocolError) as caught:
        Protocol.from_record(record)

    assert str(caught.value) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    path=st.sampled_from(
        [
            (a, b)
            for a in make_protocol().to_record()
            for b in ("", "digest", "count", "name", "recipe", "channels", "fd", "level")
        ]
    ),
    value=json_values,
)
def test_any_other_value_gives_a_protocol_or_a_protocol_error(
    path: tuple[str, str], value: object
) -> None:
    record = make_protocol().to_record()
    part, name = path
    if name and isinstance(record[part], dict):
        record[part][name] = value
    else:
        record[part] = value

    try:
        protocol = Protocol.from_record(record)
    except ProtocolError:
        return
    assert Protocol.from_record(protocol.to_record()).fingerprint() == protocol.fingerprint()


def test_the_names_can_be_had_without_loading_torch_or_numpy() -> None:
    program = (
        "import sys, evaluation.protocols.metrics, evaluation.protocols.presets, evaluation.protocols.building\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'scipy', 'django'} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[]\n", "")
