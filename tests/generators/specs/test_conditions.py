"""What captions become: words, rows, records; and which are refused."""

import json

import pytest

from generators.specs.conditions import ConditionError, Conditions
from generators.specs.diffusion_configs import FlowConfig
from generators.specs.options import parse, to_dict, to_record
from tests.generators.conftest import exactly

CAPTIONS = ["A red circle.", "a  Red SQUARE, above", "круг", "été 2"]


def test_a_vocabulary_is_sorted_and_rows_are_as_long_as_the_longest_caption() -> None:
    conditions = Conditions.of_captions(CAPTIONS)

    assert conditions.words == ("2", "a", "above", "circle", "red", "square", "été", "круг")
    assert (conditions.length, conditions.kind, conditions.given) == (4, "words", True)
    assert conditions.row("A red CIRCLE!") == [2, 5, 4, 0]
    assert conditions.row("e\u0301te\u0301") == [7, 0, 0, 0]  # marks apart, as some keyboards write
    assert conditions.rows(CAPTIONS)[1:3] == [[2, 5, 6, 3], [8, 0, 0, 0]]
    assert conditions.none == [0, 0, 0, 0]


def test_a_class_is_a_row_of_one_and_one_more_says_nothing() -> None:
    assert Conditions.of_classes(3).none == [3]
    assert (Conditions.of_classes(3).kind, Conditions.of_classes(0).kind) == ("classes", "none")
    assert Conditions() == Conditions.of_classes(0) and not Conditions().given


def test_records_are_read_back_and_those_of_classes_are_as_they_were() -> None:
    words = Conditions.of_captions(CAPTIONS)

    assert Conditions.of_classes(10).as_record() == {"num_classes": 10}
    assert Conditions().as_record() == {"num_classes": 0}
    for conditions in (Conditions(), Conditions.of_classes(10), words):
        record = json.loads(json.dumps(conditions.as_record()))
        assert Conditions.from_record(record) == conditions


def test_each_distinct_caption_may_be_a_class_whatever_its_case_and_marks() -> None:
    conditions = Conditions.of_distinct_captions(["A red circle.", "a  Red SQUARE", "a red circle"])

    assert conditions == Conditions(classes=2, captions=("a red circle", "a red square"))
    assert (conditions.kind, conditions.by_text, conditions.none) == ("classes", True, [2])
    assert conditions.rows(["a red square!", "A red circle"]) == [[1], [0]]
    assert conditions.knows("a RED square") and not conditions.knows("a circle")
    assert Conditions.from_record(json.loads(json.dumps(conditions.as_record()))) == conditions


def test_a_prompt_that_was_no_caption_is_no_class() -> None:
    conditions = Conditions.of_distinct_captions(["a red circle", "a blue square"])
    message = (
        "caption 1: expected one of the 2 captions that the model was trained on, as it learned no "
        "words, got 'a blue circle'"
    )

    with pytest.raises(ConditionError, match=exactly(message)):
        conditions.rows(["a red circle", "a blue circle"])


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["red", ""], "caption 1: expected words, got ''"),
        (
            [str(n) for n in range(10_001)],
            "expected 0..10000 distinct captions, to be classes, got 10001",
        ),
        (
            [f"{n} {'x' * 60} {'y ' * 30}{'ä' * 60}" for n in range(5000)],
            "expected captions of at most 2,097,152 bytes in all to be classes, got 2,448,890",
        ),
    ],
)
def test_captions_that_cannot_be_classes_are_refused(captions: list[str], message: str) -> None:
    with pytest.raises(ConditionError, match=exactly(message)):
        Conditions.of_distinct_captions(captions)


@pytest.mark.parametrize(
    "record",
    [
        {"num_classes": 1, "conditions": {"captions": ["b", "a"]}},
        {"num_classes": 2, "conditions": {"captions": ["b", "a"]}},
        {"num_classes": 2, "conditions": {"captions": ["a", 1]}},
    ],
)
def test_a_manifests_captions_make_sense(record: dict[str, object]) -> None:
    with pytest.raises(ConditionError, match="expected"):
        Conditions.from_record(record)


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["red", ""], "caption 1: expected words, got ''"),
        (["?!", "red"], "caption 0: expected words, got '?!'"),
        (["red", None], "caption 1: expected text, got None"),
        (["x" * 5000], "caption 0: expected at most 1,000 characters, got 5,000"),
        (["a " * 65], "caption 0: expected at most 64 words, got 65"),
        ([f"{n:x}" for n in range(4097)], "expected at most 4,096 different words, got 4,097"),
    ],
)
def test_captions_that_cannot_be_learned_are_refused(captions: list[str], message: str) -> None:
    with pytest.raises(ConditionError, match=exactly(message)):
        Conditions.of_captions(captions)


def test_a_word_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConditionError, match="caption 0: expected words of at most 64 characters"):
        Conditions.of_captions(["x" * 65])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            "a purple circle, purple and blue",
            "expected words that the model was trained on, it does not know 'purple', 'and', 'blue'",
        ),
        (
            "a red red red circle",
            "expected at most 4 words, as the longest caption that the model was trained on, got 5",
        ),
        ("…", "expected words, got '…'"),
    ],
)
def test_prompts_that_a_model_does_not_understand_are_refused(prompt: str, message: str) -> None:
    with pytest.raises(ConditionError, match=exactly(message)):
        Conditions.of_captions(CAPTIONS).row(prompt)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"num_classes": 2, "conditions": {"words": ["a"], "length": 1}}, "classes or words"),
        ({"num_classes": 0, "conditions": {"words": ["b", "a"], "length": 1}}, "in their order"),
        ({"num_classes": 0, "conditions": {"words": ["a"], "length": 0}}, "rows of 1..64 words"),
        ({"num_classes": 0, "conditions": {"words": "a", "length": 1}}, "words and a length"),
        ({"num_classes": 0, "conditions": {"words": ["a", 1], "length": 1}}, "different words"),
        ({"num_classes": 0, "conditions": 3}, "words and a length"),
        ({"num_classes": -1}, "expected 0..10000 classes, got -1"),
    ],
)
def test_records_that_make_no_sense_are_refused(record: dict[str, object], message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        Conditions.from_record(record)


def test_an_option_that_came_later_is_recorded_only_where_it_is_used() -> None:
    plain, attending = FlowConfig(), FlowConfig(cross_attention=True)

    assert "cross_attention" in to_dict(plain)
    assert "cross_attention" not in to_record(plain)
    assert to_record(attending)["cross_attention"] is True
    for config in (plain, attending):
        assert parse(FlowConfig, to_record(config)) == config
