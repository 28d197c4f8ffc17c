"""The rule of labels in protocols: what it says, what it is part of, and which rules are none."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from evaluation.protocols.building import DatasetFacts, build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.labels import ORDER, Wanted, deviations, in_words, read_rule
from evaluation.protocols.record import Protocol, differences
from tests.evaluation.factories import make_dataset

COUNTS = (0, 900, 97, 300)  # of a reference whose labels begin at 1


def dataset(counts: tuple[int, ...] | None = COUNTS) -> DatasetFacts:
    facts = make_dataset()
    train = replace(facts.splits["train"], class_counts=counts)
    return replace(facts, splits={**facts.splits, "train": train})


def protocol(labels: Wanted | None = None, counts: tuple[int, ...] | None = COUNTS) -> Protocol:
    return build_protocol(
        dataset(counts), extractor=CLASSIFIER, weights_sha256="d" * 64, recipe={}, labels=labels
    )


@pytest.mark.parametrize(
    ("wanted", "rule", "shares", "words"),
    [
        (
            None,
            "reference",
            [0, 900, 97, 300],
            "in the reference's shares of 3 classes (0 : 900 : 97 : 300)",
        ),
        ("uniform", "uniform", [0, 1, 1, 1], "in equal shares of the reference's 3 classes"),
        ((0, 7, 0, 3), "given", [0, 7, 0, 3], "in given shares of 2 classes (0 : 7 : 0 : 3)"),
    ],
)
def test_a_rule_says_each_classes_share(
    wanted: Wanted | None, rule: str, shares: list[int], words: str
) -> None:
    found = protocol(wanted)

    assert found.images.labels == {"rule": rule, "shares": shares, "order": ORDER}
    assert in_words(found.images.labels) == words
    assert Protocol.from_record(found.to_record()) == found


def test_an_unlabelled_reference_has_no_rule_and_the_record_of_before() -> None:
    found = protocol(counts=None)

    assert found.images.labels is None
    assert "labels" not in found.to_record()["images"] and '"labels"' not in found.canonical_json()


def test_rules_are_told_apart_in_words() -> None:
    old, new, uniform = protocol(counts=None), protocol(), protocol("uniform")

    assert len({found.fingerprint() for found in (old, new, uniform)}) == 3
    assert differences(old, new) == [
        "images labels: in turn over the model's classes and in the reference's shares of 3 classes "
        "(0 : 900 : 97 : 300)"
    ]
    assert differences(new, uniform) == [
        "images labels: in the reference's shares of 3 classes (0 : 900 : 97 : 300) and in equal "
        "shares of the reference's 3 classes"
    ]


def test_shares_that_differ_beyond_what_words_show_are_told_apart() -> None:
    one, other = (protocol(counts=(*[9] * 30, last)) for last in (1, 2))

    (difference,) = differences(one, other)

    assert in_words(one.images.labels) == in_words(other.images.labels)
    assert difference.startswith("images labels shares: [9, 9, ")


@pytest.mark.parametrize(
    ("wanted", "counts", "message"),
    [
        ("uniform", None, "expected labels of the reference, it has none"),
        ((1, 1), COUNTS, "expected a share for each of the reference's 4 classes, got 2"),
        ((1, 1, 1, 1), COUNTS, "class 0 has a share, but no image of the reference is of it"),
    ],
)
def test_what_the_reference_cannot_give_is_refused(
    wanted: Wanted, counts: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol(wanted, counts)

    assert str(caught.value) == f"images.labels: {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rule": "odd"},
            "images.labels.rule: expected one of reference, uniform, given, got 'odd'",
        ),
        ({"order": 3}, "images.labels.order: expected text, got 3"),
        (
            {"shares": [0, 0]},
            "images.labels.shares: expected whole numbers from 0 whose sum is 1 to",
        ),
        ({"shares": [0.5, 0.5]}, "images.labels.shares: expected whole numbers from 0 whose sum"),
        ({"shares": [True]}, "images.labels.shares: expected whole numbers from 0 whose sum is 1"),
        ({"shares": [10**9, 1]}, "images.labels.shares: expected whole numbers from 0 whose sum"),
        ({"shares": {"0": 1}}, "images.labels.shares: expected whole numbers from 0 whose sum is"),
        ({"more": 1}, "images.labels: expected an object of rule, shares, order, got {"),
    ],
)
def test_records_that_hold_no_rule_are_refused(change: dict[str, Any], message: str) -> None:
    record = protocol().to_record()
    record["images"]["labels"].update(change)

    with pytest.raises(ProtocolError) as caught:
        Protocol.from_record(record)

    assert str(caught.value).startswith(message)


def test_rules_are_read_as_they_are_typed() -> None:
    assert read_rule("reference") == "reference"
    assert read_rule("7, 2,1") == (7, 2, 1)
    for text in ("", "odd", "1,-2", "0.5,0.5", "²,1"):
        with pytest.raises(ValueError, match="expected reference, uniform or a whole number for"):
            read_rule(text)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.integers(1, 300))
def test_rounding_is_no_deviation(shares: list[int], images: int) -> None:
    rule, total = {"shares": shares}, sum(shares)
    rounded = {k: images * share // total for k, share in enumerate(shares)}
    rest = images - sum(rounded.values())
    for k in sorted(rounded, key=lambda k: rounded[k] - images * shares[k] / total)[:rest]:
        rounded[k] += 1

    assert deviations(rule, rounded) == []


def test_deviations_come_with_their_numbers_the_furthest_first() -> None:
    rule = {"shares": [7, 2, 1, 0]}

    assert deviations(rule, {0: 33, 1: 33, 2: 34}) == [(0, 33, 70), (2, 34, 10), (1, 33, 20)]
    assert deviations(rule, {0: 70, 1: 19, 2: 10, 5: 1}) == [(1, 19, 20), (5, 1, 0)]
