"""From a board to an answer in the five clicks that the help tells."""

import pytest
from pytest_django.live_server_helper import LiveServer

from experiments.models import Entry
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium
from tests.web import five_clicks, scenes


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
@pytest.mark.django_db(transaction=True)
def test_five_clicks_lead_from_a_board_to_an_answer(live_server: LiveServer) -> None:
    scenes.finished_comparison(seeds=1)
    for before, after in (("DDPM", "Diffusion"), ("σ-VAE", "VAE")):
        assert Entry.objects.filter(label=before).update(label=after) == 1

    with chromium() as browser:
        page = browser.new_context(base_url=live_server.url).new_page()
        page.set_default_timeout(PATIENCE_MS)
        five_clicks.walk(page)
        page.goto("about:blank")


def test_the_help_tells_five_clicks() -> None:
    assert [deed for deed, _ in five_clicks.written()] == [
        "Click",
        "Tick",
        "Tick",
        "Click",
        "Click",
    ]
