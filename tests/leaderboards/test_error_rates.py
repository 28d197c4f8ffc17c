"""The measured error rates: at most what boards promise, and the same on the page."""

import json

import pytest
from django.test import Client

from tests.benchmarks.judgements.ranks import RATES
from tests.web import html

ROWS = json.loads(RATES.read_text("utf-8"))
RATES_SHOWN = ("wrong_leader", "wrong_range", "power")


def test_no_measured_rate_is_above_what_boards_promise() -> None:
    assert {row["seeds"] for row in ROWS} == {1, 2, 3, 5, 10}
    assert max(max(row["wrong_leader"], row["wrong_range"]) for row in ROWS) <= 0.05


@pytest.mark.django_db
def test_the_page_shows_every_rate(client: Client) -> None:
    table = html.get(client, "/judging/").one("tbody")

    shown = [[cell.text for cell in row.all("td")] for row in table.all("tr")]
    assert shown == [
        [str(row["seeds"]), row["spread"], *(f"{100 * row[rate]:.1f} %" for rate in RATES_SHOWN)]
        for row in ROWS
    ]
