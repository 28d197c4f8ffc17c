"""A comparison at 28×28, submitted in the admin with a browser and done by a real worker."""

import csv
import io
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from tests.browsers import CHROMIUM, chromium
from tests.site import ROOT, Site
from tests.web.forms import FORM, THREE

PASSWORD = "a long one for tests"  # noqa: S105  # of the site that the test makes
MNIST = ROOT.parent / "shared" / "data" / "mnist.zip"
PER_CLASS = {"train": 120, "test": 30}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


def digits_archive(path: Path) -> Path:
    """Write some digits at 28×28 with the layout of MNIST: MNIST's own where it is at hand."""
    with zipfile.ZipFile(path, "w") as archive:
        if MNIST.exists():
            _copy_some(archive)
        else:
            _enlarge_packaged(archive)
    return path


def _copy_some(archive: zipfile.ZipFile) -> None:
    taken: dict[str, int] = {}
    with zipfile.ZipFile(MNIST) as source:
        for name in sorted(source.namelist()):
            folder = name.rpartition("/")[0]
            most = PER_CLASS.get(folder.partition("/")[0], 0)
            if name.endswith(".png") and taken.get(folder, 0) < most:
                taken[folder] = taken.get(folder, 0) + 1
                archive.writestr(name, source.read(name))


def _enlarge_packaged(archive: zipfile.ZipFile) -> None:
    digits = load_digits()
    for label in range(10):
        images = digits.images[digits.target == label]
        for index, image in enumerate(images[: sum(PER_CLASS.values())]):
            part = "train" if index < PER_CLASS["train"] else "test"
            picture = Image.fromarray((image * 15.9).astype(np.uint8)).resize((28, 28))
            encoded = io.BytesIO()
            picture.save(encoded, format="PNG")
            archive.writestr(f"{part}/{label}/{index}.png", encoded.getvalue())


@pytest.fixture
def mnist_site(data_dir: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a site with digits at 28×28, their protocol, an administrator and a worker."""
    with closing(Site(data_dir, DJANGO_SUPERUSER_PASSWORD=PASSWORD)) as site:
        site.manage("migrate", "-v0")
        site.manage("createsuperuser", "--noinput", "--username=alice", "--email=a@example.org")
        archive = digits_archive(tmp_path / "mnist.zip")
        site.manage("register_dataset", "mnist", "--archive", str(archive))
        site.manage("register_protocol", "mnist")
        site.start_web()
        site.start_worker(concurrency=2)
        yield site


@pytest.fixture
def page(mnist_site: Site) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(base_url=mnist_site.address)
        page.set_default_timeout(20_000)
        yield page


@pytest.mark.slow  # the form, workers and boards are each tested apart, and together by the demo
def test_a_comparison_is_submitted_in_the_browser_and_its_board_fills(
    mnist_site: Site, page: Page
) -> None:
    sign_in(page)
    fill_in(page)

    # A wrong value comes back at its field with everything else as it was typed.
    beta = page.locator("#entries-1-config-beta")
    page.locator("#entry-1 summary", has_text="other options").click()
    beta.fill("-1")
    page.get_by_role("button", name="Submit experiment").click()
    expect(page.locator("#entries-1-config-beta-wrong")).to_contain_text("a number in 0..1000")
    expect(beta).to_be_focused()
    expect(page.locator("[name=name]")).to_have_value("Three families on MNIST")
    assert mnist_site.get("/api/experiments/")["count"] == 0

    beta.fill("1")
    page.get_by_role("button", name="Submit experiment").click()
    page.wait_for_url(re.compile(r"/experiments/\d+/"))

    # The page follows the work by itself: nobody reloads it.
    expect(page.locator("main")).to_contain_text(re.compile("queued|running"))
    expect(page.locator("table.ranking tr[data-entry]")).to_have_count(7)
    expect(page.locator("main")).to_contain_text(re.compile(r"17 of 17 jobs"), timeout=240_000)
    check_timelines(mnist_site)
    check_board(mnist_site, page)


def sign_in(page: Page) -> None:
    page.goto("/login/?next=" + quote(FORM + THREE))
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(re.escape(FORM + THREE) + "$"))


def fill_in(page: Page) -> None:
    page.locator("[name=name]").fill("Three families on MNIST")
    expect(page.locator("[name=dataset]")).to_have_value("mnist")
    page.locator("[name=protocols]").check()
    page.locator("[name=amount]").fill("1500")
    page.locator("[name=unit]").select_option("images")
    page.locator("[name=seeds]").fill("1")
    page.locator("#entries-2-samplers-0-name").select_option("dpmsolver++")
    expect(page.locator("#entries-2-samplers-0-eta")).to_have_count(0)  # of the sampler before
    page.locator("#entries-2-samplers-0-steps").fill("5")


def check_timelines(site: Site) -> None:
    """Check that every run went through all its states, in order and once."""
    runs = site.get("/api/runs/")["results"]
    assert {run["status"] for run in runs} == {"completed"}
    for run in runs:
        kinds = [event["kind"] for event in site.get(f"/api/runs/{run['id']}/events/")]
        assert kinds[:2] == ["queued", "claimed"]
        assert set(kinds[2:-1]) == {"checkpoint"}
        assert kinds[-1] == "completed"


def check_board(site: Site, page: Page) -> None:
    """Check that the board is full and that its CSV holds the very numbers of the page."""
    fingerprint = site.get("/api/protocols/")["results"][0]["fingerprint"]
    page.goto(f"/leaderboards/{fingerprint}/?columns=all")
    on_page = [
        [cell.get_attribute("data-value") for cell in row.locator("[data-value]").all()]
        for row in page.locator("table.ranking tr[data-entry]").all()
    ]
    address = f"{site.address}/api/leaderboards/{fingerprint}/?format=csv"
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310  # loopback
        rows = list(csv.DictReader(io.StringIO(answer.read().decode())))
    lows = [name.removesuffix(" low") for name in rows[0] if name.endswith(" low")]
    metrics = [name for name in lows if name != "rank"]  # a range, but no metric
    costs = ["images_per_second", "nfe", "parameters", "device_seconds"]
    in_csv = [[row[name] for name in (*metrics, *costs) if row[name]] for row in rows]
    assert metrics == [metric["label"] for metric in in_board_order(site, fingerprint)]
    assert [[float(value or "nan") for value in row if value] for row in on_page] == [
        [float(value) for value in row] for row in in_csv
    ]
    assert [row["control_kind"] for row in rows] == ["test", "", "", "", "copy", "noise", "blur"]
    measured = len(metrics) - 1  # so few images have no distance between populations
    assert [len(row) - measured for row in in_csv] == [0, 4, 4, 4, 0, 0, 0]  # no cost
    copy = page.locator("tr[data-control=copy] [data-column=authenticity]")
    expect(copy.locator(".ranking-mark")).to_contain_text("‡")


def in_board_order(site: Site, fingerprint: str) -> list[dict[str, Any]]:
    """Return the metrics of a protocol as columns stand: corner by corner."""
    metrics = site.get(f"/api/protocols/{fingerprint}/")["metrics"]
    corners = ["quality", "coverage", "memorisation"]
    return sorted(metrics, key=lambda metric: corners.index(metric["corner"]))
