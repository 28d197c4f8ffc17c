"""What every page promises: its width with any name, its weight, its words without scripts."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from catalog.models import Dataset, Protocol
from experiments.models import Entry, Experiment
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium, look_at_charts, sign_in
from tests.web import html, scenes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
]
MOST_BYTES = 100_000  # of styles, scripts and drawings of our own, uncompressed
OURS = """performance.getEntriesByType('resource')
  .filter((each) => /static.web.|families.css/.test(each.name) && !/glossary|plotly/.test(each.name))
  .map((each) => [each.name, each.decodedBodySize])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def context(browser: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    opened = browser.new_context(
        base_url=live_server.url, viewport={"width": 390, "height": 844}, reduced_motion="reduce"
    )
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    for page in opened.pages:
        page.goto("about:blank")  # nothing asks the server any more when the database is emptied
    opened.close()


def name_at_length() -> None:
    """Give everything the longest name that it may have, in one word."""
    for model, field, most in ((Experiment, "name", 200), (Dataset, "name", 100)):
        for row in model.objects.all():
            model.objects.filter(pk=row.pk).update(**{field: f"{row.pk:06d}".ljust(most, "w")})
    Protocol.objects.update(name="p" * 100)
    for entry in Entry.objects.all():
        Entry.objects.filter(pk=entry.pk).update(label=f"{entry.pk:06d}".ljust(100, "m"))


def test_names_of_one_long_word_stay_within_every_page(
    context: BrowserContext, live_server: LiveServer
) -> None:
    pages = [*scenes.everything(), *scenes.FORMS, "/account/"]
    name_at_length()
    sign_in(context, live_server, factories.make_user(role=Role.ADMIN))
    page = context.new_page()

    wide = []
    for address in pages:
        page.goto(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        wide += [(address, width)] if width != 390 else []

    assert wide == []


def test_a_page_needs_few_bytes_of_our_own_and_moves_nothing_where_that_is_not_wished(
    context: BrowserContext, live_server: LiveServer
) -> None:
    pages = [*scenes.everything(), *scenes.FORMS, "/account/"]
    sign_in(context, live_server, factories.make_user(role=Role.ADMIN))

    for address in pages:
        page = context.new_page()  # with nothing kept from the page before
        page.goto(address)
        page.wait_for_load_state("load")
        sizes = page.evaluate(OURS)
        assert len(sizes) > 3, address
        assert sum(size for _, size in sizes) <= MOST_BYTES, (address, sizes)
        assert page.evaluate("document.getAnimations().length") == 0, address
        page.goto("about:blank")
        page.close()


def test_every_page_can_be_read_without_scripts(client: Client) -> None:
    addresses = scenes.everything()
    for address in addresses:
        page = html.get(client, address)
        assert page.one("h1").text, address
        assert len(page.one("main").text) > 30, address
        for chart in (each for each in page.walk() if "data-chart" in each.attributes):
            assert "needs JavaScript" in chart.text, address
            assert "numbers" in chart.text, address


def test_a_head_explains_itself_to_a_mouse_and_to_a_key_and_leads_to_its_word(
    context: BrowserContext,
) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page = context.new_page()
    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    question = page.locator(".explain").first
    told = "(e) => getComputedStyle(e, '::after').content"
    assert question.evaluate(told) == "none"

    question.hover()
    assert "normal distributions of features" in question.evaluate(told)
    page.mouse.move(0, 0)
    assert question.evaluate(told) == "none"
    question.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert "normal distributions of features" in question.evaluate(told)
    question.click()

    expect(page.locator("h1")).to_have_text("FID and FD")


def test_charts_come_with_their_library_when_they_come_into_view_and_speak_with_the_table(
    context: BrowserContext,
) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 400})
    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("typeof window.Plotly") == "undefined"

    look_at_charts(page, 1)
    chart = page.locator("[data-chart=trilemma]")
    chart.scroll_into_view_if_needed()
    assert len(page.locator(".speed-key .speed-mark").all()) in (0, 3)
    drag(page, chart.locator(".nsewdrag").first.bounding_box(), (0.02, 0.6), (0.5, 0.98))

    outside = page.locator("tr.is-outside")
    expect(outside).not_to_have_count(0)
    assert outside.count() < page.locator("tbody tr .tick").count()
    middle = chart.locator(".nsewdrag").first
    middle.dblclick()
    expect(outside).to_have_count(0)


def drag(page: Page, box: Any, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a box with the mouse between two places, as shares of the area."""
    (x, y), (across, down) = (box["x"], box["y"]), (box["width"], box["height"])
    page.mouse.move(x + begin[0] * across, y + begin[1] * down)
    page.mouse.down()
    page.mouse.move(x + end[0] * across, y + end[1] * down, steps=5)
    page.mouse.up()
