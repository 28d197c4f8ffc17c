"""The form that submits experiments in a real browser, with a keyboard, on a phone."""

import re

import pytest
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from experiments.models import Experiment
from generators.specs import registry
from generators.specs.options import to_dict
from jobs.models import Status
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("static_root"),
]


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "none"])
def test_an_experiment_is_submitted_from_a_phone(live_server: LiveServer, javascript: bool) -> None:
    protocol = factories.make_protocol(dataset=factories.make_dataset(slug="digits"))
    past = factories.make_experiment(
        protocols=[protocol], entries=[{"algorithm": "vae.conv", "preset": "tiny"}]
    )
    worker = factories.make_worker(host="gpu-1")
    (entry,) = factories.contenders_of(past)
    factories.make_run(entry=entry, status=Status.COMPLETED, worker=worker)
    user = factories.make_user(role=Role.SUBMITTER)
    with chromium() as browser:
        page = browser.new_context(
            base_url=live_server.url,
            java_script_enabled=javascript,
            viewport={"width": 390, "height": 844},
        ).new_page()
        page.set_default_timeout(PATIENCE_MS)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto("/login/?next=/submit/experiment/%3Fentry=vae.conv")
        page.get_by_label("Username").fill(user.username)
        page.get_by_label("Password").fill(factories.PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_text("other options").first.click()

        beta = page.locator("#entries-0-config-beta")
        beta.fill("1, x")
        if javascript:
            expect(page.locator("#entries-0-config-beta-wrong")).to_contain_text("Expected")
            expect(beta).to_have_attribute("aria-invalid", "true")
            beta.fill("1, 4")
            expect(page.locator("#entries-0-config-beta-wrong")).to_be_empty()
        page.locator("#name").fill("from a phone")
        if javascript:
            expect(page.locator("#submit-panel")).to_contain_text("2 entries × 1 seed: 2 runs.")
            expect(page.locator("#submit-panel")).to_contain_text("on gpu-1")
        page.locator("#add-algorithm").select_option("gan.sngan")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#entries-1-label")).to_have_value(re.compile("GAN"))
        expect(beta).to_have_value("1, 4" if javascript else "1, x")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if not javascript:
            page.get_by_role("button", name="Submit experiment").click()
            expect(page.get_by_role("alert")).to_contain_text("beta")
            expect(beta).to_be_focused()
            beta.fill("1, 4")
        page.get_by_role("button", name="Submit experiment").click()

        expect(page.locator("h1")).to_have_text("from a phone")
        assert not [text for text in said if "400" not in text]
    made = Experiment.objects.get(name="from a phone")
    assert [entry.label for entry in factories.contenders_of(made)][1:] == [
        "Conv VAE beta=4",
        "SNGAN",
    ]


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "none"])
def test_a_preset_changes_what_holds_where_nothing_is_typed(
    live_server: LiveServer, javascript: bool
) -> None:
    factories.make_protocol(dataset=factories.make_dataset(slug="digits"))
    user = factories.make_user(role=Role.SUBMITTER)
    with chromium() as browser:
        page = browser.new_context(
            base_url=live_server.url, java_script_enabled=javascript
        ).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/login/?next=/submit/experiment/%3Fentry=gan.sngan%26entry=vae.conv")
        page.get_by_label("Username").fill(user.username)
        page.get_by_label("Password").fill(factories.PASSWORD)
        page.keyboard.press("Enter")
        page.locator("#name").fill("kept")
        page.locator("#entry-1 summary", has_text="other options").click()
        page.locator("#entries-1-config-latent_dim").fill("6")
        channels = page.locator("#entries-1-config-base_channels")
        expect(channels).to_have_attribute("placeholder", widths("tiny"))

        page.locator("#entries-1-preset").select_option("small")
        if not javascript:
            page.locator("#entry-1").get_by_role("button", name="Show what belongs").first.click()

        expect(channels).to_have_attribute("placeholder", widths("small"))
        expect(channels).to_have_value("")
        expect(page.locator("#entries-1-config-latent_dim")).to_have_value("6")
        expect(page.locator("#entries-1-preset")).to_have_value("small")
        expect(page.locator("#name")).to_have_value("kept")


def widths(preset: str) -> str:
    """Return the channels of a preset of the VAE, as the form hints at them."""
    return str(to_dict(registry.parse_config("vae.conv", {}, preset=preset))["base_channels"])
