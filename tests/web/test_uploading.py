"""Handing in with a real browser: an upload is paused, breaks off, goes on after a reload, and is scored."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from pyarrow import parquet
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer
from sklearn.mixture import GaussianMixture

from accounts.models import User
from catalog.models import Dataset, Protocol
from catalog.services import Scoring, register_protocol
from evaluation.__main__ import main as evaluation
from evaluation.imagesets.in_memory import read_images, write_npz
from experiments.models import Entry, Intake, MetricValue, Upload
from leaderboards import ranking
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium
from tests.experiments.test_pipeline import work_off
from tests.servers import wait_until

PIECE = 200_000  # bytes; the browser's own would hold the whole file
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine_here"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture
def ada() -> User:
    return factories.make_user()


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, ada: User) -> Iterator[Page]:
    """A tab of the site in which somebody is signed in, with a script that sends small pieces."""
    context = browser.new_context(base_url=live_server.url)
    context.set_default_timeout(PATIENCE_MS)
    context.route("**/upload*.js", smaller_pieces)
    tab = context.new_page()
    tab.goto("/login/?next=/submit/samples/")
    tab.get_by_label("Username").fill(ada.username)
    tab.get_by_label("Password").fill(factories.PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Submit samples")
    yield tab
    tab.goto("about:blank")
    context.close()


def smaller_pieces(route: Route) -> None:
    answer = route.fetch()
    script = answer.text().replace("const PIECE = 4 * 2 ** 20", f"const PIECE = {PIECE}")
    assert str(PIECE) in script
    route.fulfill(response=answer, body=script)


def digits_of_a_mixture(place: Path) -> tuple[Protocol, Path]:
    """Return a protocol of the digits, and 300 of them as scikit-learn's mixture draws them."""
    dataset = factories.make_dataset(files=True, train_size=400, test_size=300)
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd", "kd"), num_images=300)
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    train = read_images(dataset.train_path).pixels
    mixture = GaussianMixture(10, covariance_type="diag", random_state=0)
    mixture.fit(train.reshape(len(train), -1).astype(float))
    drawn = mixture.sample(299)[0].round().clip(0, 255).astype(np.uint8).reshape(-1, 1, 8, 8)
    write_npz(place / "mixture.npz", np.concatenate([drawn, drawn[:1]]), None)  # one twice
    return protocol, place / "mixture.npz"


def test_samples_are_uploaded_scored_ranked_and_flagged(page: Page, tmp_path: Path) -> None:
    protocol, path = digits_of_a_mixture(tmp_path)
    page.goto(f"/submit/samples/?protocol={protocol.fingerprint}")
    page.locator("[data-upload]").set_input_files(path)
    expect(page.locator("[data-uploaded]")).to_have_count(1)
    page.get_by_label("system").fill("Mixture")
    page.get_by_role("button", name="Submit samples").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Mixture")

    work_off()

    expect(page.get_by_text("completed", exact=True)).to_be_visible()  # without a reload
    expect(page.get_by_text("mixture.npz: ")).to_be_visible()  # a finding
    page.get_by_role("link", name="Mixture").first.click()
    entry = Entry.objects.get(kind=Entry.Kind.EXTERNAL)
    assert f"/experiments/{entry.experiment_id}/" in page.url
    assert values_of(entry) == scored_here(protocol, path, tmp_path)
    row = next(row for row in ranking.rank(protocol).rows if row.entry == entry)
    assert (row.kind, row.cells["fd"].rank) == ("External", 1)
    page.goto(f"/leaderboards/{protocol.fingerprint}/")
    assert page.locator("tr", has_text="Mixture").get_by_text("External").count()
    assert entry.sample_sets.get().findings


def values_of(entry: Entry) -> dict[str, float | None]:
    found = MetricValue.objects.filter(evaluation__sample_set__entry=entry)
    return {each.metric: each.value for each in found}


