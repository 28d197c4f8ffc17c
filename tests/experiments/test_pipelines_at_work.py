"""Pipelines by real processes: from the form to the export, and a worker killed while it samples."""

import csv
import http.cookiejar
import io
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.test_workers import wait_for_status
from tests.generators.pipelines import tiny
from tests.servers import wait_until
from tests.site import Site
from tests.web.forms import FORM, read_form

pytestmark = [
    pytest.mark.filterwarnings("default::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # diffusers' schedulers
]
TEXTS = ("a red circle", "a blue square", "two green crosses")


def register(site: Site, place: Path, *, side: int, num_images: int) -> str:
    """Register colour images with captions and what scores so many images; return its fingerprint."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, side, side, 3), np.uint8)
    np.savez(place / "words.npz", arr_0=pixels, captions=np.resize(np.array(TEXTS), 200))
    about = ["--source", "made up", "--licence", "CC0", "--test-fraction", "0.4"]
    site.manage("register_dataset", "words", "--archive", str(place / "words.npz"), *about)
    how = ["--extractor", "pixels-pca64", "--metrics", "fd", "--num-images", str(num_images)]
    site.manage("register_protocol", "words", *how, "--admission-images", "0")
    found = site.get("/api/protocols/?dataset=words")["results"]
    return str(found[0]["fingerprint"])


class Browser:
    """What a signed-in person's browser asks of the site."""

    def __init__(self, site: Site) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener, self._site = urllib.request.build_opener(cookies), site

    def get(self, path: str) -> str:
        with self._opener.open(f"{self._site.address}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, values: dict[str, list[str]]) -> str:
        """Send a form, and return where that leads."""
        data = urllib.parse.urlencode(values, doseq=True).encode()
        with self._opener.open(f"{self._site.address}{path}", data, timeout=60) as answer:
            return str(answer.url)

    def sign_in(self, name: str, password: str) -> None:
        page = self.get("/admin/login/")
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        told = {"username": [name], "password": [password], "csrfmiddlewaretoken": [token]}
        self.post("/admin/login/?next=/admin/", told)


def test_a_pipeline_goes_from_the_form_to_the_export(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    site.start_web()
    protocol = register(site, tmp_path, side=16, num_images=70)
    tiny.stable_diffusion(site.data / "pipelines" / "tiny")
    site.env["DJANGO_SUPERUSER_PASSWORD"] = "only for tests"  # noqa: S105
    names = ["--username", "alice", "--email", "a@example.org"]
    site.manage("createsuperuser", "--noinput", *names)
    browser = Browser(site)
    browser.sign_in("alice", "only for tests")

    form = read_form(browser.get(f"{FORM}?dataset=words&entry=pipeline"))
    typed = {**form.values, "name": ["theirs"], "protocols": [protocol]}
    typed |= {"entries.0.pipeline": ["tiny"], "entries.0.label": ["Tiny SD"]}
    typed |= {
        "entries.0.samplers.0.scheduler": ["DDIMScheduler"],
        "entries.0.samplers.0.steps": ["1"],
        "entries.0.samplers.0.guidance": ["3"],
    }
    address = browser.post(FORM, typed)
    number = int(address.rstrip("/").rpartition("/")[2])
    site.start_worker()
    wait_for_status(site, number, "completed", seconds=300)

    (drawn,) = [
        each
        for each in site.get(f"/api/samplesets/?experiment={number}")["results"]
        if each["label"] == "Tiny SD"
    ]
    assert (drawn["count"], drawn["nfe"], drawn["sampler_label"]) == (70, 2, "DDIM 1 w=3")
    assert site.read(urllib.parse.urlparse(drawn["grid"]).path).startswith(b"\x89PNG")
    board = site.get(f"/api/leaderboards/{protocol}/")
    (row,) = [row for row in board["rows"] if row["kind"] == "pipeline"]
    (fd,) = [column["field"] for column in board["columns"] if column["key"] == "fd"]
    assert row["entry"] == "Tiny SD" and row[fd] > 0 and row["nfe"] == 2
    told = csv.DictReader(io.StringIO(browser.get(f"/api/leaderboards/{protocol}/?format=csv")))
    (line,) = [line for line in told if line["kind"] == "pipeline"]
    assert float(line[fd]) == row[fd] and line["device_seconds"] == "unknown"
    page = browser.get(f"/experiments/{number}/")
    assert "UNet2DConditionModel" in page and "network evaluations an image" in page


@pytest.mark.slow
@pytest.mark.faults
def test_kill_9_while_a_pipeline_is_sampled_loses_no_batch_and_doubles_nothing(
    site: Site, tmp_path: Path
) -> None:
    site.start_web()
    protocol = register(site, tmp_path, side=8, num_images=100)
    tiny.ddpm(site.data / "pipelines" / "tiny")
    (tmp_path / "e.yaml").write_text(
        f"{{name: theirs, dataset: words, protocols: [{protocol}], entries: [{{pipeline: tiny}}]}}"
    )
    site.manage("submit", str(tmp_path / "e.yaml"))
    (experiment,) = site.get("/api/experiments/")["results"]

    def drawn() -> dict[str, object]:
        sets = site.get(f"/api/samplesets/?experiment={experiment['id']}")["results"]
        return next(each for each in sets if each["label"] == "tiny")

    def batches() -> list[Path]:
        return list((site.data / "samples").glob("*-parts/*.npz"))

    worker = site.start_worker()
    wait_until(lambda: len(batches()) >= 2, seconds=240, what="two batches")
    site.kill(worker)
    time.sleep(0.1)
    before = 16 * len(batches())
    site.start_worker("two")
    wait_for_status(site, experiment["id"], "completed", seconds=300)

    found = drawn()
    provenance = found["provenance"]
    assert isinstance(provenance, dict) and provenance["from_before"] == before
    assert (found["attempt"], found["status"], found["count"]) == (2, "completed", 100)
    evaluations = site.get(f"/api/evaluations/?experiment={experiment['id']}")["results"]
    assert len([each for each in evaluations if each["sample_set"] == found["id"]]) == 1
    assert batches() == []
