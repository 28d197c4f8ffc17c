"""What is claimed of a scene, and whether it follows."""

from typing import Any

import pytest

from evaluation.scenes.claims import (
    ClaimError,
    Scene,
    Thing,
    claimed,
    follows,
    left_open,
    read_claims,
)


def thing(words: str, left: int = 0, top: int = 0) -> Thing:
    size, colour, shape = words.split()
    return Thing(colour, shape, size, left, top, 9 if size == "small" else 14)


def told(*objects: dict[str, Any], relation: str | None = None) -> Any:
    return read_claims({"objects": list(objects), "relation": relation})


RED_CIRCLE = Scene((thing("small red circle"),))
TWO = Scene((thing("small red circle"), thing("large blue square", 15, 0)))


def test_each_attribute_is_judged_alone_and_all_together() -> None:
    claims = told({"colour": "red", "shape": "square", "size": "small", "count": 1})

    assert follows(claims, RED_CIRCLE) == {
        "colour": True,
        "shape": False,
        "size": True,
        "count": True,
        "all": False,
    }
    # The square is there, but is not the red one: nothing is right together.
    assert follows(claims, TWO) == {
        "colour": True,
        "shape": True,
        "size": True,
        "count": False,
        "all": False,
    }


def test_the_number_of_objects_is_exact() -> None:
    assert follows(told({"colour": "red", "count": 1}), RED_CIRCLE)["all"]
    assert not follows(told({"colour": "red", "count": 1}), TWO)["all"]
    assert follows(told({"count": 2}), TWO) == {"count": True, "all": True}
    assert follows(told({"count": 2}), RED_CIRCLE) == {"count": False, "all": False}


def test_without_a_count_there_may_be_more() -> None:
    assert follows(told({"colour": "red"}), TWO) == {"colour": True, "all": True}


def test_as_many_objects_as_claimed_have_the_colour() -> None:
    assert not follows(told({"colour": "red", "count": 2}), TWO)["colour"]


@pytest.mark.parametrize(
    ("relation", "first", "second", "holds"),
    [
        ("left of", "red", "blue", True),
        ("left of", "blue", "red", False),
        ("above", "red", "blue", False),
    ],
)
def test_a_relation_is_of_the_first_to_the_second(
    relation: str, first: str, second: str, holds: bool
) -> None:
    claims = told({"colour": first, "count": 1}, {"colour": second, "count": 1}, relation=relation)

    found = follows(claims, TWO)

    assert found == {"colour": True, "count": True, "relation": holds, "all": holds}


def test_objects_side_by_side_are_related_only_where_their_boxes_are_apart() -> None:
    claims = told({"colour": "red", "count": 1}, {"colour": "blue", "count": 1}, relation="left of")
    near = Scene((thing("small red circle", 0), thing("large blue square", 8, 12)))

    assert not follows(claims, near)["relation"]


def test_what_no_claim_names_is_left_open() -> None:
    assert left_open(told({"colour": "red", "count": 1})) == ("shape", "size")
    assert left_open(told({"colour": "red"}, {"size": "large"})) == ("shape",)
    assert left_open(told({"colour": "red", "shape": "cross", "size": "small"})) == ()


@pytest.mark.parametrize("relation", ["left of", None])
def test_what_is_claimed_is_what_is_judged(relation: str | None) -> None:
    for claims in (
        told({"colour": "red", "count": 1}, {"size": "large", "count": 1}, relation=relation),
        told({"colour": "red"}, {"shape": "cross"}, relation=relation),
    ):
        assert claimed(claims) == follows(claims, TWO).keys()


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ([], "claims"),
        ({"objects": []}, "claims.objects"),
        ({"objects": [{}], "more": 1}, "claims"),
        ({"objects": [{"colour": "pink"}]}, "claims.objects.colour"),
        ({"objects": [{"count": 0}]}, "claims.objects.count"),
        ({"objects": [{"count": True}]}, "claims.objects.count"),
        ({"objects": [{"count": 1.0}]}, "claims.objects.count"),
        ({"objects": [{"weight": 1}]}, "claims.objects"),
        ({"objects": [{"count": 2}, {"count": 2}]}, "claims.objects"),
        ({"objects": [{}], "relation": "left of"}, "claims.relation"),
        ({"objects": [{}, {}], "relation": "below"}, "claims.relation"),
        ({"objects": [{"colour": ["red"]}]}, "claims.objects.colour"),
    ],
)
def test_wrong_claims_are_refused_by_name(record: object, named: str) -> None:
    with pytest.raises(ClaimError, match=f"^{named}: expected"):
        read_claims(record)
