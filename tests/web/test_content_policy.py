"""What a browser may load and do: a strict policy that no page of the site offends."""

from collections.abc import Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium, look_at_charts
from tests.web import scenes

STRICT = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}
INLINE_STYLE = STRICT - {"style-src 'self'"} | {"style-src 'self' 'unsafe-inline'"}
ADMIN = INLINE_STYLE - {"script-src 'self'"} | {"script-src 'self' 'unsafe-eval'"}
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


def policy(client: Client, address: str) -> set[str]:
    return set(client.get(address)["Content-Security-Policy"].split("; "))


@pytest.mark.django_db
def test_every_answer_has_the_strict_policy_and_few_pages_may_write_styles(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    charts = {
        scene.experiment.get_absolute_url(),
        *(run.get_absolute_url() for run in scene.runs),
        f"/leaderboards/{scene.protocol.fingerprint}/",
    }

    for address in scenes.addresses(scene):
        expected = INLINE_STYLE if address in charts else STRICT
        assert policy(client, address) == expected, address
    for address in ("/login/", "/health/", "/nothing/", "/api/runs/"):
        assert policy(client, address) == STRICT, address
    assert policy(client, "/api/docs/") == INLINE_STYLE
    assert policy(client, "/admin/login/") == ADMIN


@pytest.mark.django_db
def test_answers_tell_browsers_to_guess_send_and_share_nothing(client: Client) -> None:
    for address in ("/", "/api/runs/", "/admin/login/"):
        response = client.get(address)

        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["X-Frame-Options"] == "DENY"
        assert response["Referrer-Policy"] == "same-origin"
        assert response["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in response["Permissions-Policy"]


@pytest.mark.django_db
def test_files_are_what_they_say_and_images_of_a_sample_set_are_saved_not_shown(
    client: Client,
) -> None:
    drawn = factories.make_sample_set(files=True)

    for address, kind, disposition in (
        (f"/samples/{drawn.pk}.png", "image/png", "inline"),
        (f"/api/samplesets/{drawn.pk}/grid/", "image/png", "inline"),
        (f"/api/samplesets/{drawn.pk}/file/", "application/octet-stream", "attachment"),
    ):
        response = client.get(address)

        assert response["Content-Type"] == kind, address
        assert response["Content-Disposition"].startswith(disposition), address
        assert response["X-Content-Type-Options"] == "nosniff", address
        response.close()


@pytest.mark.django_db
def test_djangos_debug_pages_keep_their_styles(client: Client, settings: Settings) -> None:
    settings.DEBUG = True

    assert "Content-Security-Policy" not in client.get("/nothing/")
    assert policy(client, "/") == STRICT


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def complaints() -> list[str]:
    """What the browser refused during a test."""
    return []


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, complaints: list[str]) -> Iterator[Page]:
    """A tab that writes down what the policy refused, errors among it."""
    context = browser.new_context(base_url=live_server.url)
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    tab.goto("about:blank")  # nothing asks the server any more when the database is emptied
    context.close()


@in_a_browser
@pytest.mark.django_db(transaction=True)
def test_no_page_offends_the_policy(page: Page, complaints: list[str]) -> None:
    done, live = scenes.finished_comparison(seeds=1), scenes.running_comparison()

    for address in scenes.addresses(done, live):
        page.goto(address)
    page.goto(done.experiment.get_absolute_url())
    look_at_charts(page, 5)

    assert complaints == []


@in_a_browser
@pytest.mark.django_db(transaction=True)
def test_the_interfaces_description_is_drawn(page: Page, complaints: list[str]) -> None:
    page.goto("/api/docs/")

    page.locator(".opblock-summary", has_text="/api/v1/runs/").first.click()

    expect(page.get_by_text("Parameters").first).to_be_visible()
    assert complaints == []


@in_a_browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_the_admin_works_under_its_own_policy(page: Page, complaints: list[str]) -> None:
    scene = scenes.running_comparison()
    user = factories.make_user(role=Role.ADMIN)
    page.goto("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)

    for address in (
        "/admin/experiments/experiment/",
        f"/admin/experiments/experiment/{scene.experiment.pk}/change/",
        "/admin/experiments/run/",
        f"/admin/accounts/user/{user.pk}/change/",
        f"/admin/experiments/experiment/{scene.experiment.pk}/history/",
    ):
        page.goto(address)
        expect(page.locator("h1").first).to_be_visible()
    assert complaints == []


@in_a_browser
@pytest.mark.django_db(transaction=True)
def test_a_script_in_a_page_does_not_run(page: Page, complaints: list[str]) -> None:
    page.goto("/")

    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = true';"
        "document.body.append(s);"
        "document.body.insertAdjacentHTML('beforeend', '<button onclick=\"window.ran = 1\">x')"
    )
    page.locator("body > button").last.click()

    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in complaints)
