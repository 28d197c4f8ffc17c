"""Sets of prompts: how they are read, refused, and known; what a protocol says of them."""

import json
from typing import Any

import pytest

from evaluation.protocols.building import build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.prompts import PromptSet, read_prompts
from evaluation.protocols.record import Protocol, differences
from tests.evaluation.factories import make_dataset

RED = {
    "id": "1",
    "text": "a red circle",
    "group": "colour",
    "claims": {"objects": [{"colour": "red"}]},
}
CAT = {"id": "2", "text": "\u732b", "group": "other"}


def text_of(*prompts: Any, **others: Any) -> str:
    return json.dumps({"version": 1, "prompts": list(prompts), **others})


def test_a_set_is_known_by_its_content_however_it_is_written() -> None:
    one = read_prompts(text_of(RED, CAT))
    other = read_prompts(json.dumps(json.loads(text_of(RED, CAT)), indent=3, sort_keys=True))

    assert one == other == PromptSet.from_record(one.to_record())
    assert one.canonical_json() == (
        '{"prompts":[{"claims":{"objects":[{"colour":"red"}]},"group":"colour","id":"1","text":"a red circle"},'
        '{"group":"other","id":"2","text":"\\u732b"}],"version":1}'
    )
    assert one.digest() == "4b1a176651f85f9b382c422662c4dc29fb37a2d9333523c0cc1fcbd27d1efb9e"
    assert len({one.digest(), read_prompts(text_of(CAT, RED)).digest()}) == 2


def test_images_are_asked_with_the_prompts_in_turn() -> None:
    prompts = read_prompts(text_of(RED, CAT))

    assert prompts.texts == ["a red circle", "\u732b"]
    assert prompts.texts_of(5) == ["a red circle", "\u732b"] * 2 + ["a red circle"]


PLAIN = "expected text of 1 to 1,000 printable characters"
REFUSED = {
    "no JSON": ("{", "prompts: expected JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
    "no number": (text_of(RED | {"claims": {"count": float("nan")}}), "prompts: expected JSON (NaN is no number)"),
    "no object": ("[]", "prompts: expected an object, got []"),
    "no prompts": (text_of(), "prompts: expected a list of 1 to 10,000, got 0 prompts"),
    "another version": (text_of(RED, version=2), "version: expected 1, got 2"),
    "a version that is no number": (text_of(RED, version=True), "version: expected 1, got True"),
    "an unknown field": (text_of(RED | {"seed": 1}), "prompts.0.seed: unknown"),
    "no group": (text_of({"id": "1", "text": "a"}), "prompts.0.group: missing"),
    "no id": (
        text_of(CAT, RED | {"id": ""}),
        "prompts.1.id: expected 1 to 100 letters, digits and spaces, got ''",
    ),
    "an empty text": (text_of(RED | {"text": " "}), f"prompts.0.text: an empty caption; {PLAIN}"),
    "a long text": (
        text_of(CAT, RED | {"text": "x" * 5000}),
        f"prompts.1.text: a caption of 5,000 characters; {PLAIN}",
    ),
    "two of one id": (
        text_of(RED, CAT | {"id": "1"}),
        "prompts.1.id: expected another than prompt 0 has: '1'",
    ),
    "two of one text": (
        text_of(CAT, RED, CAT | {"id": "3"}),
        "prompts.2.text: expected another than prompt 0 has: '\u732b'",
    ),
    "claims that are none": (
        text_of(RED | {"claims": ["red"]}),
        "prompts.0.claims: expected an object, got ['red']",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_set_of_prompts_is_refused_by_its_place(case: str) -> None:
    text, expected = REFUSED[case]

    with pytest.raises(ProtocolError) as caught:
        read_prompts(text)

    assert str(caught.value) == expected


# --- Protocols --------------------------------------------------------------------------------


def protocol_of(**more: Any) -> Protocol:
    return build_protocol(
        make_dataset(), extractor=CLASSIFIER, weights_sha256="d" * 64, recipe={}, **more
    )


def test_prompts_are_part_of_a_fingerprint_and_absent_where_there_are_none() -> None:
    prompts = read_prompts(text_of(RED, CAT))

    without = protocol_of(num_images=100)
    asked = protocol_of(prompts=prompts, images_per_prompt=50)

    assert "prompts" not in without.to_record()
    assert asked.to_record()["prompts"] == {
        "digest": prompts.digest(),
        "images_per_prompt": 50,
        "judge": "scenes-1",
    }
    assert asked.num_images == 100
    assert Protocol.from_record(asked.to_record()) == asked
    assert asked.fingerprint() != without.fingerprint()
    assert any(line.startswith("prompts") for line in differences(without, asked))


def test_the_images_of_all_prompts_are_those_that_are_scored() -> None:
    prompts = read_prompts(text_of(RED, CAT, CAT | {"id": "3", "text": "c"}))

    assert protocol_of(prompts=prompts).num_images == 498  # of 500 test images
    with pytest.raises(ProtocolError) as caught:
        protocol_of(prompts=prompts, images_per_prompt=3, num_images=10)

    assert str(caught.value) == "num_images: expected 3 for each of 3 prompts, got 10"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"digest": "x"}, "prompts.digest: expected 64 lower-case hexadecimal digits, got 'x'"),
        ({"images_per_prompt": 0}, "prompts.images_per_prompt: expected a whole number of at least 1, got 0"),
        ({"judge": 1}, "prompts.judge: expected text or null, got 1"),
        ({"seed": 1}, "prompts.seed: unknown"),
    ],
)  # fmt: skip
def test_a_record_with_wrong_prompts_is_refused(change: dict[str, Any], expected: str) -> None:
    record = protocol_of(prompts=read_prompts(text_of(RED))).to_record()
    record["prompts"] |= change

    with pytest.raises(ProtocolError) as caught:
        Protocol.from_record(record)

    assert str(caught.value) == expected
