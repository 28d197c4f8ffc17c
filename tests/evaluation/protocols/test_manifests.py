"""What is said of images that were made elsewhere: read, refused, shown as not said."""

from datetime import date
from typing import Any

import pytest
import yaml

from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.manifests import COSTS, NOT_SAID, TEXTS, Manifest, template

WHOLE = {
    "system": "DALL-E",
    "version": "3",
    "date": "2026-11-29",
    "made_by": "Jo",
    "chosen": "all",
    "costs": {"nfe": 50.0, "images_per_second": 0.5},
    "seeds": [3, 1, 2],
}


def test_what_is_not_said_is_shown_so() -> None:
    manifest = Manifest.from_record({"system": "DALL-E"})

    assert manifest.said == {**dict.fromkeys(TEXTS, NOT_SAID), "system": "DALL-E"}
    assert manifest.to_record() == {"system": "DALL-E"}
    assert (manifest.costs, manifest.seeds) == ({}, ())


def test_a_manifest_comes_back_as_it_was_said() -> None:
    manifest = Manifest.from_record(WHOLE)

    assert manifest.label == "DALL-E 3"
    assert manifest.to_record() == WHOLE
    assert Manifest.from_record(manifest.to_record()) == manifest


def test_numbers_and_days_may_be_text_or_what_yaml_makes_of_them() -> None:
    as_text = Manifest.from_record(
        {"system": "a", "version": "1.5", "costs": {"nfe": "50"}, "seeds": ["3"]}
    )
    as_values = Manifest.from_record(
        {"system": "a", "version": 1.5, "date": date(2026, 11, 29), "costs": {"nfe": 50}}
    )

    assert (as_text.version, as_text.costs, as_text.seeds) == ("1.5", {"nfe": 50.0}, (3,))
    assert (as_values.version, as_values.date) == ("1.5", "2026-11-29")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "manifest: expected field: value pairs, got None"),
        ([], "manifest: expected field: value pairs, got []"),
        ({}, "system: missing; expected which system made the images"),
        ({"system": " "}, "system: missing; expected which system made the images"),
        ({"system": "x" * 81}, "system: expected text of at most 80 printable characters"),
        ({"system": "a\nb"}, "system: expected text of at most 80 printable characters"),
        ({"system": ["a"]}, "system: expected text of at most 80 printable characters"),
        ({"system": True}, "system: expected text of at most 80 printable characters"),
        ({"system": "a", "sistem": "b"}, "sistem: unknown; expected system, version, date"),
        ({"system": "a", "date": "soon"}, "date: expected a day, YYYY-MM-DD, got 'soon'"),
        ({"system": "a", "date": "2026-02-30"}, "date: expected a day, YYYY-MM-DD"),
        ({"system": "a", "costs": 3}, "costs: expected name: number pairs, got 3"),
        ({"system": "a", "costs": {"price": 3}}, "costs.price: unknown; expected"),
        ({"system": "a", "costs": {"nfe": 0}}, "costs.nfe: expected a number above 0"),
        ({"system": "a", "costs": {"nfe": "nan"}}, "costs.nfe: expected a number above 0"),
        ({"system": "a", "costs": {"nfe": True}}, "costs.nfe: expected a number above 0"),
        ({"system": "a", "seeds": 3}, "seeds: expected at most 100,000 whole numbers"),
        ({"system": "a", "seeds": [0.5]}, "seeds: expected at most 100,000 whole numbers"),
        ({"system": "a", "seeds": [-1]}, "seeds: expected at most 100,000 whole numbers"),
    ],
)
def test_a_wrong_manifest_is_refused_at_its_field(record: Any, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Manifest.from_record(record)

    assert str(caught.value).startswith(message)


def test_the_template_asks_for_everything_and_needs_the_system_alone() -> None:
    text = template("Of the prompts scenes.")

    found = yaml.safe_load(text)
    assert set(found) == {*TEXTS, "costs"}
    assert all(name in text for name in COSTS)
    assert text.startswith("# Of the prompts scenes.\n")
    with pytest.raises(ProtocolError, match="system: missing"):
        Manifest.from_record(found)
    assert Manifest.from_record({**found, "system": "a"}) == Manifest("a")
