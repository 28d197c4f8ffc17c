"""The submission form in a real browser: presets fill in blocks, with and without JavaScript."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from generators.specs import registry
from generators.specs.algorithms import Preset
from tests import factories
from tests.admin.pages import ADD
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("small_vae", "static_root"),
]
CHANNELS, LATENT = "[name=entries-1-config-base_channels]", "[name=entries-1-config-latent_dim]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def small_vae(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the VAE a preset that is known here."""
    spec = registry.get_spec("vae.conv")
    tiny = Preset(images=12_345, config={"base_channels": 7, "latent_dim": 5})
    presets = {**spec.presets, "tiny": tiny}
    monkeypatch.setitem(registry.ALGORITHMS, "vae.conv", replace(spec, presets=presets))


def open_form(browser: Browser, server: LiveServer, *, javascript: bool) -> Page:
    factories.make_protocol(dataset=factories.make_dataset(slug="digits"))
    user = factories.make_user(role=Role.ADMIN)
    page = browser.new_context(
        base_url=server.url, java_script_enabled=javascript, viewport={"width": 1280, "height": 900}
    ).new_page()
    page.set_default_timeout(PATIENCE_MS)
    address = f"{ADD}?algorithm=gan.sngan&algorithm=vae.conv"
    page.goto(f"/login/?next={quote(address)}")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(server.url + address)
    return page


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "none"])
def test_a_preset_fills_in_its_block_and_leaves_the_rest_as_it_was_typed(
    browser: Browser, live_server: LiveServer, javascript: bool
) -> None:
    page = open_form(browser, live_server, javascript=javascript)
    page.locator("[name=name]").fill("kept")
    page.locator("#entry-1 summary", has_text="Configuration").click()
    page.locator(LATENT).fill("6")

    page.locator("[name=entries-1-preset]").select_option("tiny")
    if not javascript:
        page.locator("#entry-1").get_by_role("button", name="Fill in").click()

    expect(page.locator(CHANNELS)).to_have_value("7")
    expect(page.locator(LATENT)).to_have_value("6")
    expect(page.locator("[name=entries-1-preset]")).to_have_value("tiny")
    expect(page.locator("#entry-1")).to_contain_text("meant for 12,345 images seen")
    expect(page.locator("[name=name]")).to_have_value("kept")
    page.context.close()


@pytest.mark.slow
def test_ticked_algorithms_are_added_folded_and_submitted(
    browser: Browser, live_server: LiveServer
) -> None:
    page = open_form(browser, live_server, javascript=True)
    page.locator("[name=name]").fill("many")
    for family in ("GAN", "VAE", "Diffusion"):
        page.get_by_role("group", name=family, exact=True).locator("input").first.check()
    page.locator("[name=add_preset]").select_option("tiny")

    page.get_by_role("button", name="Add the ticked").click()

    expect(page.locator("fieldset[id^=entry-]")).to_have_count(5)
    expect(page.locator("fieldset[id^=entry-] > details[open]")).to_have_count(0)
    expect(page.locator("#entry-4 > details > summary")).to_contain_text("tiny")
    page.get_by_role("button", name="Submit experiment").click()
    expect(page.locator("h1")).to_have_text("many")
    page.context.close()
