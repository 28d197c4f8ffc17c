"""The measured error rates: at most what boards promise, and the same on the page and in its text."""

import pytest
from django.test import Client

from leaderboards import error_rates
from tests.site import ROOT


def test_no_measured_rate_is_above_what_boards_promise() -> None:
    rates = error_rates.measured()

    assert {row.seeds for row in rates} == {1, 2, 3, 5, 10}
    assert max(max(row.wrong_leader, row.wrong_range) for row in rates) <= 0.05


@pytest.mark.django_db
def test_the_page_and_its_text_show_every_rate(client: Client) -> None:
    page = client.get("/judging/").content.decode()
    text = (ROOT / ".readme" / "judging.md").read_text("utf-8")

    for row in error_rates.measured():
        shares = [f"{100 * x:.1f} %" for x in (row.wrong_leader, row.wrong_range, row.power)]
        cells = "".join(f'<td class="number">{share}</td>' for share in shares)
        assert f'<td class="number">{row.seeds}</td><td>{row.spread}</td>{cells}' in page
        assert f"| {row.seeds} | {row.spread} | {' | '.join(shares)} |" in text
