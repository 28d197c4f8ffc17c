"""The log on a run's page in a real browser: it follows while it is open and its end is in view."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from experiments.models import Run
from jobs.models import Status
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium
from tests.servers import wait_until

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
]


@pytest.fixture
def page(live_server: LiveServer) -> Iterator[Page]:
    with chromium() as browser:
        context = browser.new_context(base_url=live_server.url, color_scheme="light")
        context.set_default_timeout(PATIENCE_MS)
        tab = context.new_page()
        yield tab
        tab.goto("about:blank")  # nothing is asked while the database is emptied
        context.close()


def open_as_admin(page: Page, run: Run) -> list[str]:
    """Open a run's page; return the list of what is asked for from then on."""
    page.goto("/login/?next=" + run.get_absolute_url())
    page.get_by_label("Username").fill(factories.make_user(role=Role.ADMIN).username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def test_a_log_is_followed_while_it_is_open_and_its_end_in_view(page: Page) -> None:
    run = factories.make_run(status=Status.RUNNING)
    path = factories.make_log(run, "".join(f"line {number}\n" for number in range(100)))
    asked = open_as_admin(page, run)

    def of_log() -> int:
        return sum("/live/log/" in address for address in asked)

    wait_until(
        lambda: page.title() and len(asked) >= 4, seconds=60, what="other parts to be asked for"
    )
    assert of_log() == 0  # it is folded

    page.get_by_text("What workers logged").click()
    end = page.locator("[data-tail]")
    expect(end).to_contain_text("line 99")
    with path.open("a") as file:
        file.write("and one more\n")
    expect(end).to_contain_text("and one more", timeout=30_000)
    expect(page.locator("details.log")).to_have_attribute("open", "")
    assert end.evaluate("element => element.scrollTop") == 0  # its end

    end.evaluate("element => { element.scrollTop = -300; }")
    before, others = of_log(), len(asked)
    wait_until(
        lambda: page.title() and len(asked) >= others + 6,
        seconds=60,
        what="other parts to be asked for",
    )
    assert of_log() <= before + 1  # one may have been on its way
