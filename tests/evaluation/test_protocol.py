"""Protocols: what decides a value, what does not, and which records are none."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from evaluation.protocol import (
    Protocol,
    ProtocolError,
    build_protocol,
    differences,
    short,
)
from evaluation.specs import INCEPTION, INCEPTION_2015_SHA256
from tests.evaluation.factories import make_dataset, make_protocol

Change = Callable[[dict[str, Any]], None]


def test_a_protocol_survives_its_record() -> None:
    protocol = make_protocol()

    assert Protocol.from_record(protocol.to_record()) == protocol
    assert Protocol.from_record(protocol.to_record()).fingerprint() == protocol.fingerprint()


def test_the_fingerprint_of_the_same_protocol_never_changes() -> None:
    fingerprint = make_protocol().fingerprint()

    assert fingerprint == "6f30ba72e2f86fd5d7d5ab8f9e70c10a6b02eaff817e99dd29301080c4d8a2a3"
    assert short(fingerprint) == fingerprint[:12]


def test_the_name_of_the_dataset_is_no_part_of_the_fingerprint() -> None:
    a, b = make_protocol(make_dataset(slug="digits")), make_protocol(make_dataset(slug="ziffern"))

    assert a.to_record()["dataset"]["slug"] == "digits"
    assert a.fingerprint() == b.fingerprint()
    assert differences(a, b) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["dataset"].update(digest="0" * 64), "dataset digest"),
        (lambda r: r["reference"].update(split="test"), "reference split: test and train"),
        (lambda r: r["reference"].update(digest="0" * 64), "reference digest"),
        (lambda r: r["reference"].update(count=1296), "reference count: 1296 and 1297"),
        (lambda r: r["extractor"].update(layer="logits"), "extractor layer"),
        (lambda r: r["extractor"].update(dim=10), "extractor dim: 10 and 64"),
        (lambda r: r["extractor"].update(weights_sha256="0" * 64), "extractor weights sha256"),
        (lambda r: r["extractor"]["recipe"].update(version=2), "extractor recipe version: 2 and 1"),
        (lambda r: r["images"].update(resize="299 bicubic"), "images resize"),
        (lambda r: r["images"].update(channels=3), "images channels: 3 and 1"),
        (lambda r: r.update(num_images=499), "num images: 499 and 500"),
        (lambda r: r["metrics"]["precision"].update(neighbours=5), "metrics precision neighbours"),
        (lambda r: r["metrics"].pop("kd"), "metrics kd degree: nothing and 3"),
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


def test_the_test_split_must_be_large_enough_for_the_control_row() -> None:
    with pytest.raises(ProtocolError) as caught:
        make_protocol(num_images=1000)

    assert str(caught.value) == (
        "num_images: expected at most the 500 images of the test split, which is scored as the "
        "real-vs-real control; got 1000"
    )
    assert caught.value.field == "num_images"


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
            "steps: unknown; expected dataset, reference, extractor, images, num_images, metrics, "
            "uncertainty, version",
        ),
        (lambda r: r.update(version=2), "version: expected 1, got 2"),
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
            "extractor.name: expected one of inception-v3-compat, dataset-classifier, got 'vgg'",
        ),
        (
            lambda r: r["metrics"].update(fid={}),
            "metrics.fid: expected a metric of fd, kd, is, precision, recall, got 'fid'",
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
        "import sys, evaluation.specs, evaluation.protocol\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'scipy', 'django'} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[]\n", "")
