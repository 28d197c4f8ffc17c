"""Kill -9 of the worker while it looks at a dataset from the browser: it is looked at anew, registered once."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.servers import wait_until
from tests.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("default::ResourceWarning")]
IMAGES = 6_000  # of two classes, so that a worker is at them for seconds
PASSWORD = "only for tests"  # noqa: S105  # of a made account


@pytest.fixture
def site(migrated_data: Path, tmp_path: Path) -> Iterator[Site]:
    data = Path(shutil.copytree(migrated_data, tmp_path / "site"))
    with closing(Site(data, DJANGO_SUPERUSER_PASSWORD=PASSWORD)) as site:
        yield site


class Visitor:
    """Somebody who is signed in, with a browser that runs no script."""

    def __init__(self, site: Site) -> None:
        site.manage("createsuperuser", "--noinput", "--username=alice", "--email=a@example.org")
        self.site = site
        self.session = requests.Session()
        self.post("/login/", {"username": "alice", "password": PASSWORD})

    @property
    def csrf(self) -> str:
        return str(self.session.cookies["csrftoken"])

    def get(self, path: str) -> str:
        return self.session.get(f"{self.site.address}{path}", timeout=60).text

    def post(self, path: str, data: dict[str, str] | None = None) -> str:
        """Send a form; return the path of the page that comes after it."""
        if "csrftoken" not in self.session.cookies:
            self.get("/login/")
        token = {"csrfmiddlewaretoken": self.csrf}
        answer = self.session.post(
            f"{self.site.address}{path}", data={**(data or {}), **token}, timeout=60
        )
        assert answer.ok, re.sub("<[^>]+>", " ", answer.text)
        return answer.url.removeprefix(self.site.address)

    def upload(self, name: str, content: bytes) -> str:
        """Send a file as the browser's script does, in one piece; return its id."""
        said = {"Tus-Resumable": "1.0.0", "X-CSRFToken": self.csrf}
        address = f"{self.site.address}/api/uploads/"
        named = {"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {name}"}
        begun = self.session.post(address, headers={**said, **named}, timeout=60)
        piece = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        url = begun.headers["Location"]
        sent = self.session.patch(url, data=content, headers={**said, **piece}, timeout=120)
        assert sent.status_code == 204, sent.text
        return str(begun.json()["id"])


def images() -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for place in range(IMAGES):
            picture = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(picture, "PNG")
            archive.writestr(f"{'ab'[place % 2]}/{place:05}.png", picture.getvalue())
    return file.getvalue()


def test_a_dataset_from_the_browser_outlives_its_worker(site: Site) -> None:
    site.start_web()
    visitor = Visitor(site)
    upload = visitor.upload("Zmxvd2Vycy56aXA=", images())  # flowers.zip
    page = visitor.post("/submit/dataset/", {"name": "Flowers", "uploads": upload})
    worker = site.start_worker()

    wait_until(lambda: "status-running" in visitor.get(page), seconds=180, what="a worker")
    site.kill(worker)
    site.start_worker("two")
    wait_until(lambda: "Not registered yet" in visitor.get(page), seconds=300, what="a preview")
    assert not site.get("/api/datasets/")["results"]
    visitor.post(f"{page}confirm/")
    wait_until(lambda: "Registered as" in visitor.get(page), seconds=120, what="the registration")

    (dataset,) = site.get("/api/datasets/")["results"]
    assert (dataset["slug"], dataset["train_size"], dataset["test_size"]) == ("flowers", 4800, 1200)
    assert not list((site.data / "uploads").iterdir())

    page = visitor.post(
        "/submit/protocol/",
        {"dataset": "flowers", "extractor": "pixels-pca64", "metrics": "fd", "num_images": "500"},
    )
    wait_until(lambda: "Registered as" in visitor.get(page), seconds=300, what="the protocol")
    (protocol,) = site.get("/api/protocols/")["results"]
    assert protocol["facts"]["admission"]["count"] == 500

    pixels = io.BytesIO()
    np.savez(pixels, np.random.default_rng(1).integers(0, 256, (500, 8, 8, 1), np.uint8))
    upload = visitor.upload("bm9pc2UubnB6", pixels.getvalue())  # noise.npz
    typed = {"system": "Noise", "uploads": upload, "protocols": protocol["fingerprint"]}
    page = visitor.post("/submit/samples/", typed)
    wait_until(lambda: "Handed in as" in visitor.get(page), seconds=180, what="the entry")
    entries = site.get("/api/entries/?kind=external")["results"]
    assert [entry["label"] for entry in entries] == ["Noise"]
