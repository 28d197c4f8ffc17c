"""Pages before axe-core, where npm can fetch it; and the keyboard."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from tests import factories
from tests.browsers import CHROMIUM, chromium, sign_in
from tests.web import scenes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
]
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the code of axe-core, from npm into a folder that is deleted."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("axe")
    packed = subprocess.run(
        [npm, "pack", "axe-core"], cwd=folder, capture_output=True, check=False, timeout=120
    )
    archives = list(folder.glob("axe-core-*.tgz"))
    if packed.returncode or not archives:
        pytest.skip("npm cannot fetch axe-core")
    with tarfile.open(archives[0]) as archive:
        code = archive.extractfile("package/axe.min.js")
        assert code is not None, "it is a plain file"
        return code.read().decode()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_fault(
    browser: Browser, live_server: LiveServer, axe: str, theme: Literal["light", "dark"], width: int
) -> None:
    pages = [*scenes.everything(), *scenes.FORMS, "/help/settings/", "/account/"]
    context = browser.new_context(
        base_url=live_server.url,
        viewport={"width": width, "height": 900},
        color_scheme=theme,
        bypass_csp=True,  # the pages' policy forbids such scripts
    )
    sign_in(context, live_server, factories.make_user(role=Role.ADMIN))
    tab, found = context.new_page(), []

    for address in pages:
        tab.goto(address)
        found += faults(tab, axe)
    tab.goto("/submit/experiment/")
    tab.get_by_role("button", name="Submit experiment").first.click()
    expect(tab.get_by_role("alert").first).to_be_visible()
    found += faults(tab, axe)
    tab.goto("about:blank")
    context.close()

    assert found == []


def faults(tab: Page, axe: str) -> list[tuple[str, str, str]]:
    """Return the serious faults of the page that is open: where, which, and the first place."""
    tab.evaluate(f"{axe}; 0")
    said = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    grave = [each for each in said["violations"] if each["impact"] in GRAVE]
    return [(tab.url, each["id"], each["nodes"][0]["html"]) for each in grave]


def test_rows_and_fields_are_reached_by_keys(browser: Browser, live_server: LiveServer) -> None:
    scene = scenes.finished_comparison()
    context = browser.new_context(base_url=live_server.url)
    tab = context.new_page()
    tab.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    focused = "document.activeElement.closest('tr')?.rowIndex"

    tab.keyboard.press("j")
    first = tab.evaluate(focused)
    tab.keyboard.press("j")
    assert tab.evaluate(focused) > first
    tab.keyboard.press("k")
    assert tab.evaluate(focused) == first
    tab.keyboard.press("?")
    expect(tab.locator("dialog.keys")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog.keys")).to_be_hidden()
    tab.goto("/experiments/")
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.matches('input, select')")
    tab.goto("about:blank")
    context.close()
