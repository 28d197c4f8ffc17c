"""The packaged prompts: which there are, and that each claims what it says."""

from collections import Counter

from evaluation.protocols.prompts import packaged_prompts
from evaluation.scenes.claims import HELD_OUT, UNSEEN, Claims, read_claims
from evaluation.scenes.wording import WORDS, caption_of

PROMPTS = packaged_prompts("scenes").prompts


def claims_of(group: str) -> list[Claims]:
    return [read_claims(each.claims) for each in PROMPTS if each.group == group]


def pairs(claims: Claims) -> set[tuple[str, str]]:
    return {(each.colour, each.shape) for each in claims.objects if each.colour and each.shape}


def test_the_packaged_prompts_are_the_same_for_ever() -> None:
    digest = "7014426235cdef310fd1404e8626adfded1b20303d89398e114f12a4384cd19b"

    assert packaged_prompts("scenes").digest() == digest


def test_each_group_asks_for_what_it_is_called() -> None:
    assert Counter(each.group for each in PROMPTS) == {
        "colour": 6,
        "shape": 4,
        "size": 2,
        "number": 3,
        "pair": 20,
        UNSEEN: 12,
        "relation": 16,
        "count": 17,
    }
    assert [each.text for each in PROMPTS[:1]] == ["a red shape"]
    for group, named in (("colour", "colour"), ("shape", "shape"), ("size", "size")):
        for claims in claims_of(group):
            assert {*claims.to_record()["objects"][0]} == {named, "count"}


def test_held_out_pairs_are_asked_for_in_their_group_alone() -> None:
    for prompt in PROMPTS:
        held_out = pairs(read_claims(prompt.claims)) & HELD_OUT
        assert bool(held_out) == (prompt.group == UNSEEN), prompt.text
    assert {pair for claims in claims_of(UNSEEN) for pair in pairs(claims)} == HELD_OUT


def test_prompts_say_what_they_claim_in_words_of_captions() -> None:
    for prompt in PROMPTS:
        assert caption_of(read_claims(prompt.claims)) == prompt.text
        assert {*prompt.text.split()} <= WORDS
