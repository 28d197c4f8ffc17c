"""What a protocol's page says of the test that its extractor went through before use."""

from typing import Any

import pytest
from django.test import Client

from catalog.models import Protocol
from leaderboards.admission_box import admission_of
from tests import factories
from tests.web import html

pytestmark = pytest.mark.django_db

RECORD: dict[str, Any] = {
    "version": 2,
    "count": 648,
    "passed": True,
    "reasons": [],
    "floor": {"value": 1.31, "corrected": 0.42, "interval": [0.3, 0.54]},
    "ladders": {
        "noise": [{"level": 5, "value": 0.71}, {"level": 40, "value": 93.2}],
        "dropped_classes": [{"level": 0.5, "value": 12.3}, {"level": 0.9, "value": None}],
    },
    "batch_invariance": 3.1e-7,
}


def admission(client: Client, record: dict[str, Any] | None) -> html.Element:
    """Return the part of a protocol's page that speaks of its admission."""
    facts = {"test_accuracy": 0.98} | ({"admission": record} if record else {})
    protocol = factories.make_protocol(facts=facts)
    return html.get(client, f"/protocols/{protocol.fingerprint}/").one(
        "div", class_name="admission"
    )


def test_a_passed_test_is_shown_with_its_floor_and_its_ladders(client: Client) -> None:
    part = admission(client, RECORD)

    assert part.one("span", class_name="status").text == "passed"
    facts = {d.one("dt").text: d.one("dd").text for d in part.one("dl").all("div")}
    assert facts["Images on each side"] == "648"
    assert facts["Floor"] == "0.42 ± 0.12 between two halves of the real images"
    assert facts["Batch size"].startswith("3.1e-07")
    rows = [
        [cell.text for cell in row.walk() if cell.tag in ("th", "td")] for row in part.all("tr")
    ]
    assert rows == [
        ["Noise", "5", "40"],
        ["Fréchet distance", "0.710", "93.2"],
        ["Dropped classes", "0.5", "0.9"],
        ["Fréchet distance", "12.3", "–"],
    ]


def test_a_failed_test_names_its_reasons(client: Client) -> None:
    reasons = ["noise: 0.3 at level 10 is no more than 0.4 at level 5"]

    part = admission(client, {**RECORD, "passed": False, "reasons": reasons})

    assert part.one("span", class_name="status").text == "failed"
    assert [item.text for item in part.all("li")] == reasons


def test_a_protocol_without_the_test_says_so(client: Client) -> None:
    part = admission(client, None)

    assert part.one("span", class_name="status").text == "not tested"
    assert part.all("table") == []


def test_a_floor_without_an_interval_is_shown_alone_and_an_absent_one_by_its_reason(
    client: Client,
) -> None:
    alone = admission(client, {**RECORD, "floor": {"value": 1.31, "interval": None}})
    absent = admission(client, {**RECORD, "floor": {"absent": True, "reason": "too few images"}})

    assert "1.31 between two halves" in alone.text
    assert "too few images" in absent.text


def test_a_boards_page_names_the_verdict_and_leads_to_the_test(client: Client) -> None:
    protocol: Protocol = factories.make_protocol(facts={"admission": RECORD})

    page = html.get(client, f"/leaderboards/{protocol.fingerprint}/")

    (link,) = [a for a in page.all("a") if a.text == "passed"]
    assert link.attributes["href"] == f"/protocols/{protocol.fingerprint}/#admission-heading"
    assert "batch_invariance" not in page.text and "batch invariance" not in page.text


def test_a_classifiers_accuracy_is_shown_with_the_least_it_must_be(client: Client) -> None:
    classifier = {"accuracy": 0.625, "images": 40, "chance": 0.1, "low": 0.483, "floor": 0.55}

    part = admission(client, {**RECORD, "classifier": classifier})

    facts = {d.one("dt").text: d.one("dd").text for d in part.one("dl").all("div")}
    assert facts["Classifier"] == (
        "right on 62.5% of 40 held-out images, at least 48.3% with 95% confidence; expected 55.0%"
    )


def test_a_test_by_the_rules_of_before_says_so(client: Client) -> None:
    before = {name: value for name, value in RECORD.items() if name != "version"}

    part = admission(client, before)

    assert part.one("span", class_name="status").text == "passed"
    assert (
        "By the rules of before, which asked neither how often a classifier is right" in part.text
    )
    protocol = Protocol.objects.get()
    page = html.get(client, f"/leaderboards/{protocol.fingerprint}/")
    assert [a for a in page.all("a") if a.text == "passed by the rules of before"]


def test_too_few_images_for_a_metric_leave_that_metric_without_ranks(client: Client) -> None:
    reason = "FD[classifier]: 40 scored images are fewer than 5 for each of 64 features"

    part = admission(client, {**RECORD, "passed": False, "unranked": {"fd": reason}})

    assert part.one("span", class_name="status").text == "failed"
    assert [item.text for item in part.all("li")] == [reason]
    assert "have no ranks in the metrics named" in part.text
    found = admission_of(Protocol.objects.get())
    assert (found.verdict, dict(found.unranked)) == ("failed", {"fd": reason})