def scored_here(protocol: Protocol, path: Path, place: Path) -> dict[str, float | None]:
    """Return what `python -m evaluation score` says of the same file."""
    (place / "p.json").write_text(json.dumps({"protocol": protocol.record}))
    dataset, out = protocol.dataset, place / "scores.json"
    files = ["--reference", str(dataset.train_path), "--held-out", str(dataset.test_path)]
    files += ["--protocol", str(place / "p.json"), "--json", str(out)]
    assert evaluation(["score", str(path), *files, "--cache", str(place / "cache")]) == 0
    metrics = json.loads(out.read_text())["metrics"]
    return {name: value["value"] for name, value in metrics.items()}


def large(place: Path) -> tuple[Path, bytes]:
    content = np.random.default_rng(0).bytes(5 * PIECE + 17)
    (place / "large.zip").write_bytes(content)
    return place / "large.zip", content


@pytest.mark.slow
def test_an_upload_is_paused_and_goes_on_after_a_reload(page: Page, tmp_path: Path) -> None:
    path, content = large(tmp_path)
    held: list[Route] = []

    def hold_the_second(route: Route) -> None:
        is_second = route.request.headers.get("upload-offset") == str(PIECE)
        held.append(route) if is_second else route.continue_()

    page.route("**/api/v1/uploads/*/", hold_the_second)
    with page.expect_request(lambda r: r.headers.get("upload-offset") == str(PIECE)):
        page.locator("[data-upload]").set_input_files(path)
    expect(page.get_by_text("19 %")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Pause").click()
    held.pop().continue_()
    expect(page.get_by_text("paused at 39 %")).to_be_visible(timeout=30_000)
    (upload,) = Upload.objects.all()
    wait_until(lambda: upload.offset == 2 * PIECE, seconds=20, what="the second piece")
    page.reload()
    expect(page.get_by_text("choose the same file to go on")).to_be_visible()
    page.locator("[data-upload]").set_input_files(path)
    expect(page.locator("[data-uploaded]")).to_have_count(1, timeout=60_000)

    assert Upload.objects.get() == upload
    assert upload.path.read_bytes() == content


@pytest.mark.slow
def test_a_parquet_table_is_looked_at_and_registered(page: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(file, format="PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": number % 3})
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "flowers.parquet")

    page.goto("/submit/dataset/")
    page.locator("[data-upload]").set_input_files(tmp_path / "flowers.parquet")
    expect(page.locator("[data-uploaded]")).to_have_count(1)
    page.get_by_label("name").fill("Flowers")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Flowers")
    work_off()
    expect(page.get_by_text("8×8, grey")).to_be_visible()  # without a reload
    assert not Dataset.objects.exists()
    page.get_by_role("button", name="Register").click()
    work_off()
    expect(page.get_by_text("Registered as")).to_be_visible()

    dataset = Dataset.objects.get()
    assert (dataset.num_classes, dataset.train_size + dataset.test_size) == (3, 30)
    dataset.verify()


@pytest.mark.slow
def test_a_connection_that_breaks_off_is_made_again(page: Page, tmp_path: Path) -> None:
    path, content = large(tmp_path)
    broken: list[str] = []

    def break_some(route: Route) -> None:
        if route.request.method == "PATCH" and len(broken) < 3:
            broken.append(route.request.headers["upload-offset"])
            route.abort("connectionreset") if len(broken) < 3 else route.fulfill(status=503)
        else:
            route.continue_()

    page.route("**/api/v1/uploads/*/", break_some)
    page.locator("[data-upload]").set_input_files(path)
    expect(page.locator(".upload")).to_contain_text("here", timeout=60_000)

    assert len(broken) == 3
    assert Upload.objects.get().path.read_bytes() == content


@pytest.mark.slow
def test_what_is_refused_is_said_at_the_file(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images")

    page.locator("[data-upload]").set_input_files(tmp_path / "notes.txt")

    expect(page.get_by_text("expected a file .zip")).to_be_visible()
    assert not Upload.objects.exists()
    assert not Intake.objects.exists()
