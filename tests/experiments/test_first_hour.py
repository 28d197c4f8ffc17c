"""The first hour on an empty site, as a stranger has it: from no account to a board of own photos."""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from tests.browsers import CHROMIUM, chromium
from tests.servers import wait_until
from tests.site import Site

PASSWORD = "a long one for tests"  # noqa: S105  # of the site that the test makes
WAIT_MS = 240_000  # for a worker's work on busy cores
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]


def photos(path: Path) -> Path:
    """Write photos of ten kinds and three sizes: packaged handwritten digits, enlarged."""
    digits = load_digits()
    with zipfile.ZipFile(path, "w") as archive:
        for index, (image, kind) in enumerate(zip(digits.images, digits.target, strict=True)):
            encoded = io.BytesIO()
            pixels = np.kron(
                (image * 15.9).astype(np.uint8), np.ones([1 + index % 3] * 2, np.uint8)
            )
            Image.fromarray(pixels).save(encoded, format="PNG")
            archive.writestr(f"{kind}/{index}.png", encoded.getvalue())
    return path


@pytest.fixture
def site(data_dir: Path) -> Iterator[Site]:
    """Yield a site as `migrate` leaves it."""
    with closing(Site(data_dir, DJANGO_SUPERUSER_PASSWORD=PASSWORD)) as site:
        site.manage("migrate", "-v0")
        site.start_web()
        yield site


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(base_url=site.address)
        page.set_default_timeout(30_000)
        yield page


def steps_done(page: Page) -> list[bool]:
    """Return which steps to a first board the start page says are done."""
    page.goto("/")
    return [
        "step-done" in (each.get_attribute("class") or "") for each in page.locator(".step").all()
    ]


def test_a_stranger_comes_from_an_empty_site_to_a_board_of_own_photos(
    site: Site, page: Page, tmp_path: Path
) -> None:
    assert steps_done(page) == [False] * 5
    expect(page.locator("svg.picture-idea")).to_be_visible()
    expect(page.locator(".step").first).to_contain_text("manage.py createsuperuser")
    site.manage("createsuperuser", "--noinput", "--username=ada", "--email=a@example.org")
    sign_in(page)
    site.start_worker()
    wait_until(lambda: steps_done(page)[1], seconds=WAIT_MS // 1000, what="the worker on the page")

    bring_photos(page, photos(tmp_path / "photos.zip"))
    assert steps_done(page) == [True, True, True, False, False]
    ask_for_a_protocol(page)
    assert steps_done(page) == [True, True, True, True, False]
    submit(page)

    expect(page.locator("main")).to_contain_text("completed", timeout=WAIT_MS)
    read(page)
    call(page)


def sign_in(page: Page) -> None:
    page.get_by_role("link", name="Sign in and fill in the form").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("main")).to_contain_text("There is no dataset yet.")
    page.goto("/")


def bring_photos(page: Page, archive: Path) -> None:
    """Hand in photos of several sizes, which is refused, then again with a resolution."""
    page.get_by_role("link", name="Bring an archive here").click()
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("Name")
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_label("Name").fill("photos")
    page.locator("input[type=file]").set_input_files(str(archive))
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".run-reason")).to_contain_text("fill in Resolution", timeout=WAIT_MS)

    page.get_by_role("link", name="hand them in again").click()
    expect(page.get_by_label("Name")).to_have_value("photos")
    page.get_by_label("Resolution").fill("8")
    page.get_by_label("photos.zip").check()
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("button", name="Register", exact=True).click(timeout=WAIT_MS)
    expect(page.locator("main")).to_contain_text("Registered as photos")


def ask_for_a_protocol(page: Page) -> None:
    page.get_by_role("link", name="Ask for one here").click()
    expect(page.get_by_label("Dataset")).to_have_value("photos")
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.locator("main")).to_contain_text("passed", timeout=WAIT_MS)
    expect(page.get_by_role("link", name="Submit an experiment under it")).to_be_visible()


def submit(page: Page) -> None:
    """Submit an experiment: first without a name, which is said at its field, in view and focused."""
    page.get_by_role("link", name="Fill in the form").click()
    expect(page.locator("[name=protocols]:checked")).to_have_count(1)
    page.get_by_role("button", name="Submit experiment").click()
    expect(page.locator("#name-wrong")).to_contain_text("Expected a name")
    expect(page.locator("#name")).to_be_focused()
    expect(page.locator("#name")).to_be_in_viewport()
    page.locator("#name").fill("My photos")
    page.locator("#amount").fill("640")
    page.locator("#entries-2-samplers-0-steps").fill("4")
    expect(page.locator("#submit-panel")).to_contain_text("3 entries × 1 seed: 3 runs.")
    page.get_by_role("button", name="Submit experiment").click()
    expect(page.locator("h1")).to_have_text("My photos")


def read(page: Page) -> None:
    """Read the board of the photos, the claims, and the start page."""
    page.get_by_role("link", name=re.compile("photos · ")).first.click()
    expect(page.locator("table.ranking tr[data-entry]")).to_have_count(7)
    page.goto("/claims/")
    expect(page.locator("main")).to_contain_text("Submit what would tell")
    page.goto("/")
    expect(page.locator(".step")).to_have_count(0)
    expect(page.locator(".hero-figure .picture-mark").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("My photos")


def call(page: Page) -> None:
    """Make a token in the browser and read with it."""
    page.goto("/account/")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#tokens .notice pre code").first.inner_text()
    headers = {"Authorization": f"Token {token}"}
    answer = page.context.browser.new_context(base_url=page.url).request.get(  # type: ignore[union-attr]
        "/api/v1/preference/", headers=headers
    )
    assert (len(token), answer.status) == (64, 200)
